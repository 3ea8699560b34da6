//! Who may write where, as pure data: no I/O, no clock, no tasks, no synchronisation.
//!
//! [`lease`] decides; the daemon carries out. What needs a model checker of interleavings (loom, shuttle)
//! is not here but where a call's answer meets its listener: an abort and a grant at the same moment, a
//! listener that reconnects, a `Release` that overtakes a `Secure` still under way.

pub mod lease;

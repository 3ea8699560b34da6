//! The mutation router's way with patches: made so that the target's backend applies them exactly,
//! and read to find which repos they concern.

mod attributes;
mod envelope;
mod git;
mod patch;
mod touched;

#[cfg(test)]
mod tests;

pub(crate) use attributes::converted;
pub(crate) use envelope::{Envelope, Hunk};
pub(crate) use patch::{Change, Content, Form, Kind, PatchError, make};
pub(crate) use touched::{Touched, TouchedError, touched};

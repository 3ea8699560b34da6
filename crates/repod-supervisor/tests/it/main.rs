//! Stories with real processes: `sh` and `sleep`, started the way a backend is.

#![expect(clippy::unwrap_used, reason = "what can't be unwrapped in a test has failed")]

mod backend;
mod files;
mod identity;
mod launcher;
mod limits;
mod terminate;
mod tree;

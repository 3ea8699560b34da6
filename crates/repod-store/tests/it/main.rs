//! The stores on real files.

#![expect(clippy::unwrap_used, reason = "what can't be unwrapped in a test has failed")]
#![expect(clippy::panic, reason = "a story that goes otherwise has failed")]
#![expect(clippy::print_stdout, reason = "a process that is killed says what it has done")]

mod files;
mod journal;
mod place;
mod postgres;
mod stories;
mod support;

//! `repod audit`: what is wrong with the OpenCode processes of this user, and repod's part in it.
//!
//! Three steps that know nothing of each other: [`read`] looks (at `/proc`, at repod's home, at databases,
//! all of it read-only), a [`Snapshot`] is what was seen, and [`rules`] are pure functions from it to
//! [`Finding`]s. So a rule is tested without a process, and the reader on a tree of plain files.
//!
//! Nothing here starts, signals or writes, but for [`fix`], which is asked for by name.

mod catalogue;
mod finding;
pub mod fix;
mod look;
pub mod read;
pub mod rules;
pub mod sarif;
mod snapshot;

pub use catalogue::{RULES, Rule};
pub use finding::{Checked, Evidence, Finding, Report, Severity};
pub use look::look;
pub use snapshot::{
    Backend, Checkout, Database, Homes, Inotify, Library, Loose, Machine, Process, Record, Role,
    Snapshot, Turn, Unreadable,
};

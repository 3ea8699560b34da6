//! Isolation must not lose anybody's history: a repo's sessions are brought from the database that all plain
//! OpenCode processes of a user share into the repo's own, and back.
//!
//! [`Adoption`] brings them over before the backend first runs, or later what was added since; [`eject`] brings
//! them back. [`Survey::select`] says which sessions are whose, and is a pure function.
//!
//! The source is only read, in one moment. Logins kept in the database are never copied.

mod adopt;
mod eject;
mod error;
mod holders;
mod merge;
mod record;
mod relate;
mod schema;
mod select;
mod snapshots;
mod source;
mod target;
mod value;

pub use adopt::{Adoption, is_due, note_failure};
pub use eject::eject;
pub use error::HistoryError;
pub use holders::holders;
pub use record::{Record, State};
pub use schema::SCHEMA_OF;
pub use select::{Filed, GLOBAL, Project, Selection, Standing, Survey};
pub use source::Source;

use std::path::PathBuf;

/// Told after each session: how many are done, of how many.
pub type Progress<'a> = dyn Fn(usize, usize) + Send + Sync + 'a;

/// Where the user's own OpenCode keeps what it remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Its database.
    pub database: PathBuf,
    /// Its data directory, with snapshots and differences.
    pub data: PathBuf,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The user's database.
    pub database: PathBuf,
    /// Sessions that were not there.
    pub added: usize,
    /// Sessions that had gone on where they came from.
    pub updated: usize,
    /// Sessions that were there already.
    pub unchanged: usize,
    /// Sessions that had gone on in both places; what either had is there.
    pub merged: usize,
    /// Sessions that were brought over before and deleted since; they stay so.
    pub deleted: usize,
    /// Files of snapshots and differences.
    pub files: u64,
    /// Tables of logins that have rows and were left where they are.
    pub logins: Vec<String>,
    /// Where the repo's own database is kept after it was ejected.
    pub kept: Option<PathBuf>,
}

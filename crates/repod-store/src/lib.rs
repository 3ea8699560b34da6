//! What repod remembers in databases.
//!
//! [`Journal`] is the record of writes that cross repos, in each repo's own `repod.db`: an operation is on
//! disk before anything is done about it, so a crash at any step can be found and finished.

mod error;
mod file;
pub mod journal;

pub use error::StoreError;
pub use file::{RepoFile, SCHEMA};
pub use journal::Journal;

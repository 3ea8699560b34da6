//! What repod remembers in databases.
//!
//! [`Journal`] is the record of writes that cross repos, in each repo's own `repod.db`: an operation is on
//! disk before anything is done about it, so a crash at any step can be found and finished.
//!
//! [`Store`] is the record of agent sessions and their turns: in the same file, or in a Postgres that several
//! daemons share.

mod error;
mod file;
pub mod journal;
mod postgres;
mod store;

pub use error::StoreError;
pub use file::{RepoFile, SCHEMA};
pub use journal::Journal;
pub use postgres::POSTGRES_SCHEMA;
pub use store::{
    Begun, Change, Ensured, Limits, MAX_INPUT, MAX_LINE, MAX_SESSION, NewSession, NewTurn, Outcome,
    Owner, Page, Retention, Session, SessionChange, SessionFilter, SessionKey, SessionStatus,
    Settlement, SqlStore, Stale, Started, Store, Turn, TurnFailure, TurnMark, TurnState,
};

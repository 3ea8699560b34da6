//! What can go wrong with a store, by what somebody can do about it.

use std::path::{Path, PathBuf};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be made or opened.
    #[error("`{}` can't be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no database, not one of repod's, or damaged. It is kept as it is.
    #[error("`{}` is damaged, or no database of repod: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer repod has written it. It is kept as it is.
    #[error("`{}` was written by a newer repod: its schema is {found}, this repod knows {known}", path.display())]
    TooNew {
        /// The file, or the database.
        path: PathBuf,
        /// The schema's version there.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// More than is kept in one piece.
    #[error("{size} bytes were to be kept, and {limit} are the most")]
    TooLarge {
        /// Its size, in bytes.
        size: u64,
        /// The most it may have.
        limit: u64,
    },
    /// Somebody else held the database for longer than is waited.
    #[error("`{}` is in use by somebody else", path.display())]
    Busy {
        /// The file, or the database.
        path: PathBuf,
    },
    /// There is no connection to the database.
    #[error("the database `{}` can't be reached: {reason}", path.display())]
    Unreachable {
        /// The database.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The disk is full or can't be written.
    #[error("`{}` can't be written: {reason}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// Anything else the database said.
    #[error("the database `{}` failed", path.display())]
    Database {
        /// The file, or the database.
        path: PathBuf,
        /// What it said.
        #[source]
        source: Box<sqlx::Error>,
    },
}

impl StoreError {
    /// What SQLite said about this file, sorted by its result code (`sqlite3.h`; the low byte is the kind).
    pub(crate) fn sqlite(path: &Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Busy { path };
        }
        let code = error
            .as_database_error()
            .and_then(|e| e.code())
            .and_then(|code| code.parse::<u32>().ok());
        let reason =
            || error.as_database_error().map_or_else(String::new, |e| e.message().to_owned());
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy { path },
            Some(8 | 10 | 13) => Self::Disk { path, reason: reason() },
            Some(11 | 26) => Self::Corrupt { path, reason: reason() },
            _ => Self::Database { path, source: Box::new(error) },
        }
    }

    /// What Postgres said, sorted by its SQLSTATE (appendix A of its manual).
    pub(crate) fn postgres(path: &Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
                return Self::Unreachable { path, reason: error.to_string() };
            }
            _ => {}
        }
        let said = error.as_database_error();
        let message = || said.map_or_else(String::new, |said| said.message().to_owned());
        match said.and_then(|said| said.code()).as_deref() {
            // A lock that was waited for too long, a deadlock, and two at once where one had to give way.
            Some("55P03" | "40P01" | "40001" | "57014") => Self::Busy { path },
            // Class 53 is a lack of room; 57P is a server that ends or isn't up yet.
            Some(code) if code.starts_with("53") => Self::Disk { path, reason: message() },
            Some(code) if code.starts_with("57P") => Self::Unreachable { path, reason: message() },
            _ => Self::Database { path, source: Box::new(error) },
        }
    }
}

//! What can go wrong with a history, by what somebody can do about it.

use std::path::{Path, PathBuf};

/// Why sessions were not brought over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The database has something this version doesn't know. It is left as it is.
    #[error("the database `{}` has a schema that isn't known: {what}", path.display())]
    Unknown {
        /// The database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The database is of an older OpenCode.
    #[error("the database `{}` is of an older OpenCode: it lacks the migration `{missing}`", path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// The first migration it hasn't had.
        missing: String,
    },
    /// Somebody has the database open that is to be written.
    #[error("the database `{}` is open in {}", path.display(), shown(holders))]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who: pids, each with the name of its program.
        holders: Vec<(u32, String)>,
    },
    /// The record of what was brought over can't be used. It is kept.
    #[error("`{}` can't be used: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file can't be read or written; the message names it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// SQLite refused.
    #[error("the database `{}` failed: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: Box<sqlx::Error>,
    },
}

fn shown(holders: &[(u32, String)]) -> String {
    let each = holders.iter().map(|(pid, name)| format!("pid {pid} ({name})"));
    each.collect::<Vec<_>>().join(", ")
}

impl HistoryError {
    pub(crate) fn sql(path: &Path, source: sqlx::Error) -> Self {
        Self::Database { path: path.to_owned(), source: Box::new(source) }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let known = crate::SCHEMA_OF;
        match self {
            Self::Unknown { .. } => format!(
                "this repod knows the schema of OpenCode {known}: a newer repod may know this one; \
                 `[backend] history = \"fresh\"` in repod.toml starts without earlier sessions, and \
                 `opencode export` with `opencode import` carries single ones"
            ),
            Self::Older { .. } => format!(
                "run OpenCode {known} once outside repod (`opencode session list`): it brings its \
                 database up to date; then `repod adopt`"
            ),
            Self::InUse { .. } => "end those processes, then try again".to_owned(),
            Self::Record { .. } => {
                "correct it, or move it away: what was brought over is then compared anew"
                    .to_owned()
            }
            Self::Io(_) => "is the disk full, or a file not yours?".to_owned(),
            Self::Database { .. } => {
                "is the disk full? `sqlite3 FILE 'PRAGMA quick_check'` tells whether it is damaged"
                    .to_owned()
            }
        }
    }
}

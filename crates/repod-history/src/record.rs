//! `history.json` in a repo's directory: what was brought over, and from where.

use crate::HistoryError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The format's version.
const VERSION: u32 = 1;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// What there was is there.
    Adopted,
    /// It could not be brought over; the next start tries again.
    Failed,
    /// It was brought back to the user's own database.
    Ejected,
}

impl State {
    /// Its public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Failed => "failed",
            Self::Ejected => "ejected",
        }
    }
}

/// The record. Fields this version doesn't know are dropped when it is written anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// How far it is.
    pub state: State,
    /// The database it came from.
    pub database: PathBuf,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Sessions that were brought over: one that isn't there any more was deleted, and stays so.
    #[serde(default)]
    pub sessions: BTreeSet<String>,
}

impl Record {
    /// A new one.
    #[must_use]
    pub fn new(state: State, database: &Path) -> Self {
        let database = database.to_owned();
        Self { version: VERSION, state, database, reason: None, sessions: BTreeSet::new() }
    }

    fn file(state_dir: &Path) -> PathBuf {
        state_dir.join("history.json")
    }

    /// The record of a repo, if there is one.
    ///
    /// # Errors
    /// When it can't be read, or was written by a newer version.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, HistoryError> {
        let path = Self::file(state_dir);
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let wrong = |reason: String| HistoryError::Record { path: path.clone(), reason };
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if record.version > VERSION {
            return Err(wrong(format!("its format {} is of a newer repod", record.version)));
        }
        Ok(Some(record))
    }

    /// Puts it in place of the one before.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, state_dir: &Path) -> Result<(), HistoryError> {
        let wrong = |error: serde_json::Error| HistoryError::Record {
            path: Self::file(state_dir),
            reason: error.to_string(),
        };
        let mut file = tempfile::Builder::new()
            .prefix(".history.json.")
            .suffix(".repod-tmp")
            .tempfile_in(state_dir)?;
        file.write_all(&serde_json::to_vec(self).map_err(wrong)?)?;
        file.as_file().sync_all()?;
        file.persist(Self::file(state_dir)).map_err(|error| error.error)?;
        fs_err::File::open(state_dir)?.sync_all()?;
        Ok(())
    }
}

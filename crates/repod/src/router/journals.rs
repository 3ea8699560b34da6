//! The journals of all repos, opened when they are needed.

use repod_proto::{ApiError, ErrorCode, Home, RepoId};
use repod_store::{Journal, StoreError};
use std::collections::HashMap;
use tokio::sync::Mutex;

/// Journals kept open; with more, all are closed and opened anew as needed.
const OPEN_MAX: usize = 64;

/// See the module.
pub(super) struct Journals {
    home: Home,
    /// One is opened at a time: two must not make the same file.
    open: Mutex<HashMap<RepoId, Journal>>,
}

impl Journals {
    pub(super) fn new(home: Home) -> Self {
        Self { home, open: Mutex::default() }
    }

    /// The journal of this repo, which is made where there is none.
    pub(super) async fn of(&self, repo: &RepoId) -> Result<Journal, ApiError> {
        let mut open = self.open.lock().await;
        if let Some(journal) = open.get(repo) {
            return Ok(journal.clone());
        }
        if open.len() >= OPEN_MAX {
            // Who still uses one keeps it.
            open.clear();
        }
        let journal = Journal::open(&self.home.repo(repo).database()).await.map_err(store)?;
        open.insert(repo.clone(), journal.clone());
        Ok(journal)
    }

    /// The same, if it has been made.
    pub(super) async fn known(&self, repo: &RepoId) -> Result<Option<Journal>, ApiError> {
        match self.home.repo(repo).database().exists() {
            true => self.of(repo).await.map(Some),
            false => Ok(None),
        }
    }
}

/// A store's error, for callers.
#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
pub(super) fn store(error: StoreError) -> ApiError {
    let code = match &error {
        StoreError::Corrupt { .. } => ErrorCode::StateCorrupt,
        StoreError::TooNew { .. } => ErrorCode::StateTooNew,
        StoreError::TooLarge { .. } => ErrorCode::InvalidRequest,
        _ => ErrorCode::StateIo,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    let error = ApiError::new(code, message);
    match code {
        ErrorCode::StateCorrupt => error.hint(
            "the file was kept; with repod stopped (`repod shutdown`) move it away, and a new one is made",
        ),
        ErrorCode::StateTooNew => error.hint("run the newer repod again, or move the file away"),
        _ => error,
    }
}

//! Which store has a repo's sessions, opened when it is needed, and in whose name it is changed.

use crate::router::Router;
use crate::settings::SessionStore;
use repod_proto::{ApiError, ErrorCode, Home, RepoId};
use repod_store::{Change, Limits, Owner, Retention, SqlStore, Stale, Store, StoreError};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};

/// How long a daemon that shares a database is believed to live without saying so, and how often it does.
const LEASE: Duration = Duration::from_secs(60);
const RENEW: Duration = Duration::from_secs(15);
/// In a repo's own file nobody else can own anything.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 10);

/// See the module.
pub(super) struct Stores {
    home: Home,
    router: Router,
    kind: SessionStore,
    /// One is opened at a time: two must not make the same file. `None` stands for the shared one.
    open: Mutex<HashMap<Option<RepoId>, Opened>>,
}

/// A store, and who changes it.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) owner: Owner,
    /// Set when the turns that an earlier daemon left in it have been taken up.
    pub(super) taken_up: Arc<OnceCell<()>>,
}

impl Opened {
    fn new(store: Arc<dyn Store>, owner: Owner) -> Self {
        Self { store, owner, taken_up: Arc::default() }
    }
}

impl Stores {
    pub(super) fn new(home: Home, router: Router, kind: SessionStore) -> Self {
        Self { home, router, kind, open: Mutex::default() }
    }

    /// The store of this repo, which is made where there is none.
    pub(super) async fn of(&self, repo: &RepoId) -> Result<Opened, ApiError> {
        let key = match self.kind {
            SessionStore::Sqlite => Some(repo.clone()),
            SessionStore::Postgres(_) => None,
        };
        let mut open = self.open.lock().await;
        if let Some(opened) = open.get(&key) {
            return Ok(opened.clone());
        }
        let opened = match &self.kind {
            SessionStore::Sqlite => self.file(repo).await?,
            SessionStore::Postgres(url) => self.shared(url).await.map_err(failed)?,
        };
        open.insert(key, opened.clone());
        Ok(opened)
    }

    /// The same, if there can be anything in it.
    pub(super) async fn known(&self, repo: &RepoId) -> Result<Option<Opened>, ApiError> {
        let is_there = match self.kind {
            SessionStore::Sqlite => self.home.repo(repo).database().exists(),
            SessionStore::Postgres(_) => true,
        };
        if is_there { self.of(repo).await.map(Some) } else { Ok(None) }
    }

    /// Whether all repos have the same one.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.kind, SessionStore::Postgres(_))
    }

    /// Removes what is old from all that are open.
    pub(super) async fn prune(&self, what: Retention) {
        let all: Vec<_> = self.open.lock().await.values().cloned().collect();
        for Opened { store, owner, .. } in all {
            if let Err(error) = store.prune(&owner, &what).await {
                tracing::warn!(%error, "what is old can't be removed from a store");
            }
        }
    }

    /// Ends the connections, so that whoever shares the database needn't wait for this daemon.
    pub(super) async fn end(&self) {
        for (_, Opened { store, owner, .. }) in self.open.lock().await.drain() {
            if self.is_shared() {
                let _ = store.retire(&owner).await;
            }
            store.end().await;
        }
    }

    /// In the file that the repo's journal is in.
    async fn file(&self, repo: &RepoId) -> Result<Opened, ApiError> {
        let file = self.router.file(repo).await?;
        let store: Arc<dyn Store> = Arc::new(SqlStore::sqlite(file, Limits::default()));
        let owner = store.enrol("repod", FOR_EVER).await.map_err(failed)?;
        Ok(Opened::new(store, owner))
    }

    async fn shared(&self, url: &str) -> Result<Opened, StoreError> {
        let store: Arc<dyn Store> = Arc::new(SqlStore::postgres(url, Limits::default()).await?);
        let owner = store.enrol(&self.name(), LEASE).await?;
        tokio::spawn(renew(Arc::clone(&store), owner.clone()));
        Ok(Opened::new(store, owner))
    }

    /// This home, told from all others that may share the database.
    fn name(&self) -> String {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let home = self.home.dir().canonicalize().unwrap_or_else(|_| self.home.dir().to_owned());
        match std::str::from_utf8(home.as_os_str().as_bytes()) {
            Ok(home) => format!("{host}:{home}"),
            Err(_) => format!("{host}:{}", crate::secret::hex(home.as_os_str().as_bytes())),
        }
    }
}

/// Says that this daemon lives, as long as it does.
async fn renew(store: Arc<dyn Store>, owner: Owner) {
    loop {
        tokio::time::sleep(RENEW).await;
        match store.renew(&owner, LEASE).await {
            Ok(Change::Updated(())) => {}
            Ok(other) => {
                tracing::error!(?other, "another daemon of this home has taken the sessions over");
                return;
            }
            Err(error) => tracing::warn!(%error, "the sessions' owner can't be renewed"),
        }
    }
}

/// A store's error, for callers.
#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
pub(super) fn failed(error: StoreError) -> ApiError {
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

/// What a conditional change came to, for callers.
pub(super) fn updated<T>(change: Change<T>) -> Result<T, ApiError> {
    let (code, message) = match change {
        Change::Updated(now) => return Ok(now),
        Change::Gone => (ErrorCode::SessionNotFound, "there is no such session".to_owned()),
        Change::Stale(Stale::NotOwned(None)) => {
            (ErrorCode::SessionStale, "the session was closed".to_owned())
        }
        Change::Stale(Stale::NotOwned(Some(other))) => {
            (ErrorCode::SessionForeign, format!("the session is `{other}`'s"))
        }
        Change::Stale(Stale::Superseded) => {
            (ErrorCode::SessionForeign, "another daemon of this home has taken over".to_owned())
        }
        Change::Stale(stale) => {
            (ErrorCode::SessionStale, format!("the session has changed meanwhile: {stale:?}"))
        }
    };
    Err(ApiError::new(code, message))
}

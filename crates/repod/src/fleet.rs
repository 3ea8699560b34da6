//! All repos of one home: who knows them, and what they share.

use crate::backend::{self, Confine, Deaths, RepoHandle, Shared, strays};
use crate::coordination::Coordination;
use crate::gateway::{self, Gateway};
use crate::registry::{self, Record};
use crate::repo::Repo;
use repod_proto::{
    ApiError, BackendState, Endpoint, ErrorCode, Generation, Home, RepoId, RepoSummary,
};
use repod_supervisor::files::LockFile;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Every repo of the home by its id.
pub(crate) struct Fleet {
    home: Home,
    shared: Arc<Shared>,
    gateway: Arc<Gateway>,
    coordination: Coordination,
    repos: RwLock<HashMap<RepoId, Entry>>,
    /// One registration at a time: two requests for a new repo must not both claim it.
    registering: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

enum Entry {
    Managed(RepoHandle),
    /// Its record can't be used. It concerns this repo alone, and is tried again when asked for.
    Unusable(ApiError),
}

impl Fleet {
    pub(crate) fn new(
        home: Home,
        shared: Arc<Shared>,
        gateway: Gateway,
        coordination: Coordination,
    ) -> Self {
        let repos = RwLock::new(HashMap::new());
        let registering = tokio::sync::Mutex::new(());
        let (gateway, closed) = (Arc::new(gateway), AtomicBool::new(false));
        Self { home, shared, gateway, coordination, repos, registering, closed }
    }

    /// What holds the backends.
    pub(crate) fn confine(&self) -> &Confine {
        &self.shared.confine
    }

    /// What they died of.
    pub(crate) fn deaths(&self) -> &Deaths {
        &self.shared.deaths
    }

    /// Takes up every repo there is a record of; backends that still run are adopted meanwhile.
    pub(crate) async fn load(&self) -> io::Result<()> {
        let patience = gateway::Patience::new();
        let found = match std::fs::read_dir(self.home.repos()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for item in found {
            let name = item?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<RepoId>().ok()) else {
                continue;
            };
            let entry = match self.take_up(&id, patience).await {
                Ok(Some(handle)) => Entry::Managed(handle),
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(repo = %id, %error, "this repo can't be used");
                    Entry::Unusable(error)
                }
            };
            self.write().insert(id, entry);
        }
        Ok(())
    }

    /// The repo of this id if there is a usable record of it.
    pub(crate) async fn known(&self, id: &RepoId) -> Result<Option<RepoHandle>, ApiError> {
        match self.read().get(id) {
            Some(Entry::Managed(handle)) => return Ok(Some(handle.clone())),
            None => return Ok(None),
            Some(Entry::Unusable(_)) => {}
        }
        // Somebody may have repaired it meanwhile; one tries at a time.
        let _one_at_a_time = self.registering.lock().await;
        self.try_again(id).await
    }

    async fn try_again(&self, id: &RepoId) -> Result<Option<RepoHandle>, ApiError> {
        match self.read().get(id) {
            Some(Entry::Managed(handle)) => return Ok(Some(handle.clone())),
            None => return Ok(None),
            Some(Entry::Unusable(_)) => {}
        }
        match self.take_up(id, gateway::Patience::new()).await {
            Ok(Some(handle)) => {
                self.write().insert(id.clone(), Entry::Managed(handle.clone()));
                Ok(Some(handle))
            }
            Ok(None) => {
                self.write().remove(id);
                Ok(None)
            }
            Err(error) => {
                self.write().insert(id.clone(), Entry::Unusable(error.clone()));
                Err(error)
            }
        }
    }

    /// The handle of a repo, which is taken into the books if it is new.
    pub(crate) async fn register(&self, repo: &Repo) -> Result<RepoHandle, ApiError> {
        if let Some(handle) = self.known(&repo.id).await? {
            return Ok(handle);
        }
        let _one_at_a_time = self.registering.lock().await;
        if let Some(handle) = self.try_again(&repo.id).await? {
            return Ok(handle);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(ApiError::new(ErrorCode::ShuttingDown, "the daemon is ending"));
        }
        let dir = self.home.repo(&repo.id);
        let lock = registry::claim(&dir)?;
        let record = Record::read(&dir, &repo.id)?.unwrap_or_else(|| Record::new(repo));
        let handle = self.manage(record, lock, gateway::Patience::new()).await?;
        self.write().insert(repo.id.clone(), Entry::Managed(handle.clone()));
        Ok(handle)
    }

    /// Every usable repo, by id.
    pub(crate) fn all(&self) -> Vec<RepoHandle> {
        let managed = |entry: &Entry| match entry {
            Entry::Managed(handle) => Some(handle.clone()),
            Entry::Unusable(_) => None,
        };
        let mut all: Vec<_> = self.read().values().filter_map(managed).collect();
        all.sort_by(|a, b| a.repo().id.cmp(&b.repo().id));
        all
    }

    /// A row for every repo whose record can't be used, with the reason.
    pub(crate) fn unusable(&self) -> Vec<RepoSummary> {
        let row = |(id, entry): (&RepoId, &Entry)| match entry {
            Entry::Managed(_) => None,
            Entry::Unusable(error) => Some(unusable_row(id, error)),
        };
        self.read().iter().filter_map(row).collect()
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// Takes a repo whose root is gone out of the books. Its data stays where it is.
    pub(crate) fn forget(&self, id: &RepoId) -> Result<(), ApiError> {
        let dir = self.home.repo(id);
        for file in [dir.endpoint(), dir.port()] {
            match fs_err::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ApiError::new(ErrorCode::StateIo, error.to_string()));
                }
                _ => {}
            }
        }
        self.write().remove(id);
        Ok(())
    }

    /// Ends processes that carry this home's marker and that of a repo that is not in the books.
    pub(crate) async fn sweep_strays(&self, dry_run: bool) -> u32 {
        let _nobody_registers_meanwhile = self.registering.lock().await;
        let keep: Vec<_> = self.read().keys().map(|id| self.shared.marker_prefix_of(id)).collect();
        strays::end(&self.shared.marker_prefix(), &keep, dry_run).await
    }

    /// From now on nothing new is registered or started.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.shared.close();
    }

    async fn take_up(
        &self,
        id: &RepoId,
        patience: gateway::Patience,
    ) -> Result<Option<RepoHandle>, ApiError> {
        let dir = self.home.repo(id);
        let Some(record) = Record::read(&dir, id)? else {
            return Ok(None);
        };
        let lock = registry::claim(&dir)?;
        self.manage(record, lock, patience).await.map(Some)
    }

    /// Opens the repo's endpoint, and hands the record to the task that owns it from then on.
    async fn manage(
        &self,
        mut record: Record,
        lock: LockFile,
        patience: gateway::Patience,
    ) -> Result<RepoHandle, ApiError> {
        let door = gateway::open(record.gateway_port(), patience).await?;
        if let Some(warning) = &door.warning {
            tracing::warn!(repo = %record.repo_id, "{warning}");
            record.warnings.push(warning.clone());
        }
        if record.listens_on(door.port)? {
            self.note(&record).await;
        }
        let handle = backend::manage(&self.home, Arc::clone(&self.shared), record, lock);
        self.gateway.serve(door, handle.downgrade());
        self.coordination.watch(&handle);
        Ok(handle)
    }

    /// Writes down where the endpoint is. That it can't be written stops no one here: nothing is
    /// started without a record, and that will say so.
    async fn note(&self, record: &Record) {
        let (dir, record) = (self.home.repo(&record.repo_id), record.clone());
        let id = record.repo_id.clone();
        let written = tokio::task::spawn_blocking(move || record.write(&dir)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(repo = %id, %error, "the endpoint can't be written down");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<RepoId, Entry>> {
        self.repos.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<RepoId, Entry>> {
        self.repos.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unusable_row(id: &RepoId, error: &ApiError) -> RepoSummary {
    RepoSummary {
        endpoint: Endpoint {
            repo_id: id.clone(),
            root: String::new(),
            directory: String::new(),
            branch: None,
            url: None,
            username: repod_opencode::USERNAME.to_owned(),
            password: None,
            capability_url: None,
            state: BackendState::Failed,
            generation: Generation::default(),
            backend: None,
            warnings: Vec::new(),
        },
        rss_bytes: None,
        sessions: None,
        busy: None,
        clients: None,
        idle_seconds: None,
        waiting: None,
        readers: None,
        events: None,
        recent_events: None,
        leases: None,
        lease_waiters: None,
        memory: None,
        error: Some(error.clone()),
    }
}

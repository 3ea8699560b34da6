//! What all backends of a home share: who may start now, and how their processes are marked.

use super::{Admission, Confine, Deaths};
use crate::secret::hex;
use crate::settings::Settings;
use repod_proto::{Generation, Home, RepoId};
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Shared by every backend's task.
pub(crate) struct Shared {
    pub(crate) home: Home,
    /// Who may be awake.
    pub(crate) admission: Admission,
    /// One permit for each start that may run at once; first come, first served.
    pub(crate) slots: Arc<Semaphore>,
    /// What holds them.
    pub(crate) confine: Confine,
    /// What they died of.
    pub(crate) deaths: Deaths,
    /// How long one start may take when nothing newer is said.
    pub(crate) start_timeout: Duration,
    home_mark: String,
}

impl Shared {
    pub(crate) fn new(
        home: &Home,
        settings: &Settings,
        admission: Admission,
        confine: Confine,
    ) -> Self {
        let path = home.dir().canonicalize().unwrap_or_else(|_| home.dir().to_owned());
        let digest = Sha256::digest(path.as_os_str().as_bytes());
        Self {
            home: home.clone(),
            admission,
            slots: Arc::new(Semaphore::new(settings.backend.start_concurrency)),
            confine,
            deaths: Deaths::default(),
            start_timeout: settings.backend.start_timeout,
            home_mark: hex(&digest[..6]),
        }
    }

    /// What the marker of every process of this home begins with.
    pub(crate) fn marker_prefix(&self) -> String {
        format!("{}/", self.home_mark)
    }

    /// What the marker of every process of this repo begins with, in any generation.
    pub(crate) fn marker_prefix_of(&self, id: &RepoId) -> String {
        format!("{}/{id}/", self.home_mark)
    }

    /// The marker of one start: no other start of any home ever has the same.
    pub(crate) fn marker(&self, id: &RepoId, generation: Generation, nonce: &str) -> String {
        format!("{}{generation}/{nonce}", self.marker_prefix_of(id))
    }

    /// No start begins after this.
    pub(crate) fn close(&self) {
        self.slots.close();
    }
}

//! Which guards are there: one for each directory that is open in a backend, as long as its plugin
//! holds its connection.

use repod_proto::{Generation, RepoId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

type Place = (RepoId, Generation, String);

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Guards(Arc<Inner>);

#[derive(Default)]
struct Inner {
    present: Mutex<HashMap<Place, usize>>,
    came: Notify,
}

/// A guard that is there, as long as this is held.
pub(crate) struct Presence {
    guards: Guards,
    place: Place,
}

impl Guards {
    pub(crate) fn enter(&self, repo: RepoId, generation: Generation, directory: &str) -> Presence {
        let place = (repo, generation, plain(directory));
        *self.present().entry(place.clone()).or_default() += 1;
        self.0.came.notify_waiters();
        Presence { guards: self.clone(), place }
    }

    pub(crate) fn is_there(&self, repo: &RepoId, generation: Generation, directory: &str) -> bool {
        self.present().contains_key(&(repo.clone(), generation, plain(directory)))
    }

    /// Whether it is there, or comes within the limit.
    pub(crate) async fn comes(
        &self,
        repo: &RepoId,
        generation: Generation,
        directory: &str,
        limit: Duration,
    ) -> bool {
        let coming = async {
            loop {
                let came = self.0.came.notified();
                if self.is_there(repo, generation, directory) {
                    return;
                }
                came.await;
            }
        };
        tokio::time::timeout(limit, coming).await.is_ok()
    }

    fn present(&self) -> MutexGuard<'_, HashMap<Place, usize>> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut present = self.guards.present();
        if let Some(count) = present.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.place);
            }
        }
    }
}

/// A directory as text, one way of several.
fn plain(directory: &str) -> String {
    match directory.trim_end_matches('/') {
        "" => "/".to_owned(),
        directory => directory.to_owned(),
    }
}

//! Which guards are there: one for each directory that is open in a backend, as long as its plugin
//! holds its connection.

use super::Coordination;
use crate::backend::Process;
use repod_opencode::BackendClient;
use repod_proto::{ApiError, ErrorCode, Generation, RepoId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

type Place = (RepoId, Generation, String);

/// How long a directory's guard may take to come: the directory is opened for it, plugins and all.
const GUARD_LIMIT: Duration = Duration::from_secs(10);
/// How soon it is opened once more.
const OPEN_PAUSE: Duration = Duration::from_millis(500);

/// A directory of a backend that is to be written in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guarded<'a> {
    pub(crate) repo: &'a RepoId,
    pub(crate) generation: Generation,
    pub(crate) directory: &'a str,
}

impl Coordination {
    /// Waits for the guard of a directory; without one no turn that may write is let through.
    pub(crate) async fn guarded(
        &self,
        place: Guarded<'_>,
        process: &Process,
        backend: &BackendClient,
    ) -> Result<(), ApiError> {
        let Guarded { repo, generation, directory } = place;
        let guards = self.guards();
        if guards.is_there(repo, generation, directory) {
            return Ok(());
        }
        if !process.guard.is_empty() {
            // Opens the directory, which loads its plugins; again and again, because one that is just
            // being closed still answers.
            let opening = async {
                loop {
                    let _ = backend.session_status(directory).await;
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
            };
            let came = tokio::select! {
                () = opening => false,
                came = guards.comes(repo, generation, directory, GUARD_LIMIT) => came,
            };
            if came {
                return Ok(());
            }
        }
        let message =
            format!("the guard of `{directory}` is not there, so nothing may write there");
        Err(ApiError::new(ErrorCode::GuardMissing, message).hint(
            "`repod restart` loads it anew; `repod logs` may say why it did not load (is OPENCODE_PURE \
             set, or a plugin broken?)",
        ))
    }
}

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
                tokio::pin!(came);
                came.as_mut().enable();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guard_is_there_as_long_as_it_is_held() {
        let (guards, repo) = (Guards::default(), "web-3f2a9c1b04de".parse::<RepoId>().unwrap());
        let one = Generation(1);
        assert!(!guards.comes(&repo, one, "/src/web", Duration::from_millis(5)).await);
        let waiting = tokio::spawn({
            let (guards, repo) = (guards.clone(), repo.clone());
            async move { guards.comes(&repo, one, "/src/web", Duration::from_secs(20)).await }
        });
        tokio::task::yield_now().await;
        let first = guards.enter(repo.clone(), one, "/src/web/");
        assert!(waiting.await.unwrap());
        let second = guards.enter(repo.clone(), one, "/src/web");
        drop(first);
        assert!(guards.is_there(&repo, one, "/src/web"));
        assert!(!guards.is_there(&repo, Generation(2), "/src/web"));
        drop(second);
        assert!(!guards.is_there(&repo, one, "/src/web"));
    }
}

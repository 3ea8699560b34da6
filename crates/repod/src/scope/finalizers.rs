//! What a boot has opened, and how each of it is closed: the last opened first, each once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest time one finalizer may take; the next goes on then.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a scope ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody asked for it, or another took its place.
    Disposed,
    /// A later step of its boot failed.
    Failed,
    /// Nobody has used it for long.
    Idle,
    /// The daemon ends. What others go on using stays as it is.
    Shutdown,
}

type Undo = Box<dyn FnOnce(End) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The finalizers of one scope. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Finalizers(Arc<Mutex<Vec<(&'static str, Undo)>>>);

impl fmt::Debug for Finalizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(all.iter().map(|(what, _)| what)).finish()
    }
}

impl Finalizers {
    /// A step has opened something; this closes it.
    pub(crate) fn add<F>(&self, what: &'static str, undo: impl FnOnce(End) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let undo: Undo = Box::new(move |end| Box::pin(undo(end)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((what, undo));
    }

    /// Runs them in reverse. One that panics or takes too long doesn't keep the others from running.
    pub(super) async fn run(&self, end: End) {
        while let Some((what, undo)) = self.take() {
            let mut running = tokio::spawn(async move { undo(end).await });
            match tokio::time::timeout(LIMIT, &mut running).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(what, %error, "a finalizer broke off"),
                Err(_) => {
                    running.abort();
                    tracing::error!(what, "a finalizer took longer than {} s", LIMIT.as_secs());
                }
            }
        }
    }

    fn take(&self) -> Option<(&'static str, Undo)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

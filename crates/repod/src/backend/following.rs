//! The repo's event hub, and which backend it listens to.

use super::View;
use crate::hub::{Hub, Limits, Upstream};
use jiff::{SignedDuration, Timestamp};
use repod_proto::{BackendState, Generation};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// How long after a daemon's start the readers of the one before are expected.
const COMING_BACK: SignedDuration = SignedDuration::from_secs(60);
/// How long the first requests to a new backend wait until its events are heard.
const HEAR_LIMIT: Duration = Duration::from_secs(1);

/// One repo's hub, which is made when it is first needed.
#[derive(Clone)]
pub(crate) struct Following {
    hub: Arc<OnceLock<Hub>>,
    follows: Arc<AtomicBool>,
    views: watch::Receiver<Arc<View>>,
    /// Since when this daemon serves the repo.
    born: Timestamp,
}

impl Following {
    pub(super) fn new(views: watch::Receiver<Arc<View>>) -> Self {
        Self { hub: Arc::default(), follows: Arc::default(), views, born: Timestamp::now() }
    }

    /// The hub.
    pub(crate) fn hub(&self) -> &Hub {
        self.hub.get_or_init(|| {
            let (name, named) = watch::channel(None);
            tokio::spawn(name_upstreams(self.views.clone(), name, self.born));
            Hub::new(named, Limits::default())
        })
    }

    /// The hub, if there is one yet.
    pub(crate) fn known(&self) -> Option<&Hub> {
        self.hub.get()
    }

    /// Listens from the first backend on, whether or not anybody else does.
    pub(super) async fn follow(self) {
        self.follows.store(true, Ordering::Release);
        let mut views = self.views.clone();
        if views.wait_for(|view| upstream(view, self.born).is_some()).await.is_ok() {
            self.hub().follow();
        }
    }

    /// Returns when the events of this generation are heard, so that nothing it is asked to do
    /// goes unnoticed; or after a while, for a backend that tells nothing must be asked too.
    pub(crate) async fn heard(&self, generation: Generation) {
        if self.follows.load(Ordering::Acquire) {
            let heard = self.hub().heard(generation.0);
            if tokio::time::timeout(HEAR_LIMIT, heard).await.is_err() {
                tracing::warn!(%generation, "its events are not heard yet");
            }
        }
    }
}

/// Tells the hub which backend there is, for as long as both are wanted.
async fn name_upstreams(
    mut views: watch::Receiver<Arc<View>>,
    name: watch::Sender<Option<Upstream>>,
    born: Timestamp,
) {
    loop {
        let now = upstream(&views.borrow_and_update(), born);
        let generation = |upstream: &Option<Upstream>| upstream.as_ref().map(|it| it.generation);
        name.send_if_modified(|named| {
            let changed = generation(named) != generation(&now);
            *named = now;
            changed
        });
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = name.closed() => return,
        }
    }
}

/// One that is merely slow stays named: its turns are not over.
fn upstream(view: &View, born: Timestamp) -> Option<Upstream> {
    let lives = matches!(view.state, BackendState::Ready | BackendState::Unresponsive);
    let process = view.process.as_ref().filter(|_| lives)?;
    Some(Upstream {
        generation: view.generation.0,
        port: process.port,
        password: process.password.clone(),
        fresh: !view.adopted,
        missed_since: view.adopted.then(|| missed_since(born)).flatten(),
    })
}

/// The readers of the daemon before come back to this one with what they have seen until then.
fn missed_since(born: Timestamp) -> Option<u64> {
    let is_young = Timestamp::now().duration_since(born) < COMING_BACK;
    is_young.then(|| u64::try_from(born.as_millisecond()).ok()).flatten()
}

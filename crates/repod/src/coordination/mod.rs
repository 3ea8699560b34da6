//! Who may write where, while the daemon runs: the async shell around the pure lease table of
//! `repod-coordination`.
//!
//! ```text
//!  plugin ──ask──► calls (which branch, which worktree) ──► desk { lease table } ──► lock file
//!  gateway ─ask──►                                            ▲
//!  events, deaths of backends ──► watch ──────────────────────┘
//! ```
//!
//! One task, the desk, owns the table. A call that asks waits for its answer; one whose asker goes
//! away is taken out. Guards shake hands for each directory of a backend; until one has, no writing
//! turn is let through to that directory.

mod calls;
mod counts;
mod desk;
mod footprint;
mod ground;
mod guarded;
mod guards;
mod line;
mod lock;
mod order;
mod policy;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use calls::{Caller, GuardedCall, Verdict, Wanted, wait};
pub(crate) use counts::Counts;
pub(crate) use footprint::{Footprint, branch_of, directory_of};
pub(crate) use guarded::Guarded;
pub(crate) use guards::Presence;
pub(crate) use line::Granted;
pub(crate) use order::OnItsWay;
pub(crate) use repod_coordination::lease::{
    Ask, CallId, Event, Hold, Kind, LeaseKey, OwnerId, Party, Restored, RestoredCall, Wait, words,
};

use crate::backend::{RepoHandle, WeakHandle};
use crate::repo::Repo;
use crate::settings::Policy;
use desk::Desk;
use ground::House;
use guards::Guards;
use line::Line;
use order::Order;
use repod_coordination::lease::Limits;
use repod_proto::{ApiError, Home, LeaseInfo, RepoId};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Words on their way to the desk.
const WORDS_MAX: usize = 4096;
/// How long the guards of backends that an earlier daemon left may take to say what they hold,
/// before anybody is granted anything: they look for the daemon once a second.
const REBUILD: Duration = Duration::from_millis(1500);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Coordination(Arc<Inner>);

struct Inner {
    line: Line,
    guards: Guards,
    repos: Mutex<HashMap<RepoId, WeakHandle>>,
    policy: Policy,
    counts: Counts,
    order: Order,
    /// Before this nothing is granted.
    opens: Mutex<Instant>,
}

impl Coordination {
    /// Must be called within the runtime.
    pub(crate) fn new(home: &Home, policy: Policy) -> Self {
        let (line, words) = Line::new(WORDS_MAX);
        let inner = Arc::new(Inner {
            line,
            guards: Guards::default(),
            repos: Mutex::default(),
            policy,
            counts: Counts::default(),
            order: Order::default(),
            opens: Mutex::new(Instant::now()),
        });
        let house = House::new(home.clone(), Arc::downgrade(&inner));
        let desk = Desk::new(house, Limits::default(), lock::fences(home));
        tokio::spawn(desk.run(words));
        Self(inner)
    }

    /// Takes a repo's events and the deaths of its backends into account, as long as it is managed.
    pub(crate) fn watch(&self, handle: &RepoHandle) {
        if handle.view().process.is_some() {
            let mut opens = self.0.opens.lock().unwrap_or_else(PoisonError::into_inner);
            *opens = Instant::now() + REBUILD;
        }
        let mut repos = self.0.repos.lock().unwrap_or_else(PoisonError::into_inner);
        repos.insert(handle.repo().id.clone(), handle.downgrade());
        drop(repos);
        tokio::spawn(watch::run(self.clone(), handle.downgrade()));
    }

    /// The registered directory without git that this path lies in. Inside git there is none.
    pub(crate) fn plain_repo(&self, path: &Path) -> Option<Repo> {
        let repos = self.0.repos.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = repos.values().map(WeakHandle::repo).filter(|repo| repo.identity == repo.root);
        let holds = plain.filter(|repo| path.starts_with(&repo.root));
        // The innermost of several.
        holds.max_by_key(|repo| repo.root.as_os_str().len()).cloned()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.0.guards
    }

    /// Asks for a lease and a ticket, and waits for them. A caller who leaves is taken out of line.
    pub(crate) async fn ask(
        &self,
        ask: Ask,
        on_its_way: Option<OnItsWay>,
    ) -> Result<Granted, ApiError> {
        let opens = *self.0.opens.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = self.0.counts.asked(ask.worktree.is_some());
        tokio::time::sleep_until(opens).await;
        let answered = self.0.line.ask(ask, on_its_way).await;
        asked.answered(&answered);
        answered
    }

    /// What was asked for, and how long it was waited for.
    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Tells the desk what happened.
    pub(crate) async fn tell(&self, event: Event) {
        self.0.line.tell(event).await;
    }

    /// Everything that is held.
    pub(crate) async fn leases(&self) -> Result<Vec<LeaseInfo>, ApiError> {
        self.0.line.leases().await
    }
}

impl Inner {
    fn handle(&self, repo: &RepoId) -> Option<RepoHandle> {
        self.repos.lock().unwrap_or_else(PoisonError::into_inner).get(repo)?.upgrade()
    }
}

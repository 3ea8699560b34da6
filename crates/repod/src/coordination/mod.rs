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
mod desk;
mod footprint;
mod guards;
mod lock;
mod policy;
mod watch;

pub(crate) use calls::{Caller, GuardedCall, Verdict, Wanted, wait};
pub(crate) use footprint::{Footprint, branch_of, directory_of};
pub(crate) use guards::{Guarded, Presence};
pub(crate) use repod_coordination::lease::{
    Answer, Ask, CallId, Event, Hold, Kind, LeaseKey, OwnerId, Party, Restored, RestoredCall, Wait,
    words,
};

use crate::backend::{RepoHandle, WeakHandle};
use crate::repo::Repo;
use crate::settings::Policy;
use desk::{Desk, Word};
use guards::Guards;
use repod_proto::{ApiError, ErrorCode, Home, LeaseInfo, RepoId};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Words on their way to the desk. It never waits, so more than a few mean that the machine does.
const WORDS_MAX: usize = 4096;
/// How long the guards of backends that an earlier daemon left may take to say what they hold,
/// before anybody is granted anything: they look for the daemon once a second.
const REBUILD: Duration = Duration::from_millis(1500);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Coordination(Arc<Inner>);

struct Inner {
    words: mpsc::Sender<Word>,
    guards: Guards,
    repos: Mutex<HashMap<RepoId, WeakHandle>>,
    policy: Policy,
    /// Before this nothing is granted.
    opens: Mutex<Instant>,
}

impl Coordination {
    /// Must be called within the runtime.
    pub(crate) fn new(home: &Home, policy: Policy) -> Self {
        let (words, received) = mpsc::channel(WORDS_MAX);
        let inner = Arc::new(Inner {
            words,
            guards: Guards::default(),
            repos: Mutex::default(),
            policy,
            opens: Mutex::new(Instant::now()),
        });
        let desk = Desk::new(home.clone(), Arc::downgrade(&inner));
        tokio::spawn(desk.run(received));
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
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Granted, ApiError> {
        let opens = *self.0.opens.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep_until(opens).await;
        let mut asked = Granted { desk: self.clone(), call: Some(ask.call.clone()), lease: None };
        let (reply, answer) = oneshot::channel();
        self.say(Word::Ask(Box::new(ask), reply)).await?;
        match answer.await {
            Ok(Answer::Granted { key, fence }) => {
                asked.lease = Some((key, fence));
                Ok(asked)
            }
            Ok(Answer::Refused(refusal)) => {
                asked.call = None;
                Err(words::refusal(&refusal))
            }
            Err(_) => {
                // Asked again under the same name: whoever asked last gets the answer.
                asked.call = None;
                Err(ApiError::new(ErrorCode::Stopped, "this call was asked for a second time"))
            }
        }
    }

    /// Tells the desk what happened.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.say(Word::Event(Box::new(event))).await;
    }

    /// Everything that is held.
    pub(crate) async fn leases(&self) -> Result<Vec<LeaseInfo>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.say(Word::Leases(reply)).await?;
        answer.await.map_err(|_| ended())
    }

    async fn say(&self, word: Word) -> Result<(), ApiError> {
        self.0.words.send(word).await.map_err(|_| ended())
    }
}

impl Inner {
    fn handle(&self, repo: &RepoId) -> Option<RepoHandle> {
        self.repos.lock().unwrap_or_else(PoisonError::into_inner).get(repo)?.upgrade()
    }
}

fn ended() -> ApiError {
    ApiError::new(ErrorCode::Internal, "the task that keeps the leases has ended; see repod.log")
}

/// A call that may write, or still waits to: gone when this is dropped, unless it is kept.
pub(crate) struct Granted {
    desk: Coordination,
    call: Option<CallId>,
    pub(crate) lease: Option<(LeaseKey, u64)>,
}

impl Granted {
    /// It runs on after this: its end will be reported.
    pub(crate) fn keep(mut self) -> Option<(LeaseKey, u64)> {
        self.call = None;
        self.lease.take()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let word = Word::Event(Box::new(Event::CallGone { call }));
        if let Err(mpsc::error::TrySendError::Full(word)) = self.desk.0.words.try_send(word) {
            let desk = self.desk.clone();
            tokio::spawn(async move { desk.say(word).await });
        }
    }
}

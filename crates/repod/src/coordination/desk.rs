//! The desk: the one task that owns the lease table. It feeds it what happened and carries out what
//! it asks for. It never waits: what takes time runs beside it and comes back as an event.
//!
//! With `line` it is all of the synchronisation around the table, and knows nothing else of the daemon:
//! `tests/interleavings` runs both, as they are, through a model checker.

use super::line::{Asker, Word};
use repod_coordination::lease::{
    Answer, Ask, CallId, Effect, Event, LeaseKey, Limits, OwnerId, RefusalKind, Table, Why,
};
use repod_proto::ApiError;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// How often a lock file that somebody else has is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Names of calls remembered at least; those nobody holds any more are forgotten when there are more.
const ASKERS_KEPT: usize = 1024;

/// Worktrees remembered; with more, remembering starts over.
const WORKTREES_MAX: usize = 4096;

/// What the desk stands on.
pub(super) trait Ground: Clone + Send + 'static {
    /// A branch's lock file, locked until this is dropped.
    type Lock: Send + 'static;

    /// Locks the branch's file and writes the number down.
    fn take(&self, key: &LeaseKey, fence: u64) -> Result<Self::Lock, NotLocked>;

    /// Whether the turn of this owner is known to be over.
    fn is_over(&self, owner: &OwnerId) -> bool;
}

/// Why a branch's lock file is not held.
pub(super) enum NotLocked {
    /// Somebody has the file.
    Blocked(String),
    Failed(ApiError),
}

/// The lock file of a lease: had, or still tried for.
enum Lock<L> {
    Had(L),
    Trying(AbortHandle),
}

/// What comes back from beside the desk.
enum Done<L> {
    Locked(LeaseKey, u64, L),
    Event(Box<Event>),
}

pub(super) struct Desk<G: Ground> {
    ground: G,
    table: Table,
    born: Instant,
    born_at: jiff::Timestamp,
    /// Who waits for an answer.
    answers: HashMap<CallId, oneshot::Sender<Answer>>,
    /// Who asked last, under each name.
    askers: HashMap<CallId, Weak<Asker>>,
    askers_kept: usize,
    /// Whether what is being fed was refused for bearing another's name.
    stranger: bool,
    locks: HashMap<LeaseKey, (u64, Lock<G::Lock>)>,
    /// What was checked out in each worktree when somebody last asked to write there.
    checked_out: HashMap<String, LeaseKey>,
    beside: JoinSet<Done<G::Lock>>,
}

impl<G: Ground> Desk<G> {
    /// Goes on from the fence numbers on record.
    pub(super) fn new(
        ground: G,
        limits: Limits,
        fences: impl IntoIterator<Item = (LeaseKey, u64)>,
    ) -> Self {
        Self {
            ground,
            table: Table::new(limits, fences),
            born: Instant::now(),
            born_at: jiff::Timestamp::now(),
            answers: HashMap::new(),
            askers: HashMap::new(),
            askers_kept: ASKERS_KEPT,
            stranger: false,
            locks: HashMap::new(),
            checked_out: HashMap::new(),
            beside: JoinSet::new(),
        }
    }

    /// Lives as long as there is somebody to tell it anything.
    pub(super) async fn run(mut self, mut words: mpsc::Receiver<Word>) {
        loop {
            let due = self.table.next_deadline().map(|at| self.born + Duration::from_millis(at));
            let tick = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                word = words.recv() => match word {
                    Some(Word::Ask(ask, asker, reply)) => self.asked(*ask, &asker, reply),
                    Some(Word::Left(call, asker)) => self.left(call, &asker),
                    Some(Word::Event(event)) => self.feed(*event),
                    Some(Word::Leases(reply)) => {
                        let at = |ms| self.date(ms);
                        let _ = reply.send(self.table.snapshot(&at));
                    }
                    None => return,
                },
                Some(done) = self.beside.join_next() => match done {
                    Ok(Done::Locked(key, fence, lock)) => self.locked(key, fence, lock),
                    Ok(Done::Event(event)) => self.feed(*event),
                    // Given up on.
                    Err(_) => {}
                },
                () = tick => self.feed(Event::Tick),
            }
        }
    }

    fn asked(&mut self, ask: Ask, asker: &Arc<Asker>, reply: oneshot::Sender<Answer>) {
        self.notice_switch(&ask);
        if self.askers.len() >= self.askers_kept {
            self.askers.retain(|_, asker| asker.strong_count() > 0);
            self.askers_kept = ASKERS_KEPT.max(2 * self.askers.len());
        }
        let call = ask.call.clone();
        let before = self.answers.insert(call.clone(), reply);
        let asked = self.askers.insert(call.clone(), Arc::downgrade(asker));
        self.stranger = false;
        self.feed(Event::Ask(ask));
        if self.stranger {
            // The name is another's, who goes on waiting for his answer.
            self.answers.extend(before.map(|reply| (call.clone(), reply)));
            self.askers.extend(asked.map(|asker| (call, asker)));
        } else if let Some(asked) = asked.and_then(|asker| asker.upgrade()) {
            asked.is_followed();
        }
    }

    /// Nobody waits for the call any more, unless it was asked for again.
    fn left(&mut self, call: CallId, asker: &Asker) {
        if asker.is_last() {
            self.feed(Event::CallGone { call });
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn date(&self, ms: u64) -> String {
        let since = i64::try_from(ms).unwrap_or(i64::MAX);
        let at = self.born_at.checked_add(jiff::Span::new().milliseconds(since));
        at.unwrap_or(self.born_at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.table.on(event, self.now()) {
                events.extend(self.carry_out(effect));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Secure { key, fence, .. } => return self.secure(key, fence),
            Effect::Release { key, fence, owner, why } => {
                match self.locks.remove(&key).filter(|(of, _)| *of == fence) {
                    Some((_, Lock::Had(lock))) => drop(lock),
                    Some((_, Lock::Trying(trying))) => trying.abort(),
                    None => {}
                }
                if why != Why::Done {
                    tracing::warn!(repo = %key.repo, branch = %key.branch, fence, %owner, ?why,
                        "a lease ended before its turn");
                }
            }
            Effect::Answer { call, answer } => {
                self.stranger |= matches!(&answer, Answer::Refused(refusal)
                    if refusal.kind == RefusalKind::SameName);
                if let Some(reply) = self.answers.remove(&call) {
                    // Who left meanwhile says so himself.
                    let _ = reply.send(answer);
                }
            }
            Effect::Revoked { call, key, fence, why } => {
                tracing::warn!(call = %call.0, repo = %key.repo, branch = %key.branch, fence, ?why,
                    "a call may go on writing without its lease");
            }
            Effect::Check { owner } => self.check(owner),
            Effect::NotRestored { key, owner, fence } => {
                tracing::warn!(repo = %key.repo, branch = %key.branch, %owner, fence,
                    "a lease from before the restart was given to another");
            }
        }
        None
    }

    /// A branch that is switched under a lease is noticed by the next write: calls that still wait for
    /// the old one go over to the new one's line.
    fn notice_switch(&mut self, ask: &Ask) {
        let Some(worktree) = &ask.worktree else { return };
        if self.checked_out.len() >= WORKTREES_MAX && !self.checked_out.contains_key(worktree) {
            self.checked_out.clear();
        }
        let before = self.checked_out.insert(worktree.clone(), ask.key.clone());
        if let Some(from) = before.filter(|from| *from != ask.key) {
            tracing::info!(%worktree, from = %from.branch, to = %ask.key.branch, "switched");
            let (worktree, to) = (worktree.clone(), ask.key.clone());
            self.feed(Event::BranchSwitched { worktree, from, to });
        }
    }

    fn secure(&mut self, key: LeaseKey, fence: u64) -> Option<Event> {
        match self.ground.take(&key, fence) {
            Ok(lock) => {
                self.locks.insert(key.clone(), (fence, Lock::Had(lock)));
                Some(Event::Secured { key, fence })
            }
            Err(NotLocked::Failed(error)) => Some(Event::SecureFailed { key, fence, error }),
            Err(NotLocked::Blocked(by)) => {
                let (ground, of) = (self.ground.clone(), key.clone());
                let trying = self.beside.spawn(async move {
                    loop {
                        tokio::time::sleep(RETRY).await;
                        match ground.take(&of, fence) {
                            Ok(lock) => return Done::Locked(of, fence, lock),
                            Err(NotLocked::Blocked(_)) => {}
                            Err(NotLocked::Failed(error)) => {
                                let failed = Event::SecureFailed { key: of, fence, error };
                                return Done::Event(Box::new(failed));
                            }
                        }
                    }
                });
                self.locks.insert(key.clone(), (fence, Lock::Trying(trying)));
                Some(Event::Blocked { key, fence, by })
            }
        }
    }

    fn locked(&mut self, key: LeaseKey, fence: u64, lock: G::Lock) {
        // One that is no longer wanted is unlocked by its drop.
        if let Some(place) = self.locks.get_mut(&key).filter(|(of, _)| *of == fence) {
            place.1 = Lock::Had(lock);
            self.feed(Event::Secured { key, fence });
        }
    }

    /// Looks whether the turn of an owner that is quiet still goes on: an event may have been lost.
    fn check(&mut self, owner: OwnerId) {
        if self.ground.is_over(&owner) {
            self.beside.spawn(async { Done::Event(Box::new(Event::TurnEnded { owner })) });
        }
    }
}

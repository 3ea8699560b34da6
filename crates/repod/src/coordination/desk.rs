//! The desk: the one task that owns the lease table. It feeds it what happened and carries out what
//! it asks for. It never waits: what takes time runs beside it and comes back as an event.

use super::Inner;
use super::lock::{self, BranchLock, NotLocked};
use repod_coordination::lease::{
    Answer, Ask, CallId, Effect, Event, LeaseKey, Limits, OwnerId, Table, Why,
};
use repod_proto::{Home, LeaseInfo};
use std::collections::{HashMap, VecDeque};
use std::sync::Weak;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// How often a lock file that somebody else has is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Worktrees remembered; with more, remembering starts over.
const WORKTREES_MAX: usize = 4096;

/// What the desk is told.
pub(super) enum Word {
    Ask(Box<Ask>, oneshot::Sender<Answer>),
    Event(Box<Event>),
    Leases(oneshot::Sender<Vec<LeaseInfo>>),
}

/// The lock file of a lease: had, or still tried for.
enum Lock {
    Had(#[expect(dead_code, reason = "held for its drop")] BranchLock),
    Trying(AbortHandle),
}

/// What comes back from beside the desk.
enum Done {
    Locked(LeaseKey, u64, BranchLock),
    Event(Event),
}

pub(super) struct Desk {
    home: Home,
    table: Table,
    coordination: Weak<Inner>,
    born: Instant,
    born_at: jiff::Timestamp,
    answers: HashMap<CallId, oneshot::Sender<Answer>>,
    locks: HashMap<LeaseKey, (u64, Lock)>,
    /// What was checked out in each worktree when somebody last asked to write there.
    checked_out: HashMap<String, LeaseKey>,
    beside: JoinSet<Done>,
}

impl Desk {
    pub(super) fn new(home: Home, coordination: Weak<Inner>) -> Self {
        let table = Table::new(Limits::default(), lock::fences(&home));
        Self {
            home,
            table,
            coordination,
            born: Instant::now(),
            born_at: jiff::Timestamp::now(),
            answers: HashMap::new(),
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
                    Some(Word::Ask(ask, reply)) => {
                        self.notice_switch(&ask);
                        self.answers.insert(ask.call.clone(), reply);
                        self.feed(Event::Ask(*ask));
                    }
                    Some(Word::Event(event)) => self.feed(*event),
                    Some(Word::Leases(reply)) => {
                        let at = |ms| self.date(ms);
                        let _ = reply.send(self.table.snapshot(&at));
                    }
                    None => return,
                },
                Some(done) = self.beside.join_next() => match done {
                    Ok(Done::Locked(key, fence, lock)) => self.locked(key, fence, lock),
                    Ok(Done::Event(event)) => self.feed(event),
                    // Given up on.
                    Err(_) => {}
                },
                () = tick => self.feed(Event::Tick),
            }
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
                if let Some((_, Lock::Trying(trying))) =
                    self.locks.remove(&key).filter(|(of, _)| *of == fence)
                {
                    trying.abort();
                }
                if why != Why::Done {
                    tracing::warn!(repo = %key.repo, branch = %key.branch, fence, %owner, ?why,
                        "a lease ended before its turn");
                }
            }
            Effect::Answer { call, answer } => {
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
        match lock::take(&self.home, &key, fence) {
            Ok(lock) => {
                self.locks.insert(key.clone(), (fence, Lock::Had(lock)));
                Some(Event::Secured { key, fence })
            }
            Err(NotLocked::Failed(error)) => Some(Event::SecureFailed { key, fence, error }),
            Err(NotLocked::Blocked(by)) => {
                let (home, of) = (self.home.clone(), key.clone());
                let trying = self.beside.spawn(async move {
                    loop {
                        tokio::time::sleep(RETRY).await;
                        match lock::take(&home, &of, fence) {
                            Ok(lock) => return Done::Locked(of, fence, lock),
                            Err(NotLocked::Blocked(_)) => {}
                            Err(NotLocked::Failed(error)) => {
                                return Done::Event(Event::SecureFailed { key: of, fence, error });
                            }
                        }
                    }
                });
                self.locks.insert(key.clone(), (fence, Lock::Trying(trying)));
                Some(Event::Blocked { key, fence, by })
            }
        }
    }

    fn locked(&mut self, key: LeaseKey, fence: u64, lock: BranchLock) {
        // One that is no longer wanted is unlocked by its drop.
        if let Some(place) = self.locks.get_mut(&key).filter(|(of, _)| *of == fence) {
            place.1 = Lock::Had(lock);
            self.feed(Event::Secured { key, fence });
        }
    }

    /// Looks whether the turn of an owner that is quiet still goes on: an event may have been lost.
    fn check(&mut self, owner: OwnerId) {
        let OwnerId::Session { repo, root } = &owner else { return };
        let Some(handle) = self.coordination.upgrade().and_then(|inner| inner.handle(repo)) else {
            return;
        };
        let events = handle.standing().events;
        if events.known && !events.busy.contains(root) {
            self.beside.spawn(async { Done::Event(Event::TurnEnded { owner }) });
        }
    }
}

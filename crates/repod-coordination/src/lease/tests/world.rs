//! A daemon on paper: it carries out the effects, keeps its own books, and checks them after each event.

mod checks;

use super::super::*;
use super::party;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const LIMITS: Limits = Limits {
    waiters_per_key: 3,
    waiting_per_worktree: 5,
    keys: 4,
    calls: 14,
    fences: 5,
    longest_wait: 3_600_000,
    ticket_wait: 120_000,
    share_after: 30_000,
    yield_after: 600_000,
    linger: 5_000,
    check_every: 30_000,
};

/// Of each branch: the fence of its holder, and who is in line.
type Lines = BTreeMap<LeaseKey, (Option<u64>, Vec<OwnerId>)>;

/// A call as the world sees it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) ask: Ask,
    pub(super) number: u64,
    /// Fence and moment of its grant.
    pub(super) granted: Option<(u64, u64)>,
    pub(super) shared_from_start: bool,
    /// When it began to wait on its branch.
    pub(super) asked: u64,
    /// When the turn ended that it outlived.
    pub(super) outlived: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holding {
    pub(super) owner: OwnerId,
    pub(super) fence: u64,
    pub(super) secured: bool,
    pub(super) used: bool,
}

pub(super) struct World {
    pub(super) table: Table,
    pub(super) now: u64,
    pub(super) calls: BTreeMap<CallId, Entry>,
    pub(super) holders: BTreeMap<LeaseKey, Holding>,
    pub(super) fences: BTreeMap<LeaseKey, u64>,
    born: BTreeMap<OwnerId, u64>,
    clock: u64,
    pub(super) generations: BTreeMap<RepoId, u64>,
    pub(super) deadlocks: u32,
    pub(super) granted: u32,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(LIMITS, []),
            now: 1_000,
            calls: BTreeMap::new(),
            holders: BTreeMap::new(),
            fences: BTreeMap::new(),
            born: BTreeMap::new(),
            clock: 0,
            generations: BTreeMap::new(),
            deadlocks: 0,
            granted: 0,
        }
    }

    /// Of the backend that runs this owner.
    pub(super) fn generation(&self, owner: &OwnerId) -> Generation {
        match owner {
            OwnerId::Session { repo, .. } => {
                Generation(self.generations.get(repo).copied().unwrap_or(1))
            }
            OwnerId::Outside(_) => Generation(0),
        }
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        self.clock += 1;
        self.born.entry(ask.party.id.clone()).or_insert(self.clock);
        let number = self.clock;
        let entry = Entry {
            ask: ask.clone(),
            number,
            granted: None,
            shared_from_start: false,
            asked: self.now,
            outlived: None,
        };
        assert!(self.calls.insert(ask.call.clone(), entry).is_none(), "the test names calls twice");
        self.feed(Event::Ask(ask));
    }

    /// Another branch is checked out: the books follow.
    pub(super) fn switch(&mut self, worktree: &str, from: &LeaseKey, to: &LeaseKey) {
        for entry in self.calls.values_mut() {
            let here = entry.ask.worktree.as_deref() == Some(worktree);
            if here && entry.ask.key == *from && entry.granted.is_none() {
                (entry.ask.key, entry.asked) = (to.clone(), self.now);
            }
        }
        let (worktree, from, to) = (worktree.to_owned(), from.clone(), to.clone());
        self.feed(Event::BranchSwitched { worktree, from, to });
    }

    pub(super) fn feed(&mut self, event: Event) {
        let before = self.lines();
        match &event {
            Event::Secured { key, fence } => {
                if let Some(held) = self.holders.get_mut(key).filter(|held| held.fence == *fence) {
                    held.secured = true;
                }
            }
            Event::Report { call } | Event::CallGone { call } => {
                self.calls.retain(|id, entry| id != call || entry.granted.is_none());
            }
            Event::TurnEnded { owner } => {
                let now = self.now;
                let out =
                    |entry: &&mut Entry| entry.granted.is_some() && entry.ask.hold == Hold::Turn;
                let of_it = self.calls.values_mut().filter(|e| e.ask.party.id == *owner);
                of_it.filter(out).for_each(|entry| {
                    entry.outlived.get_or_insert(now);
                });
            }
            Event::OwnerGone { owner } => self.gone(|party| party.id == *owner),
            Event::BackendGone { repo, generation } => self.gone(|party| {
                matches!(&party.id, OwnerId::Session { repo: of, .. } if of == repo)
                    && party.generation <= *generation
            }),
            _ => {}
        }
        let restored = matches!(event, Event::Restore(_));
        let ended = match &event {
            Event::TurnEnded { owner } => Some(owner.clone()),
            _ => None,
        };
        let effects = self.table.on(event, self.now);
        for effect in effects {
            self.carry_out(effect, restored);
        }
        self.check_lines(&before);
        self.check_books();
        self.check_nobody_waits_in_vain();
        self.check_no_circle();
        self.check_bounds();
        self.check_nothing_takes_for_ever();
        if let Some(owner) = ended {
            self.check_ended(&owner);
        }
        let busy: BTreeSet<OwnerId> = self
            .calls
            .values()
            .map(|entry| entry.ask.party.id.clone())
            .chain(self.holders.values().map(|held| held.owner.clone()))
            .collect();
        self.born.retain(|owner, _| busy.contains(owner));
    }

    /// Running calls of those that are gone don't run any more.
    fn gone(&mut self, who: impl Fn(&Party) -> bool) {
        self.calls.retain(|_, entry| entry.granted.is_none() || !who(&entry.ask.party));
    }

    fn carry_out(&mut self, effect: Effect, restored: bool) {
        match effect {
            Effect::Secure { key, fence, owner } => {
                let last = self.fences.get(&key).copied().unwrap_or(0);
                assert!(fence > last || (restored && fence == last), "{key}: {last} -> {fence}");
                self.fences.insert(key.clone(), fence);
                let held = Holding { owner, fence, secured: false, used: restored };
                assert_eq!(self.holders.insert(key, held), None, "two owners");
            }
            Effect::Release { key, fence, owner, .. } => {
                let held = self.holders.remove(&key).expect("released by its holder");
                assert_eq!((held.fence, &held.owner), (fence, &owner));
                assert!(!self.table.is_current(&key, &owner, fence), "stale, and still current");
                let under =
                    |e: &Entry| e.granted.is_some_and(|(of, _)| of == fence) && e.ask.key == key;
                assert!(!self.calls.values().any(under), "released under a running call");
            }
            Effect::Answer { call, answer } => self.answered(&call, answer),
            Effect::Revoked { call, .. } => {
                let entry = self.calls.remove(&call).expect("a call that is known");
                assert!(entry.granted.is_some(), "revoked, but it never ran");
            }
            Effect::Check { owner } => {
                assert!(self.holders.values().any(|held| held.owner == owner));
            }
            Effect::NotRestored { .. } => assert!(restored),
        }
    }

    fn answered(&mut self, call: &CallId, answer: Answer) {
        let entry = self.calls.get(call).unwrap_or_else(|| panic!("{call:?} is answered twice"));
        assert_eq!(entry.granted, None, "{call:?} is answered twice");
        match answer {
            Answer::Granted { key, fence } => {
                let entry = entry.clone();
                assert_eq!(entry.ask.key, key);
                let held = self.holders.get_mut(&key).expect("granted without a lease");
                assert_eq!((&held.owner, held.fence), (&entry.ask.party.id, fence));
                assert!(held.secured, "answered before it is on record");
                held.used = true;
                self.check_ticket(&entry);
                self.granted += 1;
                if let Some(entry) = self.calls.get_mut(call) {
                    entry.granted = Some((fence, self.now));
                }
            }
            Answer::Refused(refusal) => {
                if let RefusalKind::Deadlock(circle) = &refusal.kind {
                    self.deadlocks += 1;
                    let born = |title: &String| {
                        let named = |(id, _): &(&OwnerId, &u64)| id.to_string() == *title;
                        *self.born.iter().find(named).expect("one that is known").1
                    };
                    let youngest = circle.iter().map(born).max();
                    assert_eq!(circle.first().map(born), youngest, "not the youngest");
                    assert_eq!(circle.first(), Some(&entry.ask.party.id.to_string()));
                }
                let text = words::refusal(&refusal);
                assert!(!text.message.is_empty() && !text.message.contains('\n'));
                self.calls.remove(call);
            }
        }
    }

    fn lines(&self) -> Lines {
        let line = |lane: &Lane| lane.line.iter().map(|waiter| waiter.owner.clone()).collect();
        let fence = |lane: &Lane| lane.held.as_ref().map(|held| held.fence);
        self.table
            .lanes
            .iter()
            .map(|(key, lane)| (key.clone(), (fence(lane), line(lane))))
            .collect()
    }

    /// The daemon is killed and comes back: who waited is forgotten, what was granted is told anew.
    pub(super) fn restart(&mut self) {
        self.table = Table::new(LIMITS, self.fences.clone());
        let before = std::mem::take(&mut self.holders);
        let calls = std::mem::take(&mut self.calls);
        self.born.clear();
        for (repo, generation) in &self.generations {
            let (repo, generation) = (repo.clone(), Generation(generation - 1));
            let effects = self.table.on(Event::BackendGone { repo, generation }, self.now);
            assert_eq!(effects, []);
        }
        for (key, held) in before.into_iter().filter(|(_, held)| held.used) {
            self.clock += 1;
            self.born.entry(held.owner.clone()).or_insert(self.clock);
            let in_turn = matches!(held.owner, OwnerId::Session { .. });
            let mut running = Vec::new();
            let under = |e: &&Entry| e.granted.is_some() && e.ask.key == key;
            for entry in calls.values().filter(under) {
                self.clock += 1;
                let mut restored = entry.clone();
                restored.number = self.clock;
                restored.granted = Some((held.fence, self.now));
                restored.outlived = None;
                restored.ask.hold = if in_turn { Hold::Turn } else { Hold::Call };
                restored.shared_from_start = entry.ask.kind == Kind::LongRunning;
                self.calls.insert(entry.ask.call.clone(), restored);
                running.push(RestoredCall {
                    call: entry.ask.call.clone(),
                    worktree: entry.ask.worktree.clone(),
                    what: entry.ask.what.clone(),
                    kind: entry.ask.kind,
                });
            }
            let party = party(&held.owner, self.generation(&held.owner));
            // Only the books of this test are incomplete in between.
            let restored = Restored { key, party, fence: held.fence, in_turn, running };
            let effects = self.table.on(Event::Restore(restored), self.now);
            for effect in effects {
                self.carry_out(effect, true);
            }
        }
        self.feed(Event::Tick);
    }
}

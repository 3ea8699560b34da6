//! What must hold after every event, whatever came before.

use super::super::super::*;
use super::{Entry, LIMITS, Lines, World};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    pub(super) fn check_ticket(&self, entry: &Entry) {
        let Some(worktree) = &entry.ask.worktree else { return };
        for other in self.calls.values() {
            if other.ask.worktree.as_ref() != Some(worktree) || other.number == entry.number {
                continue;
            }
            if other.granted.is_some() {
                assert!(self.shares(other), "two tickets on {worktree}");
                assert_eq!(other.ask.party.id, entry.ask.party.id, "shared with another owner");
            } else if other.number < entry.number {
                assert!(!self.is_eligible(other), "{:?} came first", other.ask.call);
            }
        }
    }

    /// First come, first served: nobody passes anybody, and a new holder was the first who still waited.
    pub(super) fn check_lines(&self, before: &Lines) {
        for (key, (fence, line)) in self.lines() {
            let Some((old_fence, old_line)) = before.get(&key) else { continue };
            let stayed: Vec<_> = old_line.iter().filter(|owner| line.contains(owner)).collect();
            let place = |owner: &&OwnerId| line.iter().position(|other| other == *owner);
            assert!(stayed.iter().map(place).is_sorted(), "{old_line:?} became {line:?}");
            if let Some(new) = line.iter().position(|owner| !old_line.contains(owner)) {
                assert!(
                    !line[new..].iter().any(|o| old_line.contains(o)),
                    "{old_line:?}: {line:?}"
                );
            }
            let holder = self.holders.get(&key).map(|held| &held.owner);
            if fence != *old_fence && !old_line.is_empty() {
                let served = old_line.iter().position(|owner| Some(owner) == holder);
                let first = served.unwrap_or(old_line.len());
                let passed = old_line[..first].iter().find(|owner| line.contains(owner));
                assert_eq!(passed, None, "passed by {holder:?}");
            }
        }
    }

    pub(super) fn check_books(&self) {
        assert_eq!(self.table.calls.len(), self.calls.len(), "a call was lost");
        for call in self.table.calls.values() {
            let entry = self.calls.get(&call.ask.call).expect("a call nobody asked for");
            assert_eq!(call.is_running(), entry.granted.is_some());
            assert_eq!(call.ask.key, entry.ask.key);
            if let Some((fence, _)) = entry.granted {
                let owner = &entry.ask.party.id;
                assert!(
                    self.table.is_current(&entry.ask.key, owner, fence),
                    "runs without a lease"
                );
            }
        }
        for (key, held) in &self.holders {
            assert_eq!(self.table.holder(key), Some((&held.owner, held.fence)));
            let current = |fence| self.table.is_current(key, &held.owner, fence);
            assert!(!current(held.fence - 1) && !current(held.fence + 1));
            assert_eq!(current(held.fence), held.secured || held.used);
        }
        let held = self.table.lanes.values().filter(|lane| lane.held.is_some()).count();
        assert_eq!(held, self.holders.len());
        let infos = self.table.snapshot(&|at| at.to_string());
        assert_eq!(infos.len(), held, "a lease that isn't shown");
        let shown: usize = infos
            .iter()
            .map(|i| i.calls.len() + i.waiters.iter().map(|w| w.calls as usize).sum::<usize>())
            .sum();
        assert_eq!(shown, self.calls.len(), "a call that isn't shown");
    }

    /// No lost wake-up: whoever waits, waits for something that is really taken.
    pub(super) fn check_nobody_waits_in_vain(&self) {
        for (key, lane) in &self.table.lanes {
            assert!(lane.held.is_some(), "{key} is free, and in line are {:?}", lane.line);
            for waiter in &lane.line {
                let waits = |e: &Entry| {
                    e.ask.key == *key && e.ask.party.id == waiter.owner && e.granted.is_none()
                };
                assert!(self.calls.values().any(waits), "{} is in line for nothing", waiter.owner);
            }
        }
        let waiting = self.calls.values().filter(|entry| entry.granted.is_none());
        for entry in waiting {
            let held = self.holders.get(&entry.ask.key).expect("waits for a free lease");
            if self.is_in_line(entry) {
                continue;
            }
            assert_eq!(held.owner, entry.ask.party.id, "waits, and is in no line");
            if !held.secured {
                continue;
            }
            let worktree = entry.ask.worktree.as_ref().expect("needs no ticket, and waits");
            let in_the_way = |other: &Entry| {
                let here = other.ask.worktree.as_ref() == Some(worktree);
                let runs = other.granted.is_some()
                    && (!self.shares(other) || other.ask.party.id != entry.ask.party.id);
                here && (runs || (other.number < entry.number && self.is_eligible(other)))
            };
            assert!(self.calls.values().any(in_the_way), "{:?} waits in vain", entry.ask.call);
        }
        if let Some(at) = self.table.next_deadline() {
            assert!(at > self.now, "due at {at}, and it is {}", self.now);
        }
    }

    /// Every wait has a limit, and so has a call that outlives its turn.
    pub(super) fn check_nothing_takes_for_ever(&self) {
        for entry in self.calls.values() {
            if let Some(ended) = entry.outlived {
                assert!(self.now < ended + LIMITS.linger, "{:?} lingers", entry.ask.call);
            }
            let wait = match entry.ask.wait {
                Wait::Refuse => 0,
                Wait::UpTo(ms) => ms.min(LIMITS.longest_wait),
            };
            // For others, for the record, for the ticket.
            let longest = wait + 2 * LIMITS.ticket_wait;
            let waits = entry.granted.is_none();
            assert!(!waits || self.now < entry.asked + longest, "{:?} waits on", entry.ask.call);
        }
    }

    /// Who waits for whom, from these books, holds no circle.
    pub(super) fn check_no_circle(&self) {
        let mut edges: BTreeMap<&OwnerId, BTreeSet<&OwnerId>> = BTreeMap::new();
        for entry in self.calls.values() {
            if entry.granted.is_some() || !self.is_in_line(entry) {
                continue;
            }
            let lane = &self.table.lanes[&entry.ask.key];
            let me = &entry.ask.party.id;
            let mine = edges.entry(me).or_default();
            mine.extend(lane.line.iter().map(|w| &w.owner).take_while(|owner| *owner != me));
            let held = lane.held.as_ref().filter(|held| held.mode != Mode::Closing);
            mine.extend(held.map(|held| &held.owner));
        }
        fn visit<'a>(
            at: &'a OwnerId,
            edges: &BTreeMap<&'a OwnerId, BTreeSet<&'a OwnerId>>,
            path: &mut Vec<&'a OwnerId>,
        ) {
            assert!(!path.contains(&at), "in a circle: {path:?}");
            path.push(at);
            for to in edges.get(at).into_iter().flatten() {
                visit(to, edges, path);
            }
            path.pop();
        }
        for owner in edges.keys() {
            visit(owner, &edges, &mut Vec::new());
        }
    }

    pub(super) fn check_bounds(&self) {
        assert!(self.table.lanes.len() <= LIMITS.keys);
        assert!(self.table.calls.len() <= LIMITS.calls);
        assert_eq!(self.table.numbers.len(), self.table.calls.len());
        assert!(self.table.fences.len() <= LIMITS.fences);
        assert!(self.table.lanes.values().all(|lane| lane.line.len() <= LIMITS.waiters_per_key));
        let mut waiting: BTreeMap<&String, usize> = BTreeMap::new();
        for entry in self.calls.values().filter(|entry| entry.granted.is_none()) {
            if let Some(worktree) = &entry.ask.worktree {
                *waiting.entry(worktree).or_default() += 1;
            }
        }
        assert!(waiting.values().all(|waiting| *waiting <= LIMITS.waiting_per_worktree));
        for (owner, known) in &self.table.owners {
            let calls = self.calls.values().filter(|entry| entry.ask.party.id == *owner).count();
            let leases = self.holders.values().filter(|held| held.owner == *owner).count();
            assert_eq!((known.calls, known.leases), (calls, leases), "of {owner}");
            assert!(calls + leases > 0, "{owner} is kept for nothing");
        }
    }

    /// After its turn an owner keeps only what calls still need.
    pub(super) fn check_ended(&self, owner: &OwnerId) {
        for (key, _) in self.holders.iter().filter(|(_, held)| held.owner == *owner) {
            let needs = |e: &Entry| {
                let alive = e.granted.is_some() || e.ask.hold == Hold::Call;
                e.ask.key == *key && e.ask.party.id == *owner && alive
            };
            assert!(self.calls.values().any(needs), "{owner} keeps {key} after its turn");
        }
    }

    pub(super) fn shares(&self, entry: &Entry) -> bool {
        let Some((_, since)) = entry.granted else { return false };
        entry.ask.kind == Kind::LongRunning
            && (entry.shared_from_start || self.now >= since + LIMITS.share_after)
    }

    /// Its owner holds the lease, so only the ticket is missing.
    pub(super) fn is_eligible(&self, entry: &Entry) -> bool {
        let holds = self
            .holders
            .get(&entry.ask.key)
            .is_some_and(|held| held.secured && held.owner == entry.ask.party.id);
        holds && entry.granted.is_none() && !self.is_in_line(entry)
    }

    pub(super) fn is_in_line(&self, entry: &Entry) -> bool {
        let lane = self.table.lanes.get(&entry.ask.key);
        lane.is_some_and(|lane| lane.place(&entry.ask.party.id).is_some())
    }
}

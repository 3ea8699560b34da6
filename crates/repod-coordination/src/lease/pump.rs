//! What is free goes to whoever is first in line for it, in the same step that freed it.

use super::lane::{Held, Mode};
use super::{Answer, Effect, Hold, LeaseKey, OwnerId, Stage, Table};
use std::collections::{BTreeMap, BTreeSet};

impl Table {
    pub(super) fn pump(&mut self, now: u64, out: &mut Vec<Effect>) {
        let free = |lane: &super::Lane| lane.held.is_none() && !lane.line.is_empty();
        let free: Vec<LeaseKey> =
            self.lanes.iter().filter(|(_, lane)| free(lane)).map(|(key, _)| key.clone()).collect();
        for key in free {
            let first = self.lanes.get_mut(&key).and_then(|lane| lane.line.pop_front());
            if let Some(first) = first {
                self.take(&key, &first.owner, now, out);
            }
        }
        self.start_calls(now, out);
    }

    /// A free lease gets an owner. Nobody is answered before it is on record.
    pub(super) fn take(
        &mut self,
        key: &LeaseKey,
        owner: &OwnerId,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let fence = self.fences.next(key, self.limits.fences);
        // Without a call it is taken for the turn that goes on (a switch of branches).
        let for_turn = |(_, call): (u64, &super::Call)| call.ask.hold == Hold::Turn;
        let turn =
            self.calls_of(owner, key).next().is_none() || self.calls_of(owner, key).any(for_turn);
        let held = Held {
            owner: owner.clone(),
            fence,
            since: now,
            mode: if turn { Mode::Turn } else { Mode::Calls },
            secured: false,
            blocked_by: None,
            used: false,
            quiet_since: now,
        };
        let waiting = |call: &&mut super::Call| call.is(owner, key) && call.waits_for_lease();
        for call in self.calls.values_mut().filter(waiting) {
            call.admit(&held, now, self.limits.ticket_wait);
        }
        self.lanes.entry(key.clone()).or_default().held = Some(held);
        if let Some(owner) = self.owners.get_mut(owner) {
            owner.leases += 1;
        }
        out.push(Effect::Secure { key: key.clone(), fence, owner: owner.clone() });
    }

    /// Gives out tickets: in each worktree to the first in line, if it may run now.
    fn start_calls(&mut self, now: u64, out: &mut Vec<Effect>) {
        let waiting: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call.stage, Stage::Ticket { .. }))
            .map(|(number, _)| *number)
            .collect();
        let mut busy: BTreeMap<String, Occupied> = waiting
            .iter()
            .filter_map(|number| self.calls.get(number)?.ask.worktree.clone())
            .map(|worktree| (worktree, Occupied::default()))
            .collect();
        if !busy.is_empty() {
            for call in self.calls.values() {
                if let (Stage::Running { shared, .. }, Some(worktree)) =
                    (call.stage, &call.ask.worktree)
                    && let Some(occupied) = busy.get_mut(worktree)
                {
                    occupied.add(call.owner(), shared);
                }
            }
        }
        let mut passed: BTreeSet<String> = BTreeSet::new();
        for number in waiting {
            let Some(call) = self.calls.get_mut(&number) else { continue };
            if let Some(worktree) = &call.ask.worktree {
                let occupied = busy.entry(worktree.clone()).or_default();
                if passed.contains(worktree) || !occupied.admits(&call.ask.party.id) {
                    passed.insert(worktree.clone());
                    continue;
                }
                occupied.add(&call.ask.party.id, false);
            }
            let lane = self.lanes.get_mut(&call.ask.key);
            let Some(held) = lane.and_then(|lane| lane.held.as_mut()) else { continue };
            held.used = true;
            call.stage = Stage::Running { since: now, shared: false, revoke_at: None };
            let (key, fence) = (call.ask.key.clone(), held.fence);
            let answer = Answer::Granted { key, fence };
            out.push(Effect::Answer { call: call.ask.call.clone(), answer });
        }
    }
}

/// Who runs in a worktree.
#[derive(Default)]
struct Occupied {
    exclusive: bool,
    by: BTreeSet<OwnerId>,
}

impl Occupied {
    fn add(&mut self, owner: &OwnerId, shared: bool) {
        self.exclusive |= !shared;
        self.by.insert(owner.clone());
    }

    fn admits(&self, owner: &OwnerId) -> bool {
        !self.exclusive && self.by.iter().all(|other| other == owner)
    }
}

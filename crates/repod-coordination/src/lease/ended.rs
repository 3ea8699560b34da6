//! Something ends: a call, a turn, an owner, a backend. What it held is free.

use super::{Call, CallId, Effect, Hold, LeaseKey, Mode, OwnerId, RefusalKind, Stage, Table, Why};
use repod_proto::{Generation, RepoId};

impl Table {
    pub(super) fn permission(&mut self, id: &CallId, on: Option<String>) {
        let call = self.numbers.get(id).and_then(|number| self.calls.get_mut(number));
        if let Some(call) = call.filter(|call| call.is_running()) {
            call.permission = on.map(|on| super::words::one_line(&on, 200));
        }
    }

    pub(super) fn call_ended(&mut self, id: &CallId, now: u64, out: &mut Vec<Effect>) {
        let Some(number) = self.numbers.get(id).copied() else { return };
        if self.calls.get(&number).is_some_and(Call::is_running) {
            self.take_out(number, now, out);
        } else {
            self.refuse(number, RefusalKind::Withdrawn, now, out);
        }
    }

    pub(super) fn turn_ended(&mut self, owner: &OwnerId, now: u64, out: &mut Vec<Effect>) {
        for number in self.numbers_of(owner) {
            let waits = |call: &&Call| !call.is_running() && call.ask.hold == Hold::Turn;
            if self.calls.get(&number).filter(waits).is_some() {
                self.refuse(number, RefusalKind::Withdrawn, now, out);
            }
        }
        let linger = now.saturating_add(self.limits.linger);
        for call in self.calls.values_mut() {
            if call.owner() == owner
                && call.ask.hold == Hold::Turn
                && let Stage::Running { revoke_at, .. } = &mut call.stage
            {
                revoke_at.get_or_insert(linger);
            }
        }
        for key in self.keys_of(owner) {
            let under = self.under(owner, &key);
            let of_call =
                |number| self.calls.get(number).is_some_and(|call| call.ask.hold == Hold::Call);
            let mode = if under.iter().any(of_call) { Mode::Calls } else { Mode::Closing };
            if under.is_empty() {
                self.release(&key, &Why::Done, out);
            } else if let Some(held) = self.lanes.get_mut(&key).and_then(|lane| lane.held.as_mut())
            {
                held.mode = mode;
            }
        }
    }

    /// Everything of this owner goes at once; it is known to write nothing any more.
    pub(super) fn owner_gone(&mut self, owner: &OwnerId, now: u64, out: &mut Vec<Effect>) {
        for number in self.numbers_of(owner) {
            if self.calls.get(&number).is_some_and(Call::is_running) {
                self.forget_call(number);
            } else {
                self.refuse(number, RefusalKind::Withdrawn, now, out);
            }
        }
        for key in self.keys_of(owner) {
            self.release(&key, &Why::Gone, out);
        }
        self.forget_owner(owner);
    }

    pub(super) fn backend_gone(
        &mut self,
        repo: &RepoId,
        generation: Generation,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let gone = self.gone.entry(repo.clone()).or_default();
        *gone = (*gone).max(generation);
        let of_it: Vec<OwnerId> = self
            .owners
            .iter()
            .filter(|(id, owner)| {
                matches!(id, OwnerId::Session { repo: of, .. } if of == repo)
                    && owner.party.generation <= generation
            })
            .map(|(id, _)| id.clone())
            .collect();
        for owner in of_it {
            self.owner_gone(&owner, now, out);
        }
    }

    /// A call that may still run is out of the table.
    pub(super) fn drop_running(&mut self, number: u64, why: &Why, now: u64, out: &mut Vec<Effect>) {
        let Some(call) = self.calls.get(&number) else { return };
        let (id, key) = (call.ask.call.clone(), call.ask.key.clone());
        let fence = self.held(&key).map_or(0, |held| held.fence);
        out.push(Effect::Revoked { call: id, key, fence, why: why.clone() });
        self.take_out(number, now, out);
    }

    /// Takes a call out; its place in line and its lease go with it where it was the last.
    pub(super) fn take_out(&mut self, number: u64, now: u64, out: &mut Vec<Effect>) {
        let Some(call) = self.forget_call(number) else { return };
        let (owner, key) = (call.owner(), &call.ask.key);
        let held = self.lanes.get_mut(key).and_then(|lane| lane.held.as_mut());
        if let Some(held) = held.filter(|held| held.owner == *owner) {
            held.quiet_since = now;
        }
        self.leave(key, owner, out);
        self.forget_owner(owner);
    }

    /// A call of this owner has left the branch: its place in line goes with the last that waited, its
    /// lease with the last at all, unless that is kept to the end of a turn.
    pub(super) fn leave(&mut self, key: &LeaseKey, owner: &OwnerId, out: &mut Vec<Effect>) {
        let waits = self.calls_of(owner, key).any(|(_, call)| call.waits_for_lease());
        let left = self.under(owner, key).len();
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if !waits {
            lane.line.retain(|waiter| waiter.owner != *owner);
        }
        let held = lane.held.as_ref().filter(|held| held.owner == *owner);
        if held.is_some_and(|held| left == 0 && (held.mode != Mode::Turn || !held.used)) {
            self.release(key, &Why::Done, out);
        } else if lane.is_empty() {
            self.lanes.remove(key);
        }
    }

    pub(super) fn release(&mut self, key: &LeaseKey, why: &Why, out: &mut Vec<Effect>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(held) = lane.held.take() else { return };
        if lane.is_empty() {
            self.lanes.remove(key);
        }
        if let Some(owner) = self.owners.get_mut(&held.owner) {
            owner.leases = owner.leases.saturating_sub(1);
        }
        self.forget_owner(&held.owner);
        let (key, fence, owner) = (key.clone(), held.fence, held.owner);
        out.push(Effect::Release { key, fence, owner, why: why.clone() });
    }

    fn forget_call(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        self.numbers.remove(&call.ask.call);
        if let Some(owner) = self.owners.get_mut(call.owner()) {
            owner.calls = owner.calls.saturating_sub(1);
        }
        Some(call)
    }

    /// An owner that neither holds nor asks for anything begins anew with its next call.
    fn forget_owner(&mut self, owner: &OwnerId) {
        let known = self.owners.get(owner);
        if known.is_some_and(|known| known.calls == 0 && known.leases == 0) {
            self.owners.remove(owner);
        }
    }

    fn numbers_of(&self, owner: &OwnerId) -> Vec<u64> {
        self.calls.iter().filter(|(_, call)| call.owner() == owner).map(|(n, _)| *n).collect()
    }

    /// The branches it holds.
    fn keys_of(&self, owner: &OwnerId) -> Vec<LeaseKey> {
        let holds =
            |lane: &super::Lane| lane.held.as_ref().is_some_and(|held| held.owner == *owner);
        self.lanes.iter().filter(|(_, lane)| holds(lane)).map(|(key, _)| key.clone()).collect()
    }
}

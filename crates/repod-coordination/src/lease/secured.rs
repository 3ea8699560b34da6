//! A lease gets on record, or doesn't.

use super::{Effect, LeaseKey, RefusalKind, Table, Wait, Why};
use repod_proto::ApiError;

impl Table {
    pub(super) fn secured(&mut self, key: &LeaseKey, fence: u64, now: u64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(held) = &mut lane.held else { return };
        if held.fence != fence || held.secured {
            return;
        }
        (held.secured, held.blocked_by, held.quiet_since) = (true, None, now);
        let (held, wait) = (held.clone(), self.limits.ticket_wait);
        if lane.place(&held.owner).is_some() {
            return;
        }
        for call in self.calls.values_mut() {
            if call.is(&held.owner, key) && call.waits_for_lease() {
                call.admit(&held, now, wait);
            }
        }
    }

    /// Somebody has the lock file: from now on it is a wait like any other.
    pub(super) fn blocked(&mut self, key: &LeaseKey, fence: u64, by: &str) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let in_line = |owner| lane.line.iter().any(|waiter| waiter.owner == owner);
        let Some(held) = &mut lane.held else { return };
        if held.fence != fence || held.secured {
            return;
        }
        held.blocked_by = Some(super::words::one_line(by, 200));
        if in_line(held.owner.clone()) {
            return;
        }
        for call in self.calls.values_mut() {
            if call.is(&held.owner, key) && call.waits_for_lease() {
                let until = call.patience(call.asked, self.limits.longest_wait);
                call.stage = super::Stage::Lease { until };
            }
        }
    }

    pub(super) fn secure_failed(
        &mut self,
        key: &LeaseKey,
        fence: u64,
        error: &ApiError,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.held(key).is_some_and(|held| held.fence == fence && !held.secured) {
            self.strip(key, &RefusalKind::NotSecured(error.clone()), &Why::NotSecured, now, out);
        }
    }

    /// Takes a lease away, and all calls under it with it.
    pub(super) fn revoke(&mut self, key: &LeaseKey, why: &Why, now: u64, out: &mut Vec<Effect>) {
        self.strip(key, &RefusalKind::Revoked(why.clone()), why, now, out);
    }

    fn strip(
        &mut self,
        key: &LeaseKey,
        kind: &RefusalKind,
        why: &Why,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(held) = &mut lane.held else { return };
        // Not to be released by its last call, which would be another reason.
        (held.mode, held.used) = (super::Mode::Turn, true);
        let held = held.clone();
        for number in self.under(&held.owner, key) {
            if self.calls.get(&number).is_some_and(super::Call::is_running) {
                self.drop_running(number, why, now, out);
            } else {
                self.refuse(number, kind.clone(), now, out);
            }
        }
        self.release(key, why, out);
    }

    /// The calls under the owner's lease; those in line for the next one are not among them.
    pub(super) fn under(&self, owner: &super::OwnerId, key: &LeaseKey) -> Vec<u64> {
        let in_line = self.lanes.get(key).is_some_and(|lane| lane.place(owner).is_some());
        self.calls_of(owner, key)
            .filter(|(_, call)| !(in_line && call.waits_for_lease()))
            .map(|(number, _)| number)
            .collect()
    }

    /// Whether a call that may not wait was stopped by somebody with the lock file.
    pub(super) fn timeout_kind(call: &super::Call) -> RefusalKind {
        match call.ask.wait {
            Wait::Refuse => RefusalKind::Busy,
            Wait::UpTo(_) => RefusalKind::LeaseTimeout,
        }
    }
}

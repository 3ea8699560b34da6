//! What is due by the clock: limits of waiting, last moments, long-running calls, owners gone quiet.

use super::{Call, Effect, Kind, Lane, LeaseKey, Mode, RefusalKind, Stage, Table, Why};
use std::collections::BTreeSet;

impl Table {
    /// When the next [`Event::Tick`](super::Event::Tick) is due; `None` while nothing is timed.
    pub fn next_deadline(&self) -> Option<u64> {
        let calls = self.calls.values().filter_map(|call| self.call_due(call));
        let yields = self.lanes.iter().filter_map(|(key, lane)| self.yield_due(key, lane));
        let checks = self.lanes.values().filter_map(|lane| self.check_due(lane));
        calls.chain(yields).chain(checks).min()
    }

    /// Does what is due; whether anything came free by it.
    pub(super) fn expire(&mut self, now: u64, out: &mut Vec<Effect>) -> bool {
        let due = |call: &Call| self.call_due(call).is_some_and(|at| at <= now);
        let due: Vec<u64> =
            self.calls.iter().filter(|(_, call)| due(call)).map(|(number, _)| *number).collect();
        let mut freed = !due.is_empty();
        for number in due {
            self.call_is_due(number, now, out);
        }
        let yields = |(key, lane)| self.yield_due(key, lane).is_some_and(|at| at <= now);
        let yielding: Vec<LeaseKey> =
            self.lanes.iter().filter(|entry| yields(*entry)).map(|(key, _)| key.clone()).collect();
        for key in yielding {
            freed = true;
            self.revoke(&key, &Why::TooLong, now, out);
        }
        self.check_quiet_owners(now, out);
        freed
    }

    fn call_due(&self, call: &Call) -> Option<u64> {
        match call.stage {
            Stage::Lease { until } | Stage::Ticket { until, .. } => Some(until),
            Stage::Running { revoke_at: Some(at), .. } => Some(at),
            Stage::Running { since, shared: false, .. } if call.ask.kind == Kind::LongRunning => {
                Some(since.saturating_add(self.limits.share_after))
            }
            Stage::Running { .. } => None,
        }
    }

    fn call_is_due(&mut self, number: u64, now: u64, out: &mut Vec<Effect>) {
        // An earlier one may have taken it along.
        let Some(call) = self.calls.get_mut(&number) else { return };
        match &mut call.stage {
            Stage::Lease { .. } => {
                let kind = Self::timeout_kind(call);
                self.refuse(number, kind, now, out);
            }
            Stage::Ticket { .. } => self.refuse(number, RefusalKind::TicketTimeout, now, out),
            Stage::Running { revoke_at: Some(_), .. } => {
                self.drop_running(number, &Why::Overdue, now, out);
            }
            Stage::Running { shared, .. } => *shared = true,
        }
    }

    /// When a lease goes on without its long-running calls.
    fn yield_due(&self, key: &LeaseKey, lane: &Lane) -> Option<u64> {
        let held = lane.held.as_ref().filter(|_| !lane.line.is_empty())?;
        let mut latest = None;
        for number in self.under(&held.owner, key) {
            let call = self.calls.get(&number)?;
            match call.stage {
                Stage::Running { since, .. }
                    if call.ask.kind == Kind::LongRunning && call.permission.is_none() =>
                {
                    latest = latest.max(Some(since.saturating_add(self.limits.yield_after)));
                }
                _ => return None,
            }
        }
        latest
    }

    /// When to look whether the owner's turn still goes on.
    fn check_due(&self, lane: &Lane) -> Option<u64> {
        let held = lane.held.as_ref()?;
        let has_calls = self.owners.get(&held.owner).is_some_and(|owner| owner.calls > 0);
        if !held.secured || held.mode != Mode::Turn || has_calls {
            return None;
        }
        Some(held.quiet_since.saturating_add(self.limits.check_every))
    }

    fn check_quiet_owners(&mut self, now: u64, out: &mut Vec<Effect>) {
        let mut quiet = BTreeSet::new();
        let every = self.limits.check_every;
        let due = |lane: &Lane| {
            let quiet = lane
                .held
                .as_ref()
                .is_some_and(|held| held.quiet_since.saturating_add(every) <= now);
            quiet && self.check_due(lane).is_some_and(|at| at <= now)
        };
        let keys: Vec<LeaseKey> =
            self.lanes.iter().filter(|(_, lane)| due(lane)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(held) = self.lanes.get_mut(&key).and_then(|lane| lane.held.as_mut()) {
                held.quiet_since = now;
                quiet.insert(held.owner.clone());
            }
        }
        out.extend(quiet.into_iter().map(|owner| Effect::Check { owner }));
    }
}

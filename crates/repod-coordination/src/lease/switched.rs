//! Another branch was checked out in a worktree.
//!
//! Calls that run there run on. Calls that wait need the new branch's lease now, and stand in its line.
//! Whoever is in a turn on the old branch has most likely done it, and goes on in that worktree: it
//! takes the new branch too where nobody has it, before those who waited for the old one. Its lease of
//! the old branch stays to the end of its turn.

use super::{Effect, LeaseKey, Mode, RefusalKind, Stage, Table};

impl Table {
    pub(super) fn branch_switched(
        &mut self,
        worktree: &str,
        from: &LeaseKey,
        to: &LeaseKey,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if from == to {
            return;
        }
        let in_turn = self.held(from).filter(|held| held.mode == Mode::Turn && held.used);
        if let Some(owner) = in_turn.map(|held| held.owner.clone())
            && !self.lanes.contains_key(to)
            && self.lanes.len() < self.limits.keys
        {
            self.take(to, &owner, now, out);
        }
        let waiting: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.is_in(worktree) && call.ask.key == *from && !call.is_running())
            .map(|(number, _)| *number)
            .collect();
        for number in waiting {
            self.rekey(number, from, to, now, out);
        }
        self.break_circles(now, out);
    }

    fn rekey(
        &mut self,
        number: u64,
        from: &LeaseKey,
        to: &LeaseKey,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if !self.lanes.contains_key(to) && self.lanes.len() >= self.limits.keys {
            let what = RefusalKind::Overloaded("branches are being written in this daemon");
            return self.refuse(number, what, now, out);
        }
        let Some(call) = self.calls.get_mut(&number) else { return };
        let owner = call.owner().clone();
        let in_line = self.lanes.get(from).is_some_and(|lane| lane.place(&owner).is_some());
        let waited_in_line = in_line && call.waits_for_lease();
        call.ask.key = to.clone();
        let waited_until = match call.stage {
            Stage::Lease { until } if waited_in_line => Some(until),
            _ => None,
        };
        self.leave(from, &owner, out);
        self.find_place(number, now, out);
        // Its patience doesn't begin anew.
        if let Some(call) = self.calls.get_mut(&number)
            && let (Stage::Lease { until }, Some(before)) = (&mut call.stage, waited_until)
        {
            *until = before.min(*until).max(now);
        }
    }
}

//! A call asks, and finds its place.

use super::lane::InLine;
use super::{
    Answer, Ask, Call, Effect, Hold, LeaseKey, Mode, Owner, OwnerId, Party, Refusal, RefusalKind,
    Stage, Table, Wait, words,
};
use repod_proto::Generation;

/// Longest text kept of what a call or its owner is called.
pub(super) const TEXT_MAX: usize = 200;

impl Table {
    pub(super) fn asked(&mut self, mut ask: Ask, now: u64, out: &mut Vec<Effect>) {
        ask.what = words::one_line(&ask.what, TEXT_MAX);
        ask.party.title = words::one_line(&ask.party.title, TEXT_MAX);
        if matches!(ask.party.id, OwnerId::Outside(_)) {
            // It has no turn that could end.
            ask.hold = Hold::Call;
        }
        if self.is_gone(&ask.party) {
            return self.refuse_ask(&ask, RefusalKind::Stale, now, out);
        }
        self.make_way_for_generation(&ask.party, now, out);
        if let Some(number) = self.numbers.get(&ask.call) {
            return self.asked_again(*number, &ask, now, out);
        }
        if let Some(what) = self.too_many(&ask) {
            return self.refuse_ask(&ask, RefusalKind::Overloaded(what), now, out);
        }
        let number = self.enter(ask, now, Stage::Lease { until: 0 });
        self.find_place(number, now, out);
        if self.calls.get(&number).is_some_and(Call::waits_for_lease) {
            self.break_circles(now, out);
        }
    }

    /// The same question again: the connection was lost, not the place.
    fn asked_again(&mut self, number: u64, ask: &Ask, now: u64, out: &mut Vec<Effect>) {
        let Some(call) = self.calls.get(&number) else { return };
        let same = call.owner() == &ask.party.id && call.ask.worktree == ask.worktree;
        if !same {
            // Answered beside the one at work, which keeps its name.
            return self.refuse_ask(ask, RefusalKind::SameName, now, out);
        }
        if call.is_running()
            && let Some(held) = self.held(&call.ask.key)
        {
            let (key, fence) = (call.ask.key.clone(), held.fence);
            let answer = Answer::Granted { key, fence };
            out.push(Effect::Answer { call: ask.call.clone(), answer });
        }
    }

    /// Where a newer backend asks, the older ones are gone: one isn't started before.
    fn make_way_for_generation(&mut self, party: &Party, now: u64, out: &mut Vec<Effect>) {
        let OwnerId::Session { repo, .. } = &party.id else { return };
        let before = Generation(party.generation.0.saturating_sub(1));
        if self.gone.get(repo).is_none_or(|gone| *gone < before) {
            self.backend_gone(&repo.clone(), before, now, out);
            self.pump(now, out);
        }
    }

    pub(super) fn is_gone(&self, party: &Party) -> bool {
        match &party.id {
            OwnerId::Session { repo, .. } => {
                party.generation <= self.gone.get(repo).copied().unwrap_or_default()
            }
            OwnerId::Outside(_) => false,
        }
    }

    fn too_many(&self, ask: &Ask) -> Option<&'static str> {
        if self.calls.len() >= self.limits.calls {
            return Some("write calls are under way in this daemon");
        }
        if !self.lanes.contains_key(&ask.key) && self.lanes.len() >= self.limits.keys {
            return Some("branches are being written in this daemon");
        }
        let worktree = ask.worktree.as_deref()?;
        let waits = |call: &&Call| call.is_in(worktree) && !call.is_running();
        let waiting = self.calls.values().filter(waits).count();
        (waiting >= self.limits.waiting_per_worktree).then_some("calls wait for this worktree")
    }

    pub(super) fn enter(&mut self, ask: Ask, now: u64, stage: Stage) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let party = &ask.party;
        let owner = self.owners.entry(party.id.clone());
        let owner = owner.or_insert_with(|| Owner::new(number, party));
        (owner.party, owner.calls) = (party.clone(), owner.calls + 1);
        self.numbers.insert(ask.call.clone(), number);
        self.calls.insert(number, Call { ask, asked: now, stage, permission: None });
        number
    }

    /// Puts a call into its branch's line, or past it when its owner holds the lease.
    pub(super) fn find_place(&mut self, number: u64, now: u64, out: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.stage = Stage::Lease { until: call.patience(now, self.limits.longest_wait) };
        let lane = self.lanes.entry(call.ask.key.clone()).or_default();
        let owner = &call.ask.party.id;
        if lane.lets_pass(owner) {
            let Some(held) = &mut lane.held else { return };
            match call.ask.hold {
                Hold::Turn => held.mode = Mode::Turn,
                Hold::Call if held.mode == Mode::Closing => held.mode = Mode::Calls,
                Hold::Call => {}
            }
            call.admit(held, now, self.limits.ticket_wait);
            return;
        }
        if lane.is_empty() {
            return lane.line.push_back(InLine { owner: owner.clone(), since: now });
        }
        if call.ask.wait == Wait::Refuse {
            return self.refuse(number, RefusalKind::Busy, now, out);
        }
        if lane.place(owner).is_some() {
            return;
        }
        if lane.line.len() >= self.limits.waiters_per_key {
            let what = RefusalKind::Overloaded("sessions wait for this branch");
            return self.refuse(number, what, now, out);
        }
        lane.line.push_back(InLine { owner: owner.clone(), since: now });
    }

    fn refuse_ask(&self, ask: &Ask, kind: RefusalKind, now: u64, out: &mut Vec<Effect>) {
        let refusal = self.refusal(ask, kind, (0, 0), now);
        let answer = Answer::Refused(Box::new(refusal));
        out.push(Effect::Answer { call: ask.call.clone(), answer });
    }

    /// Takes a waiting call out, and answers it.
    pub(super) fn refuse(
        &mut self,
        number: u64,
        kind: RefusalKind,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let Some(call) = self.calls.get(&number) else { return };
        let ask = call.ask.clone();
        let waits_for_lease = call.waits_for_lease();
        let waited = now.saturating_sub(call.asked);
        let position = match self.lanes.get(&ask.key) {
            Some(lane) if waits_for_lease && !lane.lets_pass(&ask.party.id) => {
                lane.place(&ask.party.id).unwrap_or(lane.line.len()) + 1
            }
            _ => 0,
        };
        let place = (u32::try_from(position).unwrap_or(u32::MAX), waited);
        let refusal = self.refusal(&ask, kind, place, now);
        let answer = Answer::Refused(Box::new(refusal));
        out.push(Effect::Answer { call: ask.call, answer });
        self.take_out(number, now, out);
    }

    fn refusal(&self, ask: &Ask, kind: RefusalKind, place: (u32, u64), now: u64) -> Refusal {
        let (position, waited) = place;
        let holder = self.holder_facts(&ask.key, now);
        let (key, worktree) = (ask.key.clone(), ask.worktree.clone());
        Refusal { kind, key, worktree, holder, position, waited }
    }

    /// What others are told of the one who holds a lease.
    fn holder_facts(&self, key: &LeaseKey, now: u64) -> Option<super::Holder> {
        let held = self.held(key)?;
        let party = self.owners.get(&held.owner)?.party.clone();
        let running = self.calls_of(&held.owner, key).find_map(|(_, call)| match call.stage {
            Stage::Running { since, .. } => Some(super::RunningCall {
                what: call.ask.what.clone(),
                age: now.saturating_sub(since),
                permission: call.permission.clone(),
            }),
            _ => None,
        });
        let hold = if held.mode == Mode::Turn { Hold::Turn } else { Hold::Call };
        let age = now.saturating_sub(held.since);
        Some(super::Holder { party, age, hold, blocked_by: held.blocked_by.clone(), running })
    }
}

//! After a restart of the daemon, what is held is rebuilt from what the backends say.

use super::{Ask, Effect, Held, Hold, Kind, Mode, Owner, Restored, Stage, Table, Wait};

impl Table {
    /// What a backend says it holds is believed as long as nobody else was given it.
    pub(super) fn restore(&mut self, restored: Restored, now: u64, out: &mut Vec<Effect>) {
        let Restored { key, party, fence, in_turn, mut running } = restored;
        let owner = party.id.clone();
        running.retain(|call| !self.numbers.contains_key(&call.call));
        running.truncate(self.limits.calls.saturating_sub(self.calls.len()));
        let held = self.held(&key).map(|held| (held.owner == owner, held.fence));
        let free = held.is_none()
            && fence >= self.fences.last(&key)
            && (self.lanes.contains_key(&key) || self.lanes.len() < self.limits.keys)
            && (in_turn || !running.is_empty());
        let same = held == Some((true, fence));
        if self.is_gone(&party) || !(free || same) {
            out.push(Effect::NotRestored { key, owner, fence });
            return;
        }
        if free {
            self.fences.note(&key, fence, self.limits.fences);
            let held = Held {
                owner: owner.clone(),
                fence,
                since: now,
                mode: if in_turn { Mode::Turn } else { Mode::Calls },
                secured: false,
                blocked_by: None,
                used: true,
                quiet_since: now,
            };
            self.lanes.entry(key.clone()).or_default().held = Some(held);
            self.last_number += 1;
            let born = self.last_number;
            let entry = self.owners.entry(owner.clone());
            entry.or_insert_with(|| Owner::new(born, &party)).leases += 1;
            out.push(Effect::Secure { key: key.clone(), fence, owner });
        }
        for call in running {
            // How long it has been running is not known: long enough.
            let shared = call.kind == Kind::LongRunning;
            let ask = Ask {
                call: call.call,
                party: party.clone(),
                key: key.clone(),
                worktree: call.worktree,
                what: super::words::one_line(&call.what, super::asked::TEXT_MAX),
                hold: if in_turn { Hold::Turn } else { Hold::Call },
                wait: Wait::Refuse,
                kind: call.kind,
            };
            self.enter(ask, now, Stage::Running { since: now, shared, revoke_at: None });
        }
    }
}

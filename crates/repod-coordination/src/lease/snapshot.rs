//! What `repod leases` shows.

use super::{Call, Lane, LeaseKey, Mode, OwnerId, Party, Stage, Table};
use repod_proto::{CallInfo, CallState, LeaseInfo, LeaseOwner, LeaseState, OwnerKind, WaiterInfo};

impl Table {
    /// All leases, by repo and branch. `at` makes a date (RFC 3339, UTC) of a moment of the table's clock.
    pub fn snapshot(&self, at: &dyn Fn(u64) -> String) -> Vec<LeaseInfo> {
        self.lanes.iter().filter_map(|(key, lane)| self.lease_info(key, lane, at)).collect()
    }

    fn lease_info(
        &self,
        key: &LeaseKey,
        lane: &Lane,
        at: &dyn Fn(u64) -> String,
    ) -> Option<LeaseInfo> {
        let held = lane.held.as_ref()?;
        let owner = &self.owners.get(&held.owner)?.party;
        let under = self.under(&held.owner, key);
        let calls = under.iter().filter_map(|number| self.calls.get(number));
        let waiters = lane.line.iter().enumerate();
        Some(LeaseInfo {
            repo_id: key.repo.clone(),
            branch: key.branch.to_string(),
            fence: held.fence,
            since: at(held.since),
            state: match (held.secured, held.mode) {
                (_, Mode::Closing) => LeaseState::Closing,
                (false, _) => LeaseState::Taking,
                (true, _) => LeaseState::Held,
            },
            blocked_by: held.blocked_by.clone(),
            owner: owner_info(owner),
            calls: calls.map(|call| call_info(call, at)).collect(),
            waiters: waiters
                .filter_map(|(place, waiter)| {
                    let (party, calls) = self.waiting(&waiter.owner, key)?;
                    Some(WaiterInfo {
                        session_id: party.session_id.clone(),
                        root_session_id: waiter.owner.name().to_owned(),
                        title: party.title.clone(),
                        since: at(waiter.since),
                        position: u32::try_from(place + 1).unwrap_or(u32::MAX),
                        calls,
                    })
                })
                .collect(),
        })
    }

    /// Who of this tree asked first, and how many of its calls wait.
    fn waiting(&self, owner: &OwnerId, key: &LeaseKey) -> Option<(&Party, u32)> {
        let waits = |call: &&Call| call.is(owner, key) && call.waits_for_lease();
        let first = self.calls.values().find(waits)?;
        let calls = self.calls.values().filter(waits).count();
        Some((&first.ask.party, u32::try_from(calls).unwrap_or(u32::MAX)))
    }
}

pub(super) fn owner_info(party: &Party) -> LeaseOwner {
    let (kind, repo_id) = match &party.id {
        OwnerId::Session { repo, .. } => (OwnerKind::Session, Some(repo.clone())),
        OwnerId::Outside(_) => (OwnerKind::Outside, None),
    };
    LeaseOwner {
        session_id: party.session_id.clone(),
        root_session_id: party.id.name().to_owned(),
        title: party.title.clone(),
        directory: party.directory.clone(),
        kind,
        generation: repo_id.is_some().then_some(party.generation),
        repo_id,
        pid: party.pid,
    }
}

fn call_info(call: &Call, at: &dyn Fn(u64) -> String) -> CallInfo {
    let (state, since) = match call.stage {
        Stage::Lease { .. } => (CallState::WaitingLease, call.asked),
        Stage::Ticket { since, .. } => (CallState::WaitingTicket, since),
        Stage::Running { since, .. } if call.permission.is_some() => {
            (CallState::WaitingPermission, since)
        }
        Stage::Running { since, shared: true, .. } => (CallState::RunningShared, since),
        Stage::Running { since, .. } => (CallState::Running, since),
    };
    CallInfo {
        call_id: call.ask.call.0.clone(),
        session_id: call.ask.party.session_id.clone(),
        what: call.ask.what.clone(),
        worktree: call.ask.worktree.clone(),
        state,
        permission: call.permission.clone(),
        since: at(since),
    }
}

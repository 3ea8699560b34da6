//! What the daemon does for its callers: endpoints, leases, writes that are routed, turns, calls.

use super::Sheet;
use super::page::{Page, none, one};
use repod_proto::{CallState, LeaseInfo, LeaseState};

pub(super) fn work(page: &mut Page, sheet: &Sheet) {
    page.timings(
        "ensure_duration",
        "How long callers waited for an endpoint, by how they came to it",
        sheet.ensures.clone(),
    );
    leases(page, sheet);
    page.tally(
        "mutations",
        "Writes in other repos, and routed ones, by what came of them",
        sheet.mutations.clone(),
    );
    page.tally("turns", "Turns of agent sessions, by how they ended", sheet.turns.clone());
    let (running, queued) = sheet.open_turns;
    page.gauges(
        "turns_open",
        "Turns of agent sessions that run, or wait in line",
        [("running", running), ("queued", queued)]
            .map(|(state, count)| (one("state", state), count as u64)),
    );
    page.counters("api_requests", "Requests on the socket", [(none(), sheet.calls)]);
    page.tally("api_errors", "Requests on the socket answered with an error", sheet.errors.clone());
}

fn leases(page: &mut Page, sheet: &Sheet) {
    let all = &sheet.leases;
    let states = [
        ("held", LeaseState::Held),
        ("taking", LeaseState::Taking),
        ("closing", LeaseState::Closing),
    ];
    page.gauges(
        "leases",
        "Branches that somebody may write on",
        states.map(|(name, state)| {
            let count = all.iter().filter(|lease| lease.state == state).count();
            (one("state", name), count as u64)
        }),
    );
    let waiting: usize = all.iter().map(|lease| lease.waiters.len()).sum();
    page.gauges("lease_waiters", "Session trees in line for a branch", [(none(), waiting as u64)]);
    page.gauges("tickets", "Write calls under a lease, by what they do", tickets(all));
    page.counters(
        "tickets_granted",
        "Times that a write call was let run on a worktree",
        [(none(), sheet.tickets)],
    );
    page.timings(
        "lease_wait_duration",
        "How long write calls waited for their answer",
        sheet.waits.clone(),
    );
}

fn tickets(leases: &[LeaseInfo]) -> [(super::page::Labels, u64); 5] {
    let states = [
        ("running", CallState::Running),
        ("running_shared", CallState::RunningShared),
        ("waiting_lease", CallState::WaitingLease),
        ("waiting_ticket", CallState::WaitingTicket),
        ("waiting_permission", CallState::WaitingPermission),
    ];
    states.map(|(name, state)| {
        let calls = leases.iter().flat_map(|lease| &lease.calls);
        let count = calls.filter(|call| call.state == state).count();
        (one("state", name), count as u64)
    })
}

//! ps: every repo with what its process tree uses. One pass over `/proc`, all backends asked at once.

use crate::backend::{RepoHandle, View};
use crate::daemon::Daemon;
use crate::hub::Hub;
use futures_util::future::join_all;
use repod_opencode::BackendClient;
use repod_proto::{ApiError, LeaseInfo, RepoSummary};
use repod_supervisor::tree::Snapshot;
use std::time::Duration;

/// Sessions counted at most.
const SESSIONS_MAX: usize = 1000;
/// A backend that is busy or stuck must not hold up the list.
const ASK_LIMIT: Duration = Duration::from_secs(1);

pub(crate) async fn ps(daemon: &Daemon) -> Result<Vec<RepoSummary>, ApiError> {
    let mut repos = summaries(daemon, daemon.fleet.all(), false).await;
    repos.extend(daemon.fleet.unusable());
    repos.sort_by(|a, b| a.endpoint.repo_id.cmp(&b.endpoint.repo_id));
    Ok(repos)
}

/// The rows of these repos; with their secrets only where asked for.
pub(crate) async fn summaries(
    daemon: &Daemon,
    handles: Vec<RepoHandle>,
    secrets: bool,
) -> Vec<RepoSummary> {
    let machine = tokio::task::spawn_blocking(Snapshot::take).await.ok().and_then(Result::ok);
    // Rows without their leases are better than none.
    let leases = daemon.coordination.leases().await.ok();
    let rows = handles.iter().map(async |handle| {
        let view = handle.settled().await;
        let mut row = known(daemon, handle, &view, leases.as_deref());
        if secrets {
            row.endpoint = view.endpoint(handle.repo(), &handle.repo().root, None);
        }
        measure(&mut row, &view, machine.as_ref()).await;
        row
    });
    join_all(rows).await
}

/// What the daemon knows of a repo without asking anybody; no secrets.
pub(crate) fn known(
    daemon: &Daemon,
    handle: &RepoHandle,
    view: &View,
    leases: Option<&[LeaseInfo]>,
) -> RepoSummary {
    let repo = handle.repo();
    let mut endpoint = view.endpoint(repo, &repo.root, None);
    endpoint.password = None;
    endpoint.capability_url = None;
    let standing = handle.standing();
    let live = view.process.is_some() && view.state.is_live();
    let events = Some(&standing.events).filter(|events| live && events.known);
    let hub = handle.known_hub();
    let of_repo = leases.map(|all| all.iter().filter(|lease| lease.repo_id == repo.id));
    let busy = events.map(|events| events.busy.len() as u64);
    let clients = standing.clients.all() as u64;
    let is_idle = busy == Some(0) && clients == 0;
    RepoSummary {
        rss_bytes: None,
        sessions: None,
        busy,
        clients: Some(clients),
        idle_seconds: is_idle.then_some(standing.clients.untouched.as_secs()),
        waiting: events.map(|events| (events.permissions + events.questions) as u64),
        readers: hub.map(|hub| hub.readers() as u64),
        events: hub.map(|hub| hub.counts().events),
        recent_events: hub.map(Hub::recent_events),
        leases: of_repo.clone().map(|of_repo| of_repo.count() as u64),
        lease_waiters: of_repo.map(|of_repo| of_repo.map(|lease| lease.waiters.len() as u64).sum()),
        memory: daemon.memory.last(&repo.id, endpoint.generation).filter(|_| live),
        error: view.failure.clone(),
        endpoint,
    }
}

/// Adds what has to be asked for.
async fn measure(row: &mut RepoSummary, view: &View, machine: Option<&Snapshot>) {
    let Some(process) = view.process.as_ref().filter(|_| view.state.is_live()) else {
        return;
    };
    row.rss_bytes = machine.and_then(|all| all.rss_bytes(&process.identity));
    if view.is_ready() {
        let client = BackendClient::new(process.port, process.password.clone());
        let asked = tokio::time::timeout(ASK_LIMIT, client.recent_sessions(SESSIONS_MAX));
        let listed = asked.await.ok().and_then(Result::ok);
        row.sessions = listed.map(|sessions| sessions.len() as u64);
    }
}

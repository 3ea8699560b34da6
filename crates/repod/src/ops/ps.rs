//! ps: every repo with what its process tree uses. One pass over `/proc`, all backends asked at once.

use crate::backend::RepoHandle;
use crate::daemon::Daemon;
use futures_util::future::join_all;
use repod_opencode::BackendClient;
use repod_proto::{ApiError, RepoSummary};
use repod_supervisor::tree::Snapshot;
use std::time::Duration;

/// Sessions counted at most.
const SESSIONS_MAX: usize = 1000;
/// A backend that is busy or stuck must not hold up the list.
const ASK_LIMIT: Duration = Duration::from_secs(1);

pub(crate) async fn ps(daemon: &Daemon) -> Result<Vec<RepoSummary>, ApiError> {
    let mut repos = summaries(daemon.fleet.all(), false).await;
    repos.extend(daemon.fleet.unusable());
    repos.sort_by(|a, b| a.endpoint.repo_id.cmp(&b.endpoint.repo_id));
    Ok(repos)
}

/// The rows of these repos; with their secrets only where asked for.
pub(crate) async fn summaries(handles: Vec<RepoHandle>, secrets: bool) -> Vec<RepoSummary> {
    let machine = tokio::task::spawn_blocking(Snapshot::take).await.ok().and_then(Result::ok);
    join_all(handles.iter().map(|handle| summary(handle, machine.as_ref(), secrets))).await
}

async fn summary(handle: &RepoHandle, machine: Option<&Snapshot>, secrets: bool) -> RepoSummary {
    let view = handle.settled().await;
    let repo = handle.repo();
    let mut endpoint = view.endpoint(repo, &repo.root, None);
    if !secrets {
        endpoint.password = None;
        endpoint.capability_url = None;
    }
    let mut row = RepoSummary {
        endpoint,
        rss_bytes: None,
        sessions: None,
        busy: None,
        clients: None,
        idle_seconds: None,
        error: view.failure.clone(),
    };
    let standing = handle.standing();
    row.clients = Some(standing.clients.all() as u64);
    let Some(process) = view.process.as_ref().filter(|_| view.state.is_live()) else {
        return row;
    };
    row.rss_bytes = machine.and_then(|all| all.rss_bytes(&process.identity));
    if view.is_ready() {
        let client = BackendClient::new(process.port, process.password.clone());
        let asked = tokio::time::timeout(ASK_LIMIT, client.recent_sessions(SESSIONS_MAX));
        let listed = asked.await.ok().and_then(Result::ok);
        row.sessions = listed.map(|sessions| sessions.len() as u64);
    }
    row.busy = standing.events.known.then_some(standing.events.busy.len() as u64);
    let idle = row.busy == Some(0) && row.clients == Some(0);
    row.idle_seconds = idle.then_some(standing.clients.untouched.as_secs());
    row
}

//! status: one repo in full.

use super::ps::summaries;
use crate::daemon::Daemon;
use repod_proto::{AdoptionInfo, ApiError, ErrorCode, RepoStatus};
use std::path::Path;

pub(crate) async fn status(daemon: &Daemon, path: &str) -> Result<RepoStatus, ApiError> {
    let located = daemon.locator.locate(path).await?;
    let Some(handle) = daemon.fleet.known(&located.repo.id).await? else {
        let message = format!("repod doesn't know `{}` yet", located.repo.root.display());
        return Err(ApiError::new(ErrorCode::NotRunning, message).hint("`repod up` starts it"));
    };
    handle.check_same(&located.repo)?;
    let dir = daemon.home.repo(&handle.repo().id);
    let mut rows = summaries(daemon, vec![handle.clone()], true).await;
    let Some(mut summary) = rows.pop() else {
        return Err(ApiError::new(ErrorCode::Internal, "no row for one repo"));
    };
    summary.endpoint.directory = located.directory.display().to_string();
    summary.endpoint.branch = located.branch;
    let view = handle.view();
    let process = view.process.as_ref().filter(|_| view.state.is_live());
    let confine = daemon.fleet.confine();
    let limits = process.map_or_else(|| confine.outlook(), |it| confine.info(&it.confinement));
    Ok(RepoStatus {
        summary,
        state_dir: dir.dir().display().to_string(),
        log_file: dir.backend_log().display().to_string(),
        recent_starts: view.recent_starts,
        limits: Some(limits),
        last_exit: view.last_exit.clone(),
        adoption: adoption(dir.dir()),
    })
}

/// A record that can't be used is said where it is needed: at the next start.
fn adoption(state_dir: &Path) -> Option<AdoptionInfo> {
    let record = repod_history::Record::load(state_dir).ok().flatten()?;
    Some(AdoptionInfo {
        state: record.state.as_str().to_owned(),
        database: record.database.display().to_string(),
        sessions: record.sessions.len(),
        reason: record.reason,
    })
}

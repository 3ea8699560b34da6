//! stop: end backends, each with everything it started.

use super::targets;
use crate::backend::RepoHandle;
use crate::daemon::Daemon;
use futures_util::future::join_all;
use repod_proto::{ApiError, StopOutcome, StopReport, Target};

pub(crate) async fn stop(daemon: &Daemon, target: &Target) -> Result<StopReport, ApiError> {
    Ok(StopReport { stopped: stop_all(targets(daemon, target).await?).await })
}

/// Ends these, at the same time.
pub(crate) async fn stop_all(handles: Vec<RepoHandle>) -> Vec<StopOutcome> {
    join_all(handles.into_iter().map(stop_one)).await
}

async fn stop_one(handle: RepoHandle) -> StopOutcome {
    let repo_id = handle.repo().id.clone();
    let root = handle.repo().root.display().to_string();
    let (was_running, processes, error) = match handle.stop().await {
        Ok(stopped) => (stopped.was_running, stopped.processes, None),
        Err(error) => (true, 0, Some(error)),
    };
    StopOutcome { repo_id, root, was_running, processes, error }
}

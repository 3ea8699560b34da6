//! memory: what a repo's backends used over time, as it lies in their log.

use super::targets;
use crate::daemon::Daemon;
use crate::memory;
use repod_proto::{ApiError, ErrorCode, MemoryHistory, MemoryQuery, Target};

/// Samples told where nobody says how many, and at most.
const POINTS: u32 = 500;
const POINTS_MAX: u32 = 5000;

pub(crate) async fn memory(daemon: &Daemon, query: MemoryQuery) -> Result<MemoryHistory, ApiError> {
    let target = match (query.repo_id, query.path) {
        (Some(id), _) => Target::Id(id),
        (None, Some(path)) => Target::Path(path),
        (None, None) => {
            let message = "say whose memory is meant: `path=` or `repo_id=`";
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
    };
    let Some(handle) = targets(daemon, &target).await?.pop() else {
        return Err(ApiError::new(ErrorCode::NotRunning, "this repo is not known")
            .hint("`repod ps` lists those that are"));
    };
    let repo_id = handle.repo().id.clone();
    let log = daemon.home.repo(&repo_id).memory_log();
    let points = query.points.unwrap_or(POINTS).min(POINTS_MAX) as usize;
    let read = move || {
        let samples = memory::after(&log, query.after.as_deref())?;
        Ok::<_, std::io::Error>((samples.len() as u64, memory::thinned(samples, points)))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    let (measured, samples) = read.map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("the memory log can't be read: {error}"))
    })?;
    Ok(MemoryHistory { repo_id, measured, samples })
}

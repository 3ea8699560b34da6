//! hibernate: end backends that nobody needs just now; the next request to their endpoint wakes them.

use super::targets;
use crate::backend::{RepoHandle, Rule};
use crate::daemon::Daemon;
use futures_util::future::join_all;
use repod_proto::{ApiError, HibernateOutcome, HibernateReport, Target};

pub(crate) async fn hibernate(
    daemon: &Daemon,
    target: &Target,
) -> Result<HibernateReport, ApiError> {
    let handles = targets(daemon, target).await?;
    Ok(HibernateReport { hibernated: join_all(handles.into_iter().map(hibernate_one)).await })
}

async fn hibernate_one(handle: RepoHandle) -> HibernateOutcome {
    let repo_id = handle.repo().id.clone();
    let root = handle.repo().root.display().to_string();
    handle.settled().await;
    let (was_running, processes, error) = match handle.hibernate(Rule::BY_HAND).await {
        Ok(slept) => (slept.was_running, slept.processes, None),
        Err(error) => (true, 0, Some(error)),
    };
    HibernateOutcome { repo_id, root, was_running, processes, error }
}

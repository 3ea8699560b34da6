//! adopt and eject: a repo's sessions from the user's shared database into its own, and back.
//!
//! Both happen while the repo's backend doesn't run. `adopt` puts it to sleep, which somebody's turn prevents;
//! `eject` ends it.

use crate::backend::{Asked, RepoHandle, Rule, Way};
use crate::daemon::Daemon;
use repod_proto::{AdoptRequest, ApiError, EjectRequest, HistoryReport};

pub(crate) async fn adopt(
    daemon: &Daemon,
    request: AdoptRequest,
) -> Result<HistoryReport, ApiError> {
    let handle = find(daemon, &request.path).await?;
    handle.hibernate(Rule::BY_HAND).await?;
    handle.history(Way::Over, Asked { env: request.env }).await
}

pub(crate) async fn eject(
    daemon: &Daemon,
    request: EjectRequest,
) -> Result<HistoryReport, ApiError> {
    let handle = find(daemon, &request.path).await?;
    handle.stop().await?;
    handle.history(Way::Back, Asked { env: request.env }).await
}

async fn find(daemon: &Daemon, path: &str) -> Result<RepoHandle, ApiError> {
    let located = daemon.locator.locate(path).await?;
    let handle = daemon.fleet.register(&located.repo).await?;
    handle.check_same(&located.repo)?;
    handle.settled().await;
    Ok(handle)
}

//! restart: stop and start, and a new chance for what was parked.

use super::targets;
use crate::backend::{Asked, RepoHandle};
use crate::daemon::Daemon;
use futures_util::future::try_join_all;
use repod_proto::{ApiError, Endpoint, ErrorCode, RestartRequest, Target};

pub(crate) async fn restart(
    daemon: &Daemon,
    request: RestartRequest,
) -> Result<Vec<Endpoint>, ApiError> {
    let handles = targets(daemon, &request.target).await?;
    if handles.is_empty() && request.target != Target::All {
        return Err(ApiError::new(ErrorCode::NotRunning, "repod doesn't know this repo yet")
            .hint("`repod up` starts it"));
    }
    for handle in &handles {
        handle.settled().await;
    }
    // "All" means what runs or should: a repo that somebody stopped stays stopped.
    let wanted = |handle: &RepoHandle| {
        request.target != Target::All || handle.view().state.is_live() || handle.view().is_failed()
    };
    let restarts = handles.into_iter().filter(wanted).map(|handle| {
        let asked = Asked { env: request.env.clone() };
        async move {
            let view = handle.restart(asked, request.rotate).await?;
            Ok(view.endpoint(handle.repo(), &handle.repo().root, None))
        }
    });
    try_join_all(restarts).await
}

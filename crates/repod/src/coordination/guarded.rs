//! No turn that may write begins in a directory without its guard: it is opened, and waited for.

use super::Coordination;
use crate::backend::Process;
use repod_opencode::{BackendClient, ProbeError};
use repod_proto::{ApiError, ErrorCode, Generation, RepoId};
use std::time::Duration;

/// How long a backend that has much to do may take to open a directory, plugins and all.
const OPEN_LIMIT: Duration = Duration::from_mins(1);
/// How long the guard of one that is open may take to come.
const GUARD_LIMIT: Duration = Duration::from_secs(10);
/// How soon it is opened once more.
const OPEN_PAUSE: Duration = Duration::from_millis(500);

/// A directory of a backend that is to be written in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guarded<'a> {
    pub(crate) repo: &'a RepoId,
    pub(crate) generation: Generation,
    pub(crate) directory: &'a str,
}

impl Coordination {
    /// Waits for the guard of a directory; without one no turn that may write is let through.
    pub(crate) async fn guarded(
        &self,
        place: Guarded<'_>,
        process: &Process,
        backend: &BackendClient,
    ) -> Result<(), ApiError> {
        let Guarded { repo, generation, directory } = place;
        let guards = self.guards();
        if guards.is_there(repo, generation, directory) {
            return Ok(());
        }
        if !process.guard.is_empty() {
            let limit = OPEN_LIMIT + GUARD_LIMIT;
            tokio::select! {
                opened = open(backend, directory) => opened?,
                came = guards.comes(repo, generation, directory, limit) => if came {
                    return Ok(());
                }
            }
        }
        let message =
            format!("the guard of `{directory}` is not there, so nothing may write there");
        Err(ApiError::new(ErrorCode::GuardMissing, message).hint(
            "`repod restart` loads it anew; `repod logs` may say why it did not load (is OPENCODE_PURE \
             set, or a plugin broken?)",
        ))
    }
}

/// Opens the directory, which loads its plugins, and keeps it open for as long as its guard may take.
async fn open(backend: &BackendClient, directory: &str) -> Result<(), ApiError> {
    // An answer means that it is open; a backend that has much to do is late with it.
    let opening = async {
        loop {
            match backend.session_status(directory).await {
                Err(ProbeError::TimedOut(_)) => {}
                answer => return answer,
            }
        }
    };
    if let Ok(Err(error @ (ProbeError::Refused | ProbeError::Broken(_)))) =
        tokio::time::timeout(OPEN_LIMIT, opening).await
    {
        let message = format!("the backend has ended, or is about to: {error}");
        return Err(ApiError::new(ErrorCode::BackendBroke, message)
            .hint("ask again; `repod logs` may say more"));
    }
    // Again and again, because one that is just being closed still answers.
    let again = async {
        loop {
            tokio::time::sleep(OPEN_PAUSE).await;
            let _ = backend.session_status(directory).await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(GUARD_LIMIT, again).await;
    Ok(())
}

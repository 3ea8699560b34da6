//! `POST /vcs/apply`: a patch, applied by the backend in one of its directories.

use super::{BackendClient, ProbeError, escape, failed, parse};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// How long git may take for it.
const APPLY_LIMIT: Duration = Duration::from_secs(60);

/// Why a patch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It doesn't fit what is there, and nothing has changed. OpenCode's word for why (`not-clean`,
    /// `non-git`).
    #[error("the patch can't be applied there ({0})")]
    Refused(String),
    /// The backend gave no answer: it may have been applied in whole, in part, or not at all.
    #[error(transparent)]
    Broke(#[from] ProbeError),
}

impl BackendClient {
    /// Applies a git patch, whose paths are relative to the repository's root, in `directory`, which must
    /// be the root of a worktree. Only the working tree is changed, and no event tells of it.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when it doesn't fit (all or nothing); when no answer comes within 60 s.
    pub async fn vcs_apply(&self, directory: &str, patch: &str) -> Result<(), ApplyError> {
        #[derive(Deserialize)]
        struct Applied {
            applied: bool,
        }
        #[derive(Deserialize)]
        struct Refused {
            data: Reason,
        }
        #[derive(Deserialize)]
        struct Reason {
            reason: String,
        }
        let route = format!("/vcs/apply?directory={}", escape(directory));
        let document = Bytes::from(json!({ "patch": patch }).to_string());
        let exchange = self.exchange(&Method::POST, &route, Some(document));
        let (status, body) = tokio::time::timeout(APPLY_LIMIT, exchange)
            .await
            .map_err(|_| ProbeError::TimedOut(APPLY_LIMIT))??;
        match status {
            StatusCode::OK if parse::<Applied>(&body)?.applied => Ok(()),
            StatusCode::OK => Err(ApplyError::Refused("not applied".to_owned())),
            StatusCode::BAD_REQUEST => match serde_json::from_slice::<Refused>(&body) {
                Ok(refused) => Err(ApplyError::Refused(refused.data.reason)),
                Err(_) => Err(failed(status, &body).into()),
            },
            StatusCode::UNAUTHORIZED => Err(ProbeError::Unauthorized.into()),
            _ => Err(failed(status, &body).into()),
        }
    }
}

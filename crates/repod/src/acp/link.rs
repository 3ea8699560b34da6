//! The way to a repo's shared backend: through its gateway, whose address and password outlive both the
//! backend and the daemon.

use repod_client::Client;
use repod_opencode::{BackendClient, ProbeError};
use repod_proto::{ApiError, Endpoint, ErrorCode, Generation};
use std::path::{Path, PathBuf};

/// The repo that a directory lies in.
#[derive(Clone, Debug)]
pub(super) struct Link {
    client: Client,
    path: PathBuf,
}

/// Its backend as it is now.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) backend: BackendClient,
    pub(super) generation: Generation,
    /// The worktree the path lies in.
    pub(super) directory: PathBuf,
}

impl Link {
    pub(super) fn new(client: &Client, path: &Path) -> Self {
        Self { client: client.clone(), path: path.to_owned() }
    }

    /// The backend; it is started, and so is the daemon, when there is none.
    pub(super) async fn live(&self) -> Result<Live, ApiError> {
        let endpoint = self.client.ensure_running(&self.path).await?;
        let port = port(&endpoint)
            .ok_or_else(|| ApiError::new(ErrorCode::Internal, "a ready endpoint without a URL"))?;
        let password = endpoint.password.unwrap_or_default();
        Ok(Live {
            backend: BackendClient::new(port, password),
            generation: endpoint.generation,
            directory: endpoint.directory.into(),
        })
    }
}

fn port(endpoint: &Endpoint) -> Option<u16> {
    endpoint.url.as_deref()?.rsplit_once(':')?.1.trim_end_matches('/').parse().ok()
}

/// What an editor is told of a call that failed.
#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
pub(super) fn failed(error: ProbeError) -> ApiError {
    let code = match &error {
        ProbeError::Failed { status: 404, .. } => ErrorCode::PathNotFound,
        ProbeError::Failed { status: 400..=499, .. } => ErrorCode::InvalidRequest,
        _ => ErrorCode::Internal,
    };
    ApiError::new(code, format!("the repository's backend: {error}"))
}

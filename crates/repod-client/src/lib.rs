//! `ensureRunning(repoRoot) -> endpoint` for Rust programs.
//!
//! One call finds the daemon of this user, starts it when there is none, and answers with the
//! endpoint of the repository's one backend, started when there is none either. However many
//! programs ask at the same moment, one daemon and one backend come of it.
//!
//! ```no_run
//! # async fn example() -> Result<(), repod_client::ApiError> {
//! let endpoint = repod_client::ensure_running(".").await?;
//! println!("{} is served at {}", endpoint.root, endpoint.url.as_deref().unwrap_or("-"));
//! # Ok(())
//! # }
//! ```
//!
//! For more than that, hold a [`Client`]:
//!
//! ```
//! use repod_client::{Client, Home, StartPolicy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let client = Client::new(Home::at(dir.path())).start_policy(StartPolicy::Never);
//! // Nothing runs in this home, and nothing may be started: a clear error, not a hang.
//! let error = client.ensure_running("/").await.unwrap_err();
//! assert_eq!(error.code, repod_client::ErrorCode::NotRunning);
//! # });
//! # Ok(())
//! # }
//! ```

mod call;
mod connect;
mod lines;
mod route;
mod sessions;
mod start;

pub use call::{Client, random_request};
pub use connect::StartPolicy;
pub use repod_proto::{ApiError, Endpoint, ErrorCode, Home, RequestId};
pub use sessions::{SessionName, TurnStream};
pub use start::prepare_home;

use std::path::Path;

/// Ensures that the repository `path` lies in has a backend, and answers with its endpoint.
///
/// The home is `$REPOD_HOME`, by default `~/.opencode`; the daemon is started on demand.
///
/// # Errors
/// What the daemon says ([`ErrorCode::PathNotFound`], [`ErrorCode::StartFailed`], …), or
/// [`ErrorCode::DaemonUnavailable`] with the step it died in.
pub async fn ensure_running(path: impl AsRef<Path>) -> Result<Endpoint, ApiError> {
    Client::from_env()?.ensure_running(path).await
}

//! The daemon's own log: standard error, which is `repod.log` unless a person started it.

use repod_proto::{ApiError, ErrorCode};
use repod_supervisor::log_tail::rotate_if_larger;
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Size at which the log is rotated, and how many old ones are kept.
const LOG_MAX: u64 = 8 * 1024 * 1024;
const LOG_KEEP: u32 = 2;

/// Starts logging. `REPOD_LOG` is a filter such as `debug` or `repod=trace`; `usual` stands without it.
pub(crate) fn init(usual: &str) {
    let filter = EnvFilter::try_from_env("REPOD_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    // A second call (tests) leaves the first one's subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

/// Points standard output and standard error at the log.
pub(crate) fn redirect(log: &Path) -> Result<(), ApiError> {
    let failed = |error: std::io::Error| {
        ApiError::new(ErrorCode::StateIo, format!("`{}` can't be written: {error}", log.display()))
    };
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log)
        .map_err(failed)?;
    rustix::stdio::dup2_stdout(&file).map_err(|error| failed(error.into()))?;
    rustix::stdio::dup2_stderr(&file).map_err(|error| failed(error.into()))
}

/// Keeps the log from growing for ever.
pub(crate) async fn keep_small(log: PathBuf, every: Duration) {
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        let log = log.clone();
        let rotated =
            tokio::task::spawn_blocking(move || rotate_if_larger(&log, LOG_MAX, LOG_KEEP));
        if let Ok(Err(error)) = rotated.await {
            tracing::warn!(%error, "the log can't be rotated");
        }
    }
}

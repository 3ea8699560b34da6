//! The daemon's own log: standard error, which is `repod.log` unless a person started it.

use super::traces::{self, Traces};
use crate::settings::LogFormat;
use repod_proto::{ApiError, ErrorCode};
use repod_supervisor::log_tail::rotate_if_larger;
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::layer::{Identity, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Size at which the log is rotated, and how many old ones are kept.
const LOG_MAX: u64 = 8 * 1024 * 1024;
const LOG_KEEP: u32 = 2;

/// Logs for people on standard error; what beside a protocol on standard output is said.
pub(crate) fn to_stderr(usual: &str) {
    start(usual, LogFormat::Text, Identity::new());
}

/// Starts the daemon's logging, and its traces where they are wanted.
pub(super) fn init(usual: &str, format: LogFormat) -> Traces {
    let (traces, spans) = traces::layer();
    start(usual, format, spans);
    traces
}

/// `REPOD_LOG` is a filter such as `debug` or `repod=trace`; `usual` stands without it.
/// `REPOD_LOG_FORMAT` counts more than the format that is given.
fn start(usual: &str, format: LogFormat, spans: impl Layer<Registry> + Send + Sync) {
    let filter = EnvFilter::try_from_env("REPOD_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let wanted = std::env::var("REPOD_LOG_FORMAT").ok().filter(|word| !word.is_empty());
    let named = wanted.as_deref().map(LogFormat::named);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match named.flatten().unwrap_or(format) {
        LogFormat::Text => lines.boxed(),
        // One flat object; of the spans around it, the innermost and all of them in order.
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A second call (tests) leaves the first one's subscriber.
    let _ = tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).try_init();
    if named == Some(None) {
        tracing::warn!("REPOD_LOG_FORMAT is neither `text` nor `json`");
    }
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

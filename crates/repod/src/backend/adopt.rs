//! Knowing a backend again that an earlier daemon started: by pid, start time and boot id, by its
//! marker, and by its answer to an authenticated probe. Whatever fails the first two is a stranger,
//! and is neither adopted nor signalled.

use crate::registry::BackendRecord;
use repod_opencode::BackendClient;
use repod_proto::BackendState;
use repod_supervisor::identity::ProcessHandle;
use repod_supervisor::launcher::{LAUNCH_VERB, RunningChild};
use repod_supervisor::lifecycle::Found;
use repod_supervisor::tree::MARKER_VARIABLE;
use std::time::Duration;

/// How long the probe of a backend may take that is to be adopted.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// A launcher whose daemon died before it was released ends by itself at once.
const LAUNCHER_LIMIT: Duration = Duration::from_secs(5);

/// The process of this record if it lives, and in what state it was found.
pub(super) async fn find(
    backend: &BackendRecord,
    recorded: BackendState,
) -> Option<(RunningChild, Found)> {
    let handle = match backend.identity.verify() {
        Ok(handle) => handle?,
        Err(error) => {
            tracing::error!(%error, pid = backend.identity.pid, "the recorded process can't be examined");
            return None;
        }
    };
    if !carries_marker(&handle, &backend.marker) {
        tracing::warn!(
            pid = handle.pid(),
            "the recorded pid belongs to a stranger now; left alone"
        );
        return None;
    }
    if is_unreleased(&handle) {
        // It has run nothing and never will: its daemon died before it was let go.
        let _ = tokio::time::timeout(LAUNCHER_LIMIT, handle.exited()).await;
        return None;
    }
    let found = match recorded {
        BackendState::Stopping => Found::Stopping,
        BackendState::Starting if backend.version.is_none() => Found::Starting,
        _ => {
            let client = BackendClient::new(backend.port, backend.password.clone());
            match client.health(PROBE_LIMIT).await {
                Ok(_) => Found::Ready,
                Err(error) => {
                    tracing::warn!(pid = handle.pid(), %error, "it lives but did not answer");
                    Found::Unresponsive
                }
            }
        }
    };
    Some((RunningChild::adopted(handle), found))
}

fn carries_marker(handle: &ProcessHandle, marker: &str) -> bool {
    let environ = fs_err::read(format!("/proc/{}/environ", handle.pid())).unwrap_or_default();
    let wanted = format!("{MARKER_VARIABLE}={marker}");
    let carries = environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes());
    // What was read is that process's only if it is still there.
    carries && handle.is_alive()
}

fn is_unreleased(handle: &ProcessHandle) -> bool {
    let cmdline = fs_err::read(format!("/proc/{}/cmdline", handle.pid())).unwrap_or_default();
    cmdline.split(|byte| *byte == 0).nth(1) == Some(LAUNCH_VERB.as_bytes())
}

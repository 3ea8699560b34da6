//! shutdown: end the daemon. Backends go on unless asked otherwise: the next daemon adopts them.

use super::stop_all;
use crate::daemon::Daemon;
use repod_proto::{ApiError, ShutdownReport, ShutdownRequest};

pub(crate) async fn shutdown(
    daemon: &Daemon,
    request: &ShutdownRequest,
) -> Result<ShutdownReport, ApiError> {
    daemon.fleet.close();
    let stopped = if request.backends { stop_all(daemon.fleet.all()).await } else { Vec::new() };
    let live = daemon.fleet.all().iter().filter(|handle| handle.view().state.is_live()).count();
    daemon.end();
    Ok(ShutdownReport {
        pid: std::process::id(),
        stopped,
        left_running: u32::try_from(live).unwrap_or(u32::MAX),
    })
}

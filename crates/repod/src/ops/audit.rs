//! audit: what `repod audit` finds, for those who ask the daemon. One looks at a time; who comes
//! meanwhile is told the same.

use crate::daemon::Daemon;
use repod_audit::Report;
use repod_proto::{ApiError, ErrorCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long what was found is told again.
const FRESH: Duration = Duration::from_secs(3);

/// The last audit.
#[derive(Default)]
pub(crate) struct Audits(Mutex<Option<(Instant, Arc<Report>)>>);

pub(crate) async fn audit(daemon: &Daemon) -> Result<Arc<Report>, ApiError> {
    let mut last = daemon.audits.0.lock().await;
    if let Some((at, report)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        tracing::debug!(age = ?at.elapsed(), "this audit is told again");
        return Ok(Arc::clone(report));
    }
    let (home, runtime) = (daemon.home.clone(), tokio::runtime::Handle::current());
    let coordination = daemon.coordination.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let (sources, _) = crate::audit::sources(&home, Vec::new());
        let leases = async || coordination.leases().await.unwrap_or_default();
        runtime.block_on(repod_audit::look(&sources, leases)).1
    });
    let report = looking.await;
    let report = report.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    let report = Arc::new(report);
    *last = Some((Instant::now(), Arc::clone(&report)));
    Ok(report)
}

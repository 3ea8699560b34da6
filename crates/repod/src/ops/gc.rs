//! gc: what is stale in repod's own books. No repository is touched, no data is deleted.

use crate::daemon::Daemon;
use futures_util::future::join_all;
use repod_proto::{ApiError, GcReport, GcRequest};

pub(crate) async fn gc(daemon: &Daemon, request: &GcRequest) -> Result<GcReport, ApiError> {
    let handles = daemon.fleet.all();
    let swept = join_all(handles.iter().map(|handle| handle.sweep(request.dry_run))).await;
    let mut report = GcReport::default();
    for (handle, swept) in handles.iter().zip(swept) {
        let swept = swept?;
        report.processes += swept.processes;
        if swept.cleared {
            report.cleared.push(handle.repo().id.clone());
        }
        let gone = !handle.view().state.is_live() && !handle.repo().identity.exists();
        if gone {
            if !request.dry_run {
                daemon.fleet.forget(&handle.repo().id)?;
            }
            report.forgotten.push(handle.repo().id.clone());
        }
    }
    report.processes += daemon.fleet.sweep_strays(request.dry_run).await;
    report.unreadable = daemon.fleet.unusable();
    Ok(report)
}

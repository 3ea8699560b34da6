//! `repod shutdown`: end the daemon, with or without its backends.

use super::{Outcome, client, stop};
use crate::output;
use repod_client::{Client, StartPolicy};
use repod_proto::{ApiError, ErrorCode, ShutdownRequest, exit};
use repod_supervisor::{ProcessHandle, ProcessIdentity};
use std::time::Duration;

/// How long a daemon that has answered may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn run(backends: bool, json: bool) -> Outcome {
    let client = client(false)?;
    if backends {
        // Backends may run although the daemon does not: it has to be there to end them safely.
        client.version().await?;
    }
    let daemon = hold(&client).await;
    let report = match client.shutdown(&ShutdownRequest { backends }).await {
        Err(error) if error.code == ErrorCode::NotRunning && !json => {
            output::note("no daemon is running");
            return Ok(exit::NOT_RUNNING);
        }
        other => other?,
    };
    // It answers first and ends then; whoever asked for the end wants to rely on it.
    if let Some(daemon) = daemon
        && tokio::time::timeout(END_LIMIT, daemon.exited()).await.is_err()
    {
        let message =
            format!("daemon {} has not ended within {} s", report.pid, END_LIMIT.as_secs());
        return Err(
            ApiError::new(ErrorCode::Deadline, message).hint("`repod logs --daemon` may say why")
        );
    }
    if json {
        output::json(&report);
        return Ok(stop::exit_code(&report.stopped));
    }
    stop::print(&report.stopped);
    output::line(&format!("daemon {} ended", report.pid));
    if report.left_running > 0 {
        output::note(&format!(
            "{} backends go on; the next repod command adopts them",
            report.left_running
        ));
    }
    Ok(stop::exit_code(&report.stopped))
}

/// A hold on the daemon that runs, to see its end.
async fn hold(client: &Client) -> Option<ProcessHandle> {
    let daemon = client.clone().start_policy(StartPolicy::Never).version().await.ok()?;
    ProcessIdentity::of(daemon.pid).ok()??.verify().ok()?
}

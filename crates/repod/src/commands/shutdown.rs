//! `repod shutdown`: end the daemon, with or without its backends.

use super::{Outcome, client, stop};
use crate::output;
use repod_proto::{ErrorCode, ShutdownRequest, exit};

pub(crate) async fn run(backends: bool, json: bool) -> Outcome {
    let client = client(false)?;
    if backends {
        // Backends may run although the daemon does not: it has to be there to end them safely.
        client.version().await?;
    }
    let report = match client.shutdown(&ShutdownRequest { backends }).await {
        Err(error) if error.code == ErrorCode::NotRunning && !json => {
            output::note("no daemon is running");
            return Ok(exit::NOT_RUNNING);
        }
        other => other?,
    };
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

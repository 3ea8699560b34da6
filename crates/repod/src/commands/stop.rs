//! `repod stop`: end backends with everything they started.

use super::{Outcome, client, target};
use crate::cli::{Output, Which};
use crate::output;
use repod_proto::{StopOutcome, StopRequest, exit};

pub(crate) async fn run(which: &Which, output: Output) -> Outcome {
    let request = StopRequest { target: target(which)? };
    let report = client(output.no_start)?.stop(&request).await?;
    if output.json {
        output::json(&report);
    } else {
        print(&report.stopped);
    }
    Ok(exit_code(&report.stopped))
}

pub(crate) fn print(stopped: &[StopOutcome]) {
    for outcome in stopped {
        match &outcome.error {
            Some(error) => output::error(error, false),
            None if outcome.was_running => output::line(&format!(
                "{} stopped ({} process{})",
                outcome.repo_id,
                outcome.processes,
                if outcome.processes == 1 { "" } else { "es" },
            )),
            None => output::note(&format!("{} was not running", outcome.repo_id)),
        }
    }
}

pub(crate) fn exit_code(stopped: &[StopOutcome]) -> u8 {
    let failed = stopped.iter().find_map(|outcome| outcome.error.as_ref());
    failed.map_or(exit::OK, |error| error.code.exit_code())
}

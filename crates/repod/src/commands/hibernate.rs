//! `repod hibernate`: end backends that nobody needs just now.

use super::{Outcome, client, target};
use crate::cli::{Output, Which};
use crate::output;
use repod_proto::{ErrorCode, HibernateOutcome, HibernateRequest, exit};

pub(crate) async fn run(which: &Which, output: Output) -> Outcome {
    let request = HibernateRequest { target: target(which)? };
    let report = client(output.no_start)?.hibernate(&request).await?;
    if output.json {
        output::json(&report);
    } else {
        report.hibernated.iter().for_each(|outcome| print(outcome, which.all));
    }
    // Of all, those that are in use are not meant.
    let counts = |code: ErrorCode| !which.all || code != ErrorCode::BackendBusy;
    let failed = report.hibernated.iter().filter_map(|outcome| outcome.error.as_ref());
    let failed = failed.map(|error| error.code).find(|code| counts(*code));
    Ok(failed.map_or(exit::OK, ErrorCode::exit_code))
}

fn print(outcome: &HibernateOutcome, all: bool) {
    let HibernateOutcome { repo_id, was_running, error, .. } = outcome;
    match error {
        Some(error) if all && error.code == ErrorCode::BackendBusy => {
            output::note(&format!("{repo_id}: {}", error.message));
        }
        Some(error) => output::error(error, false),
        None if *was_running => output::line(&format!("{repo_id} sleeps")),
        None => output::note(&format!("{repo_id} was not running")),
    }
}

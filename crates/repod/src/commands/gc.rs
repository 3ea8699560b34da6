//! `repod gc`: clear what is stale in repod's own books. No repository is touched.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output;
use repod_proto::{GcRequest, exit};

pub(crate) async fn run(dry_run: bool, output: Output) -> Outcome {
    let report = client(output.no_start)?.gc(&GcRequest { dry_run }).await?;
    if output.json {
        output::json(&report);
        return Ok(exit::OK);
    }
    let would = if dry_run { "would be " } else { "" };
    for id in &report.cleared {
        output::line(&format!("{id}: {would}cleared, its backend is gone"));
    }
    for id in &report.forgotten {
        output::line(&format!("{id}: {would}forgotten, its root no longer exists (data kept)"));
    }
    if report.processes > 0 {
        output::line(&format!("{} left-over processes {would}ended", report.processes));
    }
    for repo in &report.unreadable {
        if let Some(error) = &repo.error {
            output::error(error, false);
        }
    }
    if report.cleared.is_empty() && report.forgotten.is_empty() && report.processes == 0 {
        output::note("nothing to clear");
    }
    Ok(exit::OK)
}

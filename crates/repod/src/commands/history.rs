//! `repod adopt` and `repod eject`: sessions from the user's shared database, and back.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use repod_proto::{HistoryReport, exit};
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

pub(crate) async fn adopt(path: &Path, output: Output) -> Outcome {
    let client = client(output.no_start)?;
    let what = format!("bringing over the sessions of {}", path.display());
    let report = shown(output.json, what, client.adopt(path)).await?;
    if output.json {
        output::json(&report);
        return Ok(exit::OK);
    }
    print(&report, "brought over from");
    if report.deleted > 0 {
        let deleted = report.deleted;
        output::note(&format!(
            "{deleted} were deleted here since they were brought over, and stay so"
        ));
    }
    if !report.logins.is_empty() {
        let logins = report.logins.join(", ");
        output::note(&format!("logins ({logins}) are not copied: log in again where needed"));
    }
    Ok(exit::OK)
}

pub(crate) async fn eject(path: &Path, json: bool) -> Outcome {
    let client = client(false)?;
    let what = format!("bringing back the sessions of {}", path.display());
    let report = shown(json, what, client.eject(path)).await?;
    if json {
        output::json(&report);
        return Ok(exit::OK);
    }
    let Some(kept) = &report.kept else {
        output::note(&format!("{} has no database of its own", report.repo_id));
        return Ok(exit::OK);
    };
    print(&report, "brought back to");
    output::note(&format!("its own database is kept: {kept}"));
    if !report.logins.is_empty() {
        let logins = report.logins.join(", ");
        output::note(&format!("logins ({logins}) are not copied: log in again where needed"));
    }
    Ok(exit::OK)
}

/// On a terminal it is seen that it is at it, and for how long: a large database takes minutes.
async fn shown<T>(quiet: bool, what: String, work: impl Future<Output = T>) -> T {
    if quiet || !std::io::stderr().is_terminal() {
        return work.await;
    }
    let spinner = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    spinner.finish_and_clear();
    done
}

fn print(report: &HistoryReport, how: &str) {
    let HistoryReport { repo_id, added, updated, merged, unchanged, database, .. } = report;
    let sessions = added + updated + merged;
    output::line(&format!(
        "{repo_id} {sessions} sessions {how} {database} ({added} new, {updated} gone on, {merged} merged; \
         {unchanged} were there)"
    ));
}

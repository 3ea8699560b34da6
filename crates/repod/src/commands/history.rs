//! `repod adopt` and `repod eject`: sessions from the user's shared database, and back.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output;
use repod_proto::{HistoryReport, exit};
use std::path::Path;

pub(crate) async fn adopt(path: &Path, output: Output) -> Outcome {
    let report = client(output.no_start)?.adopt(path).await?;
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
    let report = client(false)?.eject(path).await?;
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

fn print(report: &HistoryReport, how: &str) {
    let HistoryReport { repo_id, added, updated, merged, unchanged, database, .. } = report;
    let sessions = added + updated + merged;
    output::line(&format!(
        "{repo_id} {sessions} sessions {how} {database} ({added} new, {updated} gone on, {merged} merged; \
         {unchanged} were there)"
    ));
}

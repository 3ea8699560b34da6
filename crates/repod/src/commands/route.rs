//! `repod route apply`: a patch in another repo, applied by its own backend.

use super::{Outcome, absolute, client, whole_seconds};
use crate::cli::{Output, RouteCommand};
use crate::output;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use repod_proto::{
    ApiError, ErrorCode, MutationOutcome, RouteApplyRequest, RouteBy, RouteReport, exit,
};
use std::io::IsTerminal;
use tokio::io::AsyncReadExt;

/// Largest patch the daemon takes.
const PATCH_MAX: u64 = 24 * 1024 * 1024;
/// What to type instead.
const HOW: &str = "`git -C FROM diff --binary | repod route apply --to PATH`";

pub(crate) async fn run(command: RouteCommand) -> Outcome {
    let RouteCommand::Apply { to, branch, operation, wait, output } = command;
    let request = RouteApplyRequest {
        path: absolute(&to)?,
        branch,
        patch_base64: STANDARD.encode(patch().await?),
        by: RouteBy {
            operation_id: operation,
            name: None,
            title: "route apply".to_owned(),
            tool: "route".to_owned(),
            pid: Some(std::process::id()),
            wait_seconds: wait.map(whole_seconds),
        },
    };
    let Output { json, no_start } = output;
    let report = client(no_start)?.route_apply(request).await?;
    if json {
        output::json(&report);
    } else {
        print(&report);
    }
    Ok(exit::OK)
}

/// What standard input holds.
async fn patch() -> Result<Vec<u8>, ApiError> {
    let usage = |message: &str| ApiError::new(ErrorCode::InvalidRequest, message).hint(HOW);
    if std::io::stdin().is_terminal() {
        return Err(usage("the patch is read from standard input, which is a terminal"));
    }
    let mut patch = Vec::new();
    let mut input = tokio::io::stdin().take(PATCH_MAX + 1);
    input.read_to_end(&mut patch).await.map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("standard input can't be read: {error}"))
    })?;
    if patch.is_empty() {
        return Err(usage("there is no patch on standard input"));
    }
    if u64::try_from(patch.len()).is_ok_and(|length| length > PATCH_MAX) {
        let message = format!("the patch is larger than {} MiB", PATCH_MAX >> 20);
        return Err(ApiError::new(ErrorCode::InvalidRequest, message)
            .hint("apply it in parts, each with files of its own"));
    }
    Ok(patch)
}

fn print(report: &RouteReport) {
    if report.outcome == MutationOutcome::Unchanged {
        output::note("there was nothing to change");
    }
    for target in &report.targets {
        let files = target.files.len();
        output::line(&format!(
            "{} on `{}` of {} (fence {}): {files} file{}",
            if report.outcome == MutationOutcome::Unchanged { "unchanged" } else { "applied" },
            target.branch,
            target.repo_id,
            target.fence,
            if files == 1 { "" } else { "s" },
        ));
        for file in &target.files {
            output::line(&format!("  {file}"));
        }
    }
    output::note(&format!("operation {}", report.operation_id));
}

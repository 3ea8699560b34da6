//! `repod leases` and `repod lease`: who may write where.

use super::{Outcome, absolute, client};
use crate::cli::{LeaseCommand, Output};
use crate::output::{self, Rows};
use repod_proto::{
    ApiError, ErrorCode, LeaseHoldRequest, LeaseInfo, LeaseReleaseRequest, LeaseState, exit,
};
use std::ffi::OsString;
use std::time::Duration;
use tokio::process::Command;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn run(watch: bool, output: Output) -> Outcome {
    let client = client(output.no_start)?;
    let mut last = None;
    loop {
        let leases = client.leases().await?;
        if last.as_ref() != Some(&leases) {
            if output.json && watch {
                output::ndjson(&leases);
            } else if output.json {
                output::json(&leases);
            } else {
                print(&leases);
            }
        }
        if !watch {
            return Ok(exit::OK);
        }
        last = Some(leases);
        tokio::time::sleep(LOOK).await;
    }
}

fn print(leases: &[LeaseInfo]) {
    if leases.is_empty() {
        output::note("nobody writes anywhere");
        return;
    }
    let mut rows =
        Rows::new(&["REPO", "BRANCH", "FENCE", "SINCE", "OWNER", "TITLE", "DOES", "WAITING"]);
    for lease in leases {
        let running =
            lease.calls.iter().find(|call| call.state != repod_proto::CallState::WaitingLease);
        let does = match (&lease.state, running) {
            (LeaseState::Taking, _) => lease
                .blocked_by
                .as_ref()
                .map_or("takes it".to_owned(), |by| format!("waits for {by}")),
            (_, Some(call)) => match &call.permission {
                Some(what) => format!("waits for a person ({what})"),
                None => call.what.clone(),
            },
            (_, None) => "-".to_owned(),
        };
        rows.push(vec![
            lease.repo_id.to_string(),
            lease.branch.clone(),
            lease.fence.to_string(),
            lease.since.clone(),
            lease.owner.session_id.clone(),
            lease.owner.title.clone(),
            does,
            lease.waiters.len().to_string(),
        ]);
    }
    rows.print();
}

pub(crate) async fn lease(command: LeaseCommand) -> Outcome {
    match command {
        LeaseCommand::Hold { path, branch, wait, command } => {
            hold(&path, branch, wait.map(Into::into), command).await
        }
        LeaseCommand::Release { path, branch, json } => {
            let by = rustix::process::getuid().as_raw();
            let request = LeaseReleaseRequest {
                path: absolute(&path)?,
                branch,
                by: format!("`repod lease release` of uid {by}"),
            };
            let report = client(true)?.release_lease(&request).await?;
            if json {
                output::json(&report);
            } else if let Some(lease) = &report.released {
                let (branch, title) = (&lease.branch, &lease.owner.title);
                output::line(&format!("`{branch}` was taken from `{title}`"));
            } else {
                output::note("nobody held it");
            }
            Ok(exit::OK)
        }
    }
}

async fn hold(
    path: &std::path::Path,
    branch: Option<String>,
    wait: Option<Duration>,
    command: Vec<OsString>,
) -> Outcome {
    let [program, args @ ..] = command.as_slice() else {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "no command to run"));
    };
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let request = LeaseHoldRequest {
        path: absolute(path)?,
        branch,
        title: format!("lease hold -- {}", words.join(" ")),
        pid: Some(std::process::id()),
        wait_seconds: wait.map(|wait| wait.as_secs()),
    };
    let mut held = client(false)?.hold_lease(&request).await?;
    let mut child = Command::new(program)
        .args(args)
        .env("REPOD_FENCE", held.lease.fence.to_string())
        .env("REPOD_BRANCH", &held.lease.branch)
        .spawn()
        .map_err(|error| {
            let message = format!("can't run `{}`: {error}", program.display());
            ApiError::new(ErrorCode::InvalidRequest, message)
        })?;
    // A Ctrl-C goes to the command too; its end is ours.
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    let mut lost = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = held.lost(), if !lost => {
                lost = true;
                output::warn("the lease was lost; the command goes on without it");
            }
            _ = interrupted.recv() => {}
        }
    };
    let status = status.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    Ok(code(status))
}

/// As a shell has it: 128 and the signal's number where one ended it.
fn code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILURE)
}

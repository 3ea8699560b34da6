//! `repod status`: one repo in full, its credentials included.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output;
use repod_proto::{RepoStatus, exit};
use std::path::Path;

pub(crate) async fn run(path: &Path, output: Output) -> Outcome {
    let status = client(output.no_start)?.status(path).await?;
    if output.json {
        output::json(&status);
    } else {
        print(&status);
    }
    let live = status.summary.endpoint.state.is_live();
    Ok(if live { exit::OK } else { exit::NOT_RUNNING })
}

fn print(status: &RepoStatus) {
    let summary = &status.summary;
    let endpoint = &summary.endpoint;
    let backend = endpoint.backend.as_ref();
    let row = |name: &str, value: String| output::line(&format!("{name:<12} {value}"));
    row("repo", endpoint.repo_id.to_string());
    row("state", output::state(endpoint.state));
    row("root", endpoint.root.clone());
    row("directory", endpoint.directory.clone());
    row("branch", endpoint.branch.clone().unwrap_or_else(output::dash));
    row("url", endpoint.url.clone().unwrap_or_else(output::dash));
    row("username", endpoint.username.clone());
    row("password", endpoint.password.clone().unwrap_or_else(output::dash));
    row("capability", endpoint.capability_url.clone().unwrap_or_else(output::dash));
    row("generation", endpoint.generation.to_string());
    row("pid", output::number(backend.map(|backend| backend.pid.into())));
    row("version", backend.and_then(|b| b.version.clone()).unwrap_or_else(output::dash));
    row("started", backend.map_or_else(output::dash, |backend| backend.started_at.clone()));
    row("memory", output::bytes(summary.rss_bytes));
    row("sessions", output::number(summary.sessions));
    row("busy", output::number(summary.busy));
    row("clients", output::number(summary.clients));
    row("idle", output::seconds(summary.idle_seconds));
    row("starts/60s", status.recent_starts.to_string());
    row("state dir", status.state_dir.clone());
    row("log", status.log_file.clone());
    super::warn_all(endpoint);
    if let Some(error) = &summary.error {
        output::error(error, false);
    }
}

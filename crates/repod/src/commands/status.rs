//! `repod status`: one repo in full, its credentials included.

use super::{Outcome, client};
use crate::cli::Output;
use crate::memory;
use crate::output::{self, Rows};
use repod_proto::{
    AdoptionInfo, ApiError, EnforcedBy, ErrorCode, LastExit, LimitsInfo, MemorySample, RepoStatus,
    exit,
};
use std::path::Path;

pub(crate) async fn run(path: &Path, with_history: bool, output: Output) -> Outcome {
    let status = client(output.no_start)?.status(path).await?;
    if with_history {
        return history(&status, output.json);
    }
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
    if let Some(sample) = &summary.memory {
        measured(sample, &row);
    }
    row("sessions", output::number(summary.sessions));
    row("busy", output::number(summary.busy));
    row("clients", output::number(summary.clients));
    row("idle", output::seconds(summary.idle_seconds));
    row("starts/60s", status.recent_starts.to_string());
    if let Some(limits) = &status.limits {
        held(limits, &row);
    }
    if let Some(LastExit { generation, at, message, .. }) = &status.last_exit {
        row("last exit", format!("generation {generation}, {at}: {message}"));
    }
    if let Some(adoption) = &status.adoption {
        let AdoptionInfo { state, sessions, database, .. } = adoption;
        row("adopted", format!("{sessions} sessions of {database} ({state})"));
    }
    row("state dir", status.state_dir.clone());
    row("log", status.log_file.clone());
    super::warn_all(endpoint);
    if let Some(error) = &summary.error {
        output::error(error, false);
    }
}

fn measured(sample: &MemorySample, row: &impl Fn(&str, String)) {
    let MemorySample { usage, growing, .. } = sample;
    let size = |bytes| output::bytes(Some(bytes));
    let (anonymous, swap) = (size(usage.anonymous), size(usage.swap));
    row(
        "  of it",
        format!("{} in fair shares, {anonymous} anonymous, {swap} swapped", size(usage.pss)),
    );
    row(
        "processes",
        format!(
            "{} ({} LSP, {} MCP, {} shells), {} threads, {} open files, {} inotify watches",
            usage.processes,
            usage.lsp,
            usage.mcp,
            usage.shells,
            usage.threads,
            usage.fds,
            usage.inotify_watches,
        ),
    );
    if let Some(growth) = growing {
        let (speed, grown) = (size(growth.bytes_per_hour), size(growth.grown_bytes));
        row(
            "finding",
            format!(
                "its memory keeps growing: {speed} an hour, {grown} so far; it is recycled when idle"
            ),
        );
    }
}

/// Who keeps the limits, and which.
fn held(limits: &LimitsInfo, row: &impl Fn(&str, String)) {
    let by = match limits.enforced_by {
        EnforcedBy::CgroupV2 => "the kernel",
        EnforcedBy::Measured => "measuring",
    };
    row("limits by", format!("{by} ({})", limits.reason));
    let size = |bytes: u64| output::bytes(Some(bytes));
    let values = [
        ("memory_high", limits.memory_high.map(size)),
        ("memory_limit", limits.memory_limit.map(size)),
        ("memory_max", limits.memory_max.map(size)),
        ("pids_max", limits.pids_max.map(|count| count.to_string())),
        ("cpu_weight", limits.cpu_weight.map(|weight| weight.to_string())),
    ];
    let values = values.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    let values: Vec<_> = values.collect();
    row("  kept", if values.is_empty() { output::dash() } else { values.join(", ") });
    if let Some(group) = &limits.memory_cgroup {
        let limit = limits.memory_cgroup_limit.map_or("none".to_owned(), size);
        row("  cgroup", format!("{group} (memory limit: {limit})"));
    }
}

/// The memory log is read where it lies, so that it can be looked at in any state of the backend.
fn history(status: &RepoStatus, json: bool) -> Outcome {
    let log = Path::new(&status.state_dir).join("memory.jsonl");
    let samples = memory::history(&log).map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("`{}` can't be read: {error}", log.display()))
    })?;
    if json {
        // NDJSON, as it lies there: it can be long.
        for sample in &samples {
            output::ndjson(sample);
        }
        return Ok(exit::OK);
    }
    let names = [
        "AT", "GEN", "RSS", "PSS", "ANON", "SWAP", "PROCS", "LSP", "MCP", "SHELLS", "FDS",
        "THREADS", "WATCHES", "FINDING",
    ];
    let mut rows = Rows::new(&names);
    for MemorySample { at, generation, usage, growing } in &samples {
        let sizes = [usage.rss, usage.pss, usage.anonymous, usage.swap];
        let counts = [
            usage.processes,
            usage.lsp,
            usage.mcp,
            usage.shells,
            usage.fds,
            usage.threads,
            usage.inotify_watches,
        ];
        let mut row = vec![at.clone(), generation.to_string()];
        row.extend(sizes.map(|bytes| output::bytes(Some(bytes))));
        row.extend(counts.map(|count| count.to_string()));
        row.push(growing.map_or_else(String::new, |_| "growing".to_owned()));
        rows.push(row);
    }
    rows.print();
    Ok(exit::OK)
}

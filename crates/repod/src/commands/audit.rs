//! `repod audit`: what is wrong with this user's OpenCode processes, with or without a daemon.

use super::{Outcome, absolute, client};
use crate::cli::AuditArgs;
use crate::output;
use crate::registry::Record;
use repod_audit::read::Sources;
use repod_audit::{Evidence, Finding, Report, Severity, Snapshot, sarif};
use repod_client::Client;
use repod_proto::{ApiError, BackendState, GcRequest, Home, LeaseInfo, RepoId, exit};
use repod_supervisor::files::LockFile;
use std::path::PathBuf;
use std::time::Duration;

/// How often `--watch` looks.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a daemon is waited for.
const ANSWER: Duration = Duration::from_secs(1);
/// Pieces of evidence shown to a person; `--json` has all of them.
const SHOWN: usize = 12;

pub(crate) async fn run(args: AuditArgs) -> Outcome {
    let client = client(true)?;
    let home = client.home().clone();
    let only = args
        .paths
        .iter()
        .map(|path| absolute(path).map(PathBuf::from))
        .collect::<Result<_, _>>()?;
    let (mut sources, error) = crate::audit::sources(&home, only);
    sources.deep = args.deep;
    sources.sysctl.clone_from(&args.sysctl);
    if let Some(error) = error {
        output::warn(&error.message);
    }
    let look = async || repod_audit::look(&sources, async || leases(&client).await).await;
    let (mut snapshot, mut report) = look().await;
    if args.fix {
        for line in fix(&home, &client, &snapshot, &sources).await {
            // A script that asked for JSON finds one document on its standard output.
            if args.json || args.sarif { output::note(&line) } else { output::line(&line) }
        }
        (snapshot, report) = look().await;
    }
    drop(snapshot);
    print(&args, &report);
    if args.watch {
        return watch(&args, look, report).await;
    }
    Ok(if report.findings.is_empty() { exit::OK } else { exit::FINDINGS })
}

/// Prints again whenever it has changed, until it is interrupted.
async fn watch(
    args: &AuditArgs,
    look: impl AsyncFn() -> (Snapshot, Report),
    mut last: Report,
) -> Outcome {
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(exit::INTERRUPTED),
            () = tokio::time::sleep(AGAIN) => {}
        }
        let (_, report) = look().await;
        if report != last {
            print(args, &report);
            last = report;
        }
    }
}

/// Who may write where, if a daemon runs and answers soon.
async fn leases(client: &Client) -> Vec<LeaseInfo> {
    match tokio::time::timeout(ANSWER, client.leases()).await {
        Ok(Ok(leases)) => leases,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

async fn fix(home: &Home, client: &Client, snapshot: &Snapshot, sources: &Sources) -> Vec<String> {
    let mut done = repod_audit::fix::apply(snapshot, &sources.proc, sources.uid);
    let stale = repod_audit::rules::stale(snapshot);
    if stale.is_empty() {
        return done;
    }
    // A daemon holds the entries' locks; then it is the one to clear them.
    let Ok(_daemon) = LockFile::try_acquire(&home.lock()) else {
        match gc(client).await {
            Ok(cleared) => done.extend(
                cleared.iter().map(|id| format!("{id}: the entry is cleared by the daemon")),
            ),
            Err(error) => done.push(format!("stale entries stay: {}", error.message)),
        }
        return done;
    };
    for id in stale {
        done.push(
            match id
                .parse()
                .map_err(|_| "it has no valid id".to_owned())
                .and_then(|id| clear(home, &id))
            {
                Ok(()) => format!("{id}: the entry no longer names a backend"),
                Err(cause) => format!("{id}: the entry stays: {cause}"),
            },
        );
    }
    done
}

async fn gc(client: &Client) -> Result<Vec<RepoId>, ApiError> {
    Ok(client.gc(&GcRequest { dry_run: false }).await?.cleared)
}

/// Takes a backend that is gone out of its entry, as a daemon does when it starts.
fn clear(home: &Home, id: &RepoId) -> Result<(), String> {
    let dir = home.repo(id);
    let _lock = LockFile::try_acquire(&dir.lock()).map_err(|error| error.to_string())?;
    let record = Record::read(&dir, id).map_err(|error| error.message)?;
    let Some(mut record) = record else { return Ok(()) };
    // Once more, now that nobody else can change it.
    let lives = match &record.backend {
        Some(backend) => backend.identity.verify().map_err(|error| error.to_string())?.is_some(),
        None => return Ok(()),
    };
    if lives {
        return Err("its backend lives".to_owned());
    }
    record.backend = None;
    record.state = BackendState::Stopped;
    record.write(&dir).map_err(|error| error.message)
}

fn print(args: &AuditArgs, report: &Report) {
    if args.sarif {
        return output::json(&sarif::log(report, env!("CARGO_PKG_VERSION")));
    }
    if args.json && args.watch {
        return output::ndjson(report);
    }
    if args.json {
        return output::json(report);
    }
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let of = || report.findings.iter().filter(|finding| finding.severity == severity);
        if of().next().is_some() {
            output::line(&format!("{} ({})", output::severity(severity), of().count()));
            let mut title = "";
            for found in of() {
                if found.title != title {
                    title = found.title;
                    output::line(&format!("  {}  {title}", found.id));
                    output::line(&format!("         fix: {}", found.fix));
                }
                finding(found);
            }
        }
    }
    for skipped in &report.skipped {
        output::note(&format!("not looked at: {skipped}"));
    }
    let rules = report.checked.len();
    match report.findings.len() {
        0 => output::note(&format!("clean: {rules} rules found nothing")),
        count => {
            output::note(&format!(
                "{count} findings by {rules} rules; docs/audit.md explains each"
            ));
        }
    }
}

fn finding(finding: &Finding) {
    output::line(&format!("       * {}", finding.message));
    for evidence in finding.evidence.iter().take(SHOWN) {
        output::line(&format!("         - {}", words(evidence)));
    }
    if finding.evidence.len() > SHOWN {
        output::line(&format!("         … and {} more", finding.evidence.len() - SHOWN));
    }
}

fn words(evidence: &Evidence) -> String {
    let parts = [
        evidence.pid.map(|pid| format!("pid {pid}")),
        evidence.port.map(|port| format!("port {port}")),
        evidence.path.as_ref().map(|path| path.display().to_string()),
        evidence.variable.clone(),
        evidence.detail.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

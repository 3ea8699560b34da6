//! Group 6: processes of a backend that outlived it, as shells, language servers and MCP servers can.

use super::remains::is_orphan;
use crate::finding::{Evidence, Finding};
use crate::snapshot::{MARKER, Process, Snapshot};
use std::collections::BTreeMap;

/// How much of a command line is shown.
const LINE: usize = 120;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut left: BTreeMap<&str, (&str, Vec<&Process>)> = BTreeMap::new();
    for process in snapshot.processes.values().filter(|process| is_ours(snapshot, process)) {
        let Some(marker) = process.env.get(MARKER) else { continue };
        let Some(repo) = repo_of(snapshot, marker) else { continue };
        if snapshot.live_backend(marker).is_none() {
            left.entry(marker).or_insert((repo, Vec::new())).1.push(process);
        }
    }
    for (repo, processes) in left.into_values() {
        let message = format!("{repo}: {} processes have outlived their backend", processes.len());
        let evidence = processes.iter().map(|process| {
            let line: String = process.args.join(" ").chars().take(LINE).collect();
            let evidence = Evidence::pid(process.pid).maybe_at(process.cwd.as_deref());
            evidence.by(MARKER).saying(format!("{repo}: `{line}`"))
        });
        findings.push(Finding::of("RP612", message, evidence.collect()));
    }
}

/// Whether no other rule has it: a backend itself is RP705's, an orphaned OpenCode RP601's. repod's own
/// commands end by themselves.
fn is_ours(snapshot: &Snapshot, process: &Process) -> bool {
    let is_backend = process.is_opencode() && snapshot.repo_dir_of(process).is_some();
    let is_named = process.is_opencode() && is_orphan(snapshot, process);
    process.in_scope && process.state != 'Z' && !process.is_repod() && !is_backend && !is_named
}

/// The repo of a marker of this home's, if its entry can be understood: otherwise nobody knows what lives.
fn repo_of<'a>(snapshot: &Snapshot, marker: &'a str) -> Option<&'a str> {
    let rest =
        marker.strip_prefix(&snapshot.home_mark).filter(|_| !snapshot.home_mark.is_empty())?;
    let (repo, _) = rest.split_once('/')?;
    let dir = snapshot.home.join("repos").join(repo);
    let is_known = !snapshot.unreadable.iter().any(|it| it.path.parent() == Some(&dir));
    is_known.then_some(repo)
}

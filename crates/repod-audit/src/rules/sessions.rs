//! Group 4: sessions that wrote into each other's work. In repod's backends
//! leases see to that: a turn may well be under way there while it waits for another one's.

use crate::finding::{Evidence, Finding};
use crate::snapshot::{Process, Snapshot, Turn};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut checkouts: BTreeMap<&Path, Vec<(&Turn, &Path)>> = BTreeMap::new();
    let theirs = |path: &Path| {
        let has = |process: &Process| process.files.iter().any(|file| file == path);
        path.starts_with(&snapshot.home)
            || snapshot.opencode().any(|p| snapshot.is_managed(p) && has(p))
    };
    for database in snapshot.databases.iter().filter(|database| !theirs(&database.path)) {
        let name = database.path.display();
        for (rule, filed, message) in [
            (
                "RP402",
                &database.misfiled,
                format!("`{name}` has sessions under a project of another directory"),
            ),
            (
                "RP403",
                &database.worktrees,
                format!("`{name}` has the sessions of several worktrees under one project"),
            ),
        ] {
            let evidence = filed.iter().map(|(directory, worktree)| {
                Evidence::path(directory).saying(format!("filed under `{}`", worktree.display()))
            });
            if !filed.is_empty() {
                findings.push(Finding::of(rule, message, evidence.collect()));
            }
        }
        for turn in &database.turns {
            checkouts.entry(&turn.checkout).or_default().push((turn, &database.path));
        }
    }
    for (checkout, turns) in checkouts {
        let meets = |(one, _): &&(&Turn, &Path)| turns.iter().any(|(other, _)| overlap(one, other));
        let met: Vec<_> = turns.iter().filter(meets).collect();
        if met.is_empty() {
            continue;
        }
        let mut evidence: Vec<Evidence> = Vec::new();
        for (turn, database) in &met {
            let detail = format!("session {} (`{}`)", turn.root_session, turn.title);
            let pids = writers(snapshot, checkout, database);
            let one = Evidence::path(checkout).saying(detail);
            match pids.as_slice() {
                [] => evidence.push(one),
                pids => evidence
                    .extend(pids.iter().map(|pid| Evidence { pid: Some(*pid), ..one.clone() })),
            }
        }
        let message = format!(
            "in `{}`, turns of different sessions wrote files while the others did",
            checkout.display()
        );
        findings.push(Finding::of("RP401", message, evidence));
    }
}

/// Both under way at one time, of sessions that aren't of one family.
fn overlap(one: &Turn, other: &Turn) -> bool {
    one.root_session != other.root_session && one.from <= other.to && other.from <= one.to
}

/// Who may have done it: a record doesn't name the process. Those that work there, or else all that have
/// the database open.
fn writers(snapshot: &Snapshot, checkout: &Path, database: &Path) -> Vec<u32> {
    let open = |p: &&Process| p.files.iter().any(|file| file == database);
    let there = |p: &&Process| {
        p.checkout.as_ref().map(|c| &*c.root) == Some(checkout)
            || p.cwd.as_deref() == Some(checkout)
    };
    let all: Vec<&Process> = snapshot.opencode().filter(open).collect();
    let near: Vec<u32> = all.iter().copied().filter(there).map(|p| p.pid).collect();
    if near.is_empty() { all.iter().map(|p| p.pid).collect() } else { near }
}

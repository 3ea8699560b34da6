//! Group 6: what was left behind, and what is in disorder.

use crate::finding::{Evidence, Finding};
use crate::snapshot::{Backend, Process, Record, Snapshot};
use semver::Version;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for process in snapshot.plain().filter(|process| is_orphan(snapshot, process)) {
        let message = format!("process {} has nobody it belongs to any more", process.pid);
        let evidence = Evidence::pid(process.pid)
            .maybe_at(process.cwd.as_deref())
            .saying(format!("parent {}", process.ppid));
        findings.push(Finding::of("RP601", message, vec![evidence]));
    }
    let zombies =
        snapshot.processes.values().filter(|p| p.in_scope && p.state == 'Z' && p.is_opencode());
    for process in zombies {
        let message = format!("process {} is a zombie of process {}", process.pid, process.ppid);
        let evidence = Evidence::pid(process.pid).saying(format!("parent {}", process.ppid));
        findings.push(Finding::of("RP602", message, vec![evidence]));
    }
    for (record, backend) in stale(snapshot) {
        let message = format!("{}: its backend, process {}, is gone", record.repo_id, backend.pid);
        let evidence = Evidence::pid(backend.pid).at(&record.file);
        findings.push(Finding::of("RP603", message, vec![evidence]));
    }
    for loose in &snapshot.loose {
        let message = format!("`{}`: {}", loose.path.display(), loose.cause);
        findings.push(Finding::of("RP604", message, vec![Evidence::path(&loose.path)]));
    }
    for database in &snapshot.databases {
        if let Some(damage) = &database.damage {
            let message = format!("`{}` is damaged", database.path.display());
            findings.push(Finding::of(
                "RP605",
                message,
                vec![Evidence::path(&database.path).saying(damage)],
            ));
        }
    }
    for broken in &snapshot.unreadable {
        let message = format!("`{}`: {}", broken.path.display(), broken.cause);
        findings.push(Finding::of("RP606", message, vec![Evidence::path(&broken.path)]));
    }
    for process in snapshot.opencode().filter(|process| process.is_exe_deleted) {
        let message = format!("process {} runs a file that is no longer there", process.pid);
        findings.push(Finding::of(
            "RP607",
            message,
            vec![Evidence::pid(process.pid).maybe_at(process.exe.as_deref())],
        ));
    }
    drift(snapshot, findings);
    logins(snapshot, findings);
    strangers(snapshot, findings);
}

/// Backends that live, with the version each reported.
fn versions(snapshot: &Snapshot) -> Vec<(&Backend, Version)> {
    let live = snapshot.records.iter().filter_map(|record| {
        let backend = record.backend.as_ref()?;
        let version = Version::parse(backend.version.as_deref()?).ok()?;
        snapshot.lives(backend).then_some((backend, version))
    });
    live.collect()
}

/// An upgrade reaches a backend at its next start, which may be weeks away.
fn drift(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let versions = versions(snapshot);
    let of = |(backend, version): &(&Backend, Version)| {
        Evidence::pid(backend.pid).saying(version.to_string())
    };
    let distinct: BTreeSet<_> = versions.iter().map(|(_, version)| version).collect();
    if distinct.len() > 1 {
        let names: Vec<_> = distinct.iter().map(ToString::to_string).collect();
        let message = format!("backends run OpenCode {}", names.join(" and "));
        findings.push(Finding::of("RP609", message, versions.iter().map(of).collect()));
    }
    let Some((path, installed)) = &snapshot.machine.installed else { return };
    let Ok(installed) = Version::parse(installed) else { return };
    let older: Vec<_> = versions.iter().filter(|(_, version)| *version < installed).collect();
    if !older.is_empty() {
        let message = format!("{} backends are older than OpenCode {installed}", older.len());
        let evidence = older.into_iter().map(|it| of(it).at(path)).collect();
        findings.push(Finding::of("RP610", message, evidence));
    }
}

fn logins(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for record in snapshot.records.iter().filter(|record| !record.logged_out.is_empty()) {
        let missing = record.logged_out.join(", ");
        let message = format!("{}: {missing} must be logged in again", record.root.display());
        let evidence = Evidence::path(&record.file).saying(missing);
        findings.push(Finding::of("RP611", message, vec![evidence]));
    }
}

/// Records whose backend has ended, or whose pid is somebody else's by now.
pub(crate) fn stale(snapshot: &Snapshot) -> impl Iterator<Item = (&Record, &Backend)> {
    snapshot.records.iter().filter_map(|record| {
        let backend = record.backend.as_ref()?;
        (!snapshot.lives(backend) || backend.boot_id != snapshot.machine.boot_id)
            .then_some((record, backend))
    })
}

/// A process that leads no session was born into its parent's. If its parent is in another one now, it is a
/// new parent: the old one has ended, and init or some other reaper took over. What leads a session was made
/// a daemon on purpose, and a unit of systemd's has an owner.
pub(super) fn is_orphan(snapshot: &Snapshot, process: &Process) -> bool {
    let process = snapshot.head(process);
    let is_reaped = match snapshot.processes.get(&process.ppid) {
        Some(parent) => parent.session != process.session,
        // Somebody else's process, like `sudo`: whether it is a reaper can be told of init alone.
        None => process.ppid <= 1,
    };
    is_reaped && !process.in_service && process.session != process.pid
}

/// repod's lock files are opened by repod alone.
fn strangers(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for process in snapshot.processes.values().filter(|process| !process.is_repod()) {
        for file in &process.files {
            let Some(rule) = lock_rule(&snapshot.home, file) else {
                continue;
            };
            let message = format!(
                "`{}` is open in process {} (`{}`)",
                file.display(),
                process.pid,
                process.comm
            );
            findings.push(Finding::of(rule, message, vec![Evidence::pid(process.pid).at(file)]));
        }
    }
}

/// Which rule a lock file falls under: the daemon's and the repos', or the branches'.
fn lock_rule(home: &Path, file: &Path) -> Option<&'static str> {
    let below = file.strip_prefix(home).ok()?;
    let parts: Vec<_> = below.iter().filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        ["repod.lock"] | ["repos", _, "lock"] => Some("RP608"),
        ["repos", _, "locks", _] => Some("RP704"),
        _ => None,
    }
}

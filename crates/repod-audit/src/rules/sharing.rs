//! Group 1: what OpenCode processes share that each of them writes.

use super::shared;
use crate::finding::{Evidence, Finding};
use crate::snapshot::{Homes, Process, Snapshot};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where a directory of a process is, and which variable says so.
type Place = fn(&Homes) -> &(PathBuf, &'static str);

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let places: [(&str, &str, Place); 4] = [
        ("RP101", "data", |homes| &homes.data),
        ("RP103", "state", |homes| &homes.state),
        ("RP104", "configuration", |homes| &homes.config),
        ("RP105", "cache", |homes| &homes.cache),
    ];
    for (rule, what, place) in places {
        let used = snapshot.plain().filter_map(|process| {
            let (path, variable) = place(process.homes.as_ref()?);
            let key = (process.mounts.clone(), path.clone());
            Some((key, Evidence::pid(process.pid).at(path).by(variable)))
        });
        for ((_, path), evidence) in shared(used) {
            let count = evidence.len();
            let message = format!("{count} processes have their {what} in `{}`", path.display());
            findings.push(Finding::of(rule, message, evidence));
        }
    }
    databases(snapshot, findings);
    for (log, line) in &snapshot.lock_failures {
        let message =
            format!("`{}` tells of a database that was locked for too long", log.display());
        let evidence = vec![Evidence::path(log).saying(line)];
        findings.push(Finding::of("RP106", message, evidence));
    }
}

/// A database counts with what lies beside it: `-wal` and `-shm` are evidence of the same finding.
fn databases(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let open = snapshot.plain().flat_map(|process| {
        let found: BTreeSet<PathBuf> =
            process.files.iter().filter_map(|file| database_of(file)).collect();
        found.into_iter().map(move |path| (path, process))
    });
    for (path, processes) in shared(open) {
        let files = |process: &Process| {
            let own = process.files.iter().filter(|file| database_of(file).as_ref() == Some(&path));
            own.map(|file| Evidence::pid(process.pid).at(file)).collect::<Vec<_>>()
        };
        let evidence = processes.iter().flat_map(|process| files(process)).collect();
        let message = format!("{} processes have `{}` open", processes.len(), path.display());
        findings.push(Finding::of("RP102", message, evidence));
    }
}

/// The database that a file is, or lies beside.
pub(super) fn database_of(file: &Path) -> Option<PathBuf> {
    let text = file.to_str()?;
    let base = text.strip_suffix("-wal").or_else(|| text.strip_suffix("-shm")).unwrap_or(text);
    base.ends_with(".db").then(|| base.into())
}

//! Group 5: limits of processes, which are limits of threads.

use super::limits::is_nearly;
use crate::finding::{Evidence, Finding};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    control_groups(snapshot, findings);
    user(snapshot, findings);
}

/// What the user has in all, against what each OpenCode may find there when it starts another.
fn user(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let used: u64 = snapshot.processes.values().map(|process| process.threads).sum();
    let limited = snapshot.opencode().filter_map(|process| Some((process, process.nproc?)));
    let near: Vec<_> = limited.filter(|(_, limit)| is_nearly(used, *limit)).collect();
    let Some(least) = near.iter().map(|(_, limit)| *limit).min() else { return };
    let message = format!("{used} of {least} processes and threads of this user are in use");
    let evidence = near.iter().map(|(process, limit)| {
        let evidence = Evidence::pid(process.pid).maybe_at(process.cwd.as_deref());
        evidence.by("nproc").saying(format!("soft {limit}, in use {used}"))
    });
    findings.push(Finding::of("RP514", message, evidence.collect()));
}

/// A group counts once, whoever of us is in it.
fn control_groups(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut full: BTreeMap<&Path, (Vec<Evidence>, u64, u64)> = BTreeMap::new();
    for process in snapshot.opencode() {
        for (group, used, limit) in
            process.groups.iter().filter(|(_, used, limit)| is_nearly(*used, *limit))
        {
            let evidence = Evidence::pid(process.pid).at(group).by("pids.max");
            full.entry(group).or_insert((Vec::new(), *used, *limit)).0.push(evidence);
        }
    }
    for (group, (evidence, used, limit)) in full {
        let message = format!("{used} of {limit} processes are in use in `{}`", group.display());
        findings.push(Finding::of("RP508", message, evidence));
    }
}

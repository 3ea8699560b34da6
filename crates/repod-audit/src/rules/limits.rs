//! Group 5: limits that agents run into.

use super::processes;
use crate::finding::{Evidence, Finding};
use crate::snapshot::{Inotify, MemoryGroup, Process, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;

/// Watches a dozen backends with large repositories need.
pub const WATCHES_WANTED: u64 = 1_048_576;
/// Instances they need; the kernel's usual 128 are used up by editors alone.
pub const INSTANCES_WANTED: u64 = 1024;
/// Free bytes below which databases begin to fail.
const FREE_WANTED: u64 = 1 << 30;
/// What one more OpenCode needs: 1.18.33 has about 310 MB when it idles.
const OPENCODE: u64 = 320 << 20;
/// Snapshots or logs that are worth a word.
const PILE: u64 = 5 << 30;
/// Those who use most of what is nearly used up are named: so many.
const USERS_SHOWN: usize = 5;
/// What is nearly used up: nine tenths.
const NEARLY: u64 = 9;

/// How much of something of inotify's a process has.
type Use = fn(&Inotify) -> u64;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let machine = &snapshot.machine;
    let wanted = machine.wanted_nofile;
    let mut low = Vec::new();
    for process in snapshot.opencode() {
        let Some((soft, hard)) = process.nofile else {
            continue;
        };
        let evidence = Evidence::pid(process.pid).maybe_at(process.cwd.as_deref()).by("nofile");
        if is_nearly(process.fds, soft) {
            let message =
                format!("process {} has {} of {soft} files open", process.pid, process.fds);
            findings.push(Finding::of("RP504", message, vec![evidence.clone()]));
        }
        if soft < wanted {
            low.push(evidence.saying(format!("soft {soft}, hard {hard}, in use {}", process.fds)));
        }
    }
    if !low.is_empty() {
        let message = format!("{} processes may have fewer than {wanted} files open", low.len());
        findings.push(Finding::of("RP501", message, low));
    }
    let of: [Use; 2] = [|it| it.watches, |it| it.instances];
    let inotify = [
        ("RP502", "fs.inotify.max_user_watches", machine.max_user_watches, WATCHES_WANTED, of[0]),
        (
            "RP503",
            "fs.inotify.max_user_instances",
            machine.max_user_instances,
            INSTANCES_WANTED,
            of[1],
        ),
    ];
    for (rule, name, limit, wanted, of) in inotify {
        let used = snapshot.processes.values().map(|p| of(&p.inotify)).sum::<u64>();
        let Some(limit) = limit else {
            continue;
        };
        let evidence = Evidence::variable(name).saying(format!("{limit}, in use {used}"));
        if is_nearly(used, limit) {
            let message = format!("{used} of {limit} ({name}) are in use");
            let most = most(snapshot, of);
            findings.push(Finding::of("RP505", message, [vec![evidence.clone()], most].concat()));
        }
        if limit < wanted {
            let message = format!("{name} is {limit}, and {wanted} are wanted");
            findings.push(Finding::of(rule, message, vec![evidence]));
        }
    }
    processes::find(snapshot, findings);
    for (path, free) in &machine.free {
        if *free < FREE_WANTED {
            let message = format!("{} MiB are free in `{}`", free >> 20, path.display());
            findings.push(Finding::of("RP506", message, vec![Evidence::path(path)]));
        }
    }
    memory(snapshot, findings);
    memory_groups(snapshot, findings);
    leaks(snapshot, findings);
    growing(snapshot, findings);
    for (dir, bytes) in snapshot.piles.iter().filter(|(_, bytes)| *bytes >= PILE) {
        let message = format!("`{}` has {} GiB", dir.display(), bytes >> 30);
        findings.push(Finding::of("RP512", message, vec![Evidence::path(dir)]));
    }
}

/// The processes that have the most of it.
fn most(snapshot: &Snapshot, of: Use) -> Vec<Evidence> {
    let mut all: Vec<_> = snapshot.processes.values().filter(|p| of(&p.inotify) > 0).collect();
    all.sort_by_key(|p| std::cmp::Reverse(of(&p.inotify)));
    let say = |p: &&Process| {
        let evidence = Evidence::pid(p.pid).maybe_at(p.cwd.as_deref());
        evidence.saying(format!("{} ({})", of(&p.inotify), p.comm))
    };
    all.iter().take(USERS_SHOWN).map(say).collect()
}

/// What the daemon's memory log says of the backends that live.
fn growing(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for record in &snapshot.records {
        let alive = record.backend.as_ref().filter(|backend| snapshot.lives(backend));
        let (Some(backend), Some(growth)) = (alive, record.growing) else { continue };
        let message = format!(
            "the memory of the backend of `{}` grows by {} MiB an hour",
            record.root.display(),
            growth.bytes_per_hour >> 20
        );
        let detail = format!(
            "from {} MiB by {} MiB so far",
            growth.from_bytes >> 20,
            growth.grown_bytes >> 20
        );
        let evidence = Evidence::pid(backend.pid).at(&record.root).saying(detail);
        findings.push(Finding::of("RP513", message, vec![evidence]));
    }
}

/// Of the machine.
fn memory(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    // A machine that runs none has no lack of it.
    if snapshot.opencode().next().is_none() {
        return;
    }
    let mib = |bytes: u64| bytes >> 20;
    if let Some((all, available)) = snapshot.machine.memory
        && available < OPENCODE
    {
        let message = format!("{} of {} MiB of memory are available", mib(available), mib(all));
        let evidence = Evidence::variable("MemAvailable");
        findings.push(Finding::of("RP509", message, vec![evidence]));
    }
    if let Some((all, free)) = snapshot.machine.swap
        && is_nearly(all - free.min(all), all)
    {
        let message = format!("{} of {} MiB of swap are free", mib(free), mib(all));
        let evidence = Evidence::variable("SwapFree");
        findings.push(Finding::of("RP510", message, vec![evidence]));
    }
}

/// A group's limit, against what is in it and what that needs at least.
fn memory_groups(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut limited: BTreeMap<&Path, (&MemoryGroup, Vec<u32>)> = BTreeMap::new();
    for process in snapshot.opencode() {
        for group in &process.memory_groups {
            limited.entry(&group.dir).or_insert((group, Vec::new())).1.push(process.pid);
        }
    }
    for (dir, (group, pids)) in limited {
        let needed = OPENCODE.saturating_mul(pids.len() as u64);
        if group.limit >= needed && !is_nearly(group.used, group.limit) {
            continue;
        }
        let (limit, used) = (group.limit >> 20, group.used >> 20);
        let message = format!(
            "`{}` may use {limit} MiB and uses {used}; {} OpenCode processes are in it",
            dir.display(),
            pids.len()
        );
        let evidence = pids.iter().map(|pid| Evidence::pid(*pid).at(dir).by(group.file));
        findings.push(Finding::of("RP511", message, evidence.collect()));
    }
}

fn leaks(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    if snapshot.libraries.is_empty() {
        return;
    }
    let bytes: u64 = snapshot.libraries.iter().map(|library| library.bytes).sum();
    let count = snapshot.libraries.len();
    let message =
        format!("{count} unpacked libraries take {} MiB, and nobody has them open", bytes >> 20);
    let evidence = snapshot.libraries.iter().map(|library| Evidence::path(&library.path)).collect();
    findings.push(Finding::of("RP507", message, evidence));
}

/// Nine tenths are gone.
pub(super) fn is_nearly(used: u64, limit: u64) -> bool {
    u128::from(used) * 10 >= u128::from(limit) * u128::from(NEARLY) && limit > 0
}

//! What holds for all processes: kernel settings, room on disk.

use super::{Sources, distinct};
use crate::snapshot::Snapshot;
use procfs::{FromBufRead, Meminfo};
use std::path::Path;

pub(super) fn read(sources: &Sources, snapshot: &mut Snapshot) {
    let setting = |name: &str| number(&sources.sysctl.join(name));
    let machine = &mut snapshot.machine;
    machine.max_user_watches = setting("fs/inotify/max_user_watches");
    machine.max_user_instances = setting("fs/inotify/max_user_instances");
    machine.wanted_nofile = sources.nofile;
    machine.installed.clone_from(&sources.installed);
    if let Some(memory) = memory(&sources.proc) {
        machine.memory = memory.mem_available.map(|available| (memory.mem_total, available));
        machine.swap = Some((memory.swap_total, memory.swap_free));
    }
    let boot_id = fs_err::read_to_string(sources.sysctl.join("kernel/random/boot_id"));
    // A scratch tree of settings needn't have one.
    let boot_id = boot_id.or_else(|_| fs_err::read_to_string("/proc/sys/kernel/random/boot_id"));
    machine.boot_id = boot_id.unwrap_or_default().trim().to_owned();
    if machine.max_user_watches.is_none() || machine.max_user_instances.is_none() {
        snapshot.skipped.push("inotify limits: the kernel doesn't tell them".to_owned());
    }
    let data = snapshot.plain().filter_map(|process| Some(process.homes.as_ref()?.data.0.clone()));
    let places = distinct(data.chain([snapshot.home.clone()]));
    snapshot.machine.free = places
        .into_iter()
        .filter_map(|path| Some((free(&path)?, path)))
        .map(|(bytes, path)| (path, bytes))
        .collect();
}

fn memory(proc: &Path) -> Option<Meminfo> {
    let text = fs_err::read(proc.join("meminfo")).ok()?;
    Meminfo::from_buf_read(text.as_slice()).ok()
}

fn number(file: &Path) -> Option<u64> {
    fs_err::read_to_string(file).ok()?.trim().parse().ok()
}

/// Bytes that this user may still write there.
fn free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

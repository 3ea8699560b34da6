//! One process after the other, out of `/proc`.
//!
//! Only this user's are looked into, and of their environment only what says where OpenCode keeps things.
//! Passwords and inline configurations are noted as being there; their values are not kept.

use super::{Sources, checkout, memory_groups, pid_groups, resolved};
use crate::snapshot::{Homes, Process, Snapshot};
use procfs::FromRead;
use procfs::process::Stat;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How the kernel marks a file that is no longer where it was.
const DELETED: &str = " (deleted)";

/// Fills in the user's processes.
pub(super) fn all(sources: &Sources, snapshot: &mut Snapshot) {
    let entries = match fs_err::read_dir(&sources.proc) {
        Ok(entries) => entries,
        Err(error) => {
            snapshot.skipped.push(format!("processes: {error}"));
            return;
        }
    };
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && let Some(process) = one(&entry.path(), pid, sources)
        {
            snapshot.processes.insert(pid, process);
        }
    }
}

/// The process, if it is this user's and still there.
fn one(dir: &Path, pid: u32, sources: &Sources) -> Option<Process> {
    let status = fs_err::read_to_string(dir.join("status")).ok()?;
    if real_uid(&status)? != sources.uid {
        return None;
    }
    let stat = Stat::from_read(fs_err::read(dir.join("stat")).ok()?.as_slice()).ok()?;
    let mut process = Process {
        pid,
        ppid: u32::try_from(stat.ppid).unwrap_or(0),
        session: u32::try_from(stat.session).unwrap_or(0),
        start_ticks: stat.starttime,
        state: stat.state,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        comm: stat.comm,
        ..Process::default()
    };
    if process.state == 'Z' {
        return Some(process);
    }
    (process.exe, process.is_exe_deleted) = executable(dir);
    process.args = strings(&fs_err::read(dir.join("cmdline")).unwrap_or_default()).collect();
    process.env = environment(&fs_err::read(dir.join("environ")).unwrap_or_default());
    process.cwd = fs_err::read_link(dir.join("cwd")).ok();
    descriptors(dir, &mut process);
    process.mounts = foreign_mounts(dir);
    if process.mounts.is_some() {
        // A container's: what is at such a path here is something else. Sockets are looked up elsewhere.
        process.files.retain(|file| file.as_os_str().as_bytes().starts_with(b"socket:["));
    }
    if process.is_opencode() {
        process.homes = homes(&process.env);
        if process.mounts.is_none() {
            process.homes = process.homes.map(Homes::resolved);
            process.checkout = process.cwd.as_deref().and_then(checkout::of);
        }
        let limits = fs_err::read_to_string(dir.join("limits")).unwrap_or_default();
        process.nofile = limit(&limits, "Max open files");
        // A superuser has no such limit.
        let nproc = limit(&limits, "Max processes").filter(|_| sources.uid != 0);
        process.nproc = nproc.map(|(soft, _)| soft);
        let cgroup = fs_err::read_to_string(dir.join("cgroup")).unwrap_or_default();
        // The last part is the unit; a terminal's is a scope.
        process.in_service = cgroup.lines().any(|line| line.ends_with(".service"));
        process.groups = pid_groups::of(&sources.cgroups, &cgroup);
        process.memory_groups = memory_groups::of(&sources.cgroups, &cgroup);
    }
    Some(process)
}

/// The first number of `Uid:`. The directory's owner would not do: it is root's for what isn't dumpable.
fn real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn executable(dir: &Path) -> (Option<PathBuf>, bool) {
    let Ok(exe) = fs_err::read_link(dir.join("exe")) else {
        return (None, false);
    };
    match exe.to_str().and_then(|text| text.strip_suffix(DELETED)) {
        Some(was) => (Some(was.into()), true),
        None => (Some(exe), false),
    }
}

fn strings(bytes: &[u8]) -> impl Iterator<Item = String> {
    let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned())
}

fn environment(bytes: &[u8]) -> BTreeMap<String, String> {
    let pairs = strings(bytes).filter_map(|entry| {
        let (name, value) = entry.split_once('=')?;
        let is_path = matches!(name, "HOME" | "TMPDIR" | "REPOD_BACKEND" | "OPENCODE_DB");
        let kept = if is_path || (name.starts_with("XDG_") && name.ends_with("_HOME")) {
            value.to_owned()
        } else if name == "OPENCODE_CONFIG_CONTENT" {
            // Who passed it on is known by comparing it; it may hold keys, so it isn't kept itself.
            format!("{} bytes, {:016x}", value.len(), fingerprint(value))
        } else if name == "OPENCODE_SERVER_PASSWORD" && !value.is_empty() {
            "set".to_owned()
        } else {
            return None;
        };
        Some((name.to_owned(), kept))
    });
    pairs.collect()
}

/// FNV-1a: equal texts are told from others, and the text can't be had back.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The directories of an OpenCode that would be started from here.
pub(super) fn own() -> Option<Homes> {
    let names = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].into_iter();
    let set = names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    homes(&set.collect())
}

/// Where OpenCode 1.18 keeps things, by its environment.
fn homes(env: &BTreeMap<String, String>) -> Option<Homes> {
    let home = env.get("HOME").map(PathBuf::from);
    let one = |variable: &'static str, default: &str| {
        let set = env.get(variable).filter(|value| !value.is_empty());
        let (base, by) = match set {
            Some(value) => (PathBuf::from(value), variable),
            None => (home.as_ref()?.join(default), "HOME"),
        };
        Some((base.join("opencode"), by))
    };
    Some(Homes {
        data: one("XDG_DATA_HOME", ".local/share")?,
        config: one("XDG_CONFIG_HOME", ".config")?,
        cache: one("XDG_CACHE_HOME", ".cache")?,
        state: one("XDG_STATE_HOME", ".local/state")?,
    })
}

impl Homes {
    /// With links resolved, so that two names of one directory are one.
    fn resolved(mut self) -> Self {
        for (path, _) in [&mut self.data, &mut self.config, &mut self.cache, &mut self.state] {
            *path = resolved(path);
        }
        self
    }
}

/// The mount namespace of the process, when `/proc` tells both and they differ.
fn foreign_mounts(dir: &Path) -> Option<PathBuf> {
    let theirs = fs_err::read_link(dir.join("ns/mnt")).ok()?;
    let ours = fs_err::read_link(dir.parent()?.join("self/ns/mnt")).ok()?;
    (theirs != ours).then_some(theirs)
}

fn descriptors(dir: &Path, process: &mut Process) {
    let Ok(entries) = fs_err::read_dir(dir.join("fd")) else {
        return;
    };
    for entry in entries.flatten() {
        process.fds += 1;
        let Ok(target) = fs_err::read_link(entry.path()) else {
            continue;
        };
        let bytes = target.as_os_str().as_bytes();
        // Sockets are kept too: `sockets` makes addresses of them.
        if bytes.first() == Some(&b'/') && !bytes.starts_with(b"/dev/")
            || bytes.starts_with(b"socket:[")
        {
            process.files.push(target);
        } else if bytes == b"anon_inode:inotify" {
            let info = fs_err::read(dir.join("fdinfo").join(entry.file_name())).unwrap_or_default();
            let watches = info.split(|byte| *byte == b'\n').filter(|l| l.starts_with(b"inotify "));
            process.inotify.instances += 1;
            process.inotify.watches += watches.count() as u64;
        }
    }
    process.files.sort();
    process.files.dedup();
}

/// Soft and hard limit of this name.
fn limit(limits: &str, name: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    // What isn't a number is `unlimited`.
    let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_known_to_be_there_and_are_not_kept() {
        let env = environment(
            b"HOME=/h\0OPENCODE_SERVER_PASSWORD=hunter2\0OPENCODE_CONFIG_CONTENT={\"key\":1}\0API_KEY=x\0",
        );
        assert_eq!(env["OPENCODE_SERVER_PASSWORD"], "set");
        assert!(!format!("{env:?}").contains("key"));
        assert_eq!(env.len(), 3);
    }

    #[test]
    fn an_empty_xdg_variable_is_an_unset_one() {
        let env = environment(b"HOME=/nowhere/h\0XDG_DATA_HOME=\0XDG_STATE_HOME=/nowhere/s\0");
        let homes = homes(&env).unwrap();
        assert_eq!(homes.data, ("/nowhere/h/.local/share/opencode".into(), "HOME"));
        assert_eq!(homes.state, ("/nowhere/s/opencode".into(), "XDG_STATE_HOME"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_environment(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = environment(&bytes);
        }
    }
}

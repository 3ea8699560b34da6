//! What a process tree uses, read per process: `smaps_rollup` and, in between, `status` for memory, `fd` for open files,
//! `fdinfo` of those that are inotify's for the watches.
//!
//! One pass over `/proc` ([`Snapshot`]) serves all trees; here only the processes of one are read.
//! A process that ends meanwhile counts for what had been read of it.

use super::Snapshot;
use super::kind::{Kind, kind};
use crate::identity::ProcessIdentity;
use crate::procfile;
use procfs::FromRead;
use procfs::process::Status;
use repod_proto::TreeUsage;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

/// How long what a process shares is believed. To ask costs the kernel a walk over all its pages
/// (18 ms for 600 MB), the rest of the memory nothing; and what is shared, libraries, hardly changes.
const BELIEVED: Duration = Duration::from_secs(60);

/// What processes share with others, by pid and start time, as last asked.
#[derive(Debug, Default)]
pub struct Shares(HashMap<(u32, u64), (Instant, u64)>);

impl Shares {
    /// Forgets all: among how many a page is shared has changed.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Forgets what has not been asked for long: the processes are gone, or are asked anew anyway.
    pub fn forget_old(&mut self) {
        self.0.retain(|_, (at, _)| at.elapsed() < BELIEVED);
    }
}

impl Snapshot {
    /// What the leader's tree uses now; `None` when the leader was not there. Blocks: the kernel
    /// walks the page tables, some milliseconds for a backend.
    pub fn usage(&self, leader: &ProcessIdentity, shares: &mut Shares) -> Option<TreeUsage> {
        let tree = self.tree(leader)?;
        let mut sum = TreeUsage::default();
        for pid in tree {
            self.add_usage(pid, shares, &mut sum);
            if pid != leader.pid {
                let line = procfile::read(pid, "cmdline").ok().flatten().unwrap_or_default();
                match kind(&line) {
                    Kind::Lsp => sum.lsp += 1,
                    Kind::Mcp => sum.mcp += 1,
                    Kind::Shell => sum.shells += 1,
                    Kind::Other => {}
                }
            }
        }
        Some(sum)
    }

    fn add_usage(&self, pid: u32, shares: &mut Shares, sum: &mut TreeUsage) {
        let (threads, resident) = self.threads_and_rss(pid);
        sum.processes += 1;
        sum.threads += threads;
        match self.memory(pid, shares) {
            Ok(Some(memory)) => {
                sum.rss += memory.rss;
                sum.pss += memory.pss;
                sum.anonymous += memory.anonymous;
                sum.swap += memory.swap;
            }
            // It has ended, or is a zombie, which has no memory.
            Ok(None) => {}
            // One that forbids to look (not dumpable): what anybody may know of it.
            Err(_) => {
                sum.unread += 1;
                sum.rss += resident;
                sum.pss += resident;
            }
        }
        let Ok(files) = fs_err::read_dir(format!("/proc/{pid}/fd")) else { return };
        for file in files.flatten() {
            sum.fds += 1;
            let Ok(target) = fs_err::read_link(file.path()) else { continue };
            if target.as_os_str() == "anon_inode:inotify" {
                let name = format!("fdinfo/{}", file.file_name().to_string_lossy());
                let info = procfile::read(pid, &name).ok().flatten().unwrap_or_default();
                sum.inotify_watches += watches(&info);
            }
        }
    }
}

impl Snapshot {
    fn memory(&self, pid: u32, shares: &mut Shares) -> io::Result<Option<Rollup>> {
        let key = (pid, self.identity(pid).map_or(0, |identity| identity.start_ticks));
        if let Some((at, shared)) = shares.0.get(&key)
            && at.elapsed() < BELIEVED
        {
            let Some(text) = procfile::read(pid, "status")? else { return Ok(None) };
            let status = Status::from_read(text.as_slice()).map_err(io::Error::other)?;
            let [rss, anonymous, swap] = [status.vmrss, status.rssanon, status.vmswap]
                .map(|kib| kib.unwrap_or_default().saturating_mul(1024));
            return Ok(Some(Rollup { rss, pss: rss.saturating_sub(*shared), anonymous, swap }));
        }
        let Some(text) = procfile::read(pid, "smaps_rollup")? else { return Ok(None) };
        let memory = rollup(&String::from_utf8_lossy(&text));
        shares.0.insert(key, (Instant::now(), memory.rss.saturating_sub(memory.pss)));
        Ok(Some(memory))
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Rollup {
    rss: u64,
    pss: u64,
    anonymous: u64,
    swap: u64,
}

/// The lines of `smaps_rollup` that count, like `Pss:  123 kB`; in bytes.
fn rollup(text: &str) -> Rollup {
    let mut memory = Rollup::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let place = match name {
            "Rss" => &mut memory.rss,
            "Pss" => &mut memory.pss,
            "Anonymous" => &mut memory.anonymous,
            "Swap" => &mut memory.swap,
            _ => continue,
        };
        let kib = value.trim().strip_suffix("kB").and_then(|kib| kib.trim().parse::<u64>().ok());
        *place = kib.unwrap_or_default().saturating_mul(1024);
    }
    memory
}

/// How many watches an inotify's `fdinfo` lists: one line each.
fn watches(info: &[u8]) -> u64 {
    info.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"inotify ")).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read_in_bytes() {
        let text = "00400000-7ffd rollup\nRss:   300 kB\nPss:  200 kB\nPss_Anon: 1 kB\n\
                    Anonymous:  100 kB\nSwap:   4 kB\nSwapPss: 9 kB\n";
        let memory = Rollup { rss: 300 << 10, pss: 200 << 10, anonymous: 100 << 10, swap: 4 << 10 };
        assert_eq!(rollup(text), memory);
        assert_eq!(rollup("nonsense"), Rollup::default());
        assert_eq!(watches(b"pos:\t0\ninotify wd:2 ino:1\ninotify wd:1 ino:9\n"), 2);
    }

    #[test]
    fn this_very_process_uses_what_it_holds() {
        let me = ProcessIdentity::mine().unwrap();
        let mut shares = Shares::default();
        let before = Snapshot::take().unwrap().usage(&me, &mut shares).unwrap();
        assert!(before.rss >= before.pss && before.pss > 1 << 20, "{before:?}");
        assert!(before.anonymous > 0 && before.threads >= 2 && before.unread == 0, "{before:?}");
        let dir = tempfile::tempdir().unwrap();
        let inotify = inotify::Inotify::init().unwrap();
        inotify.watches().add(dir.path(), inotify::WatchMask::CREATE).unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = Snapshot::take().unwrap().usage(&me, &mut shares).unwrap();
        // Tests beside this one use memory too.
        assert!(after.anonymous > before.anonymous + (block.len() as u64 / 2), "{after:?}");
        assert!(after.inotify_watches >= 1 && after.fds > 3, "{after:?}");
        let other = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        assert_eq!(Snapshot::take().unwrap().usage(&other, &mut shares), None);
    }
}

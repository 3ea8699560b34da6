//! The end of a world: stop what repod runs, find what is left, end it, and say so.
//!
//! A process belongs to the world when the world's unique directory is in its environment. That
//! is checked again after the pidfd was opened, so a reused pid is never signalled.

use crate::proc::{self, Handle};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SHUTDOWN_BOUND: Duration = Duration::from_secs(60);
/// Time for processes that are on their way out already.
const GRACE: Duration = Duration::from_secs(3);
const TERM_BOUND: Duration = Duration::from_secs(3);
const KILL_BOUND: Duration = Duration::from_secs(10);
const LOG_TAIL: usize = 16 * 1024;

/// A process of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldProcess {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_time: u64,
    /// Command line.
    pub cmdline: String,
    /// Its environment, as `NAME=value`.
    pub environ: Vec<String>,
}

impl WorldProcess {
    /// The value of a variable of its environment.
    pub fn env(&self, name: &str) -> Option<&str> {
        let values = self.environ.iter().filter_map(|entry| entry.split_once('='));
        values.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl fmt::Display for WorldProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.cmdline)
    }
}

/// The process, if it belongs to the world in `root`.
fn belonging(pid: u32, root: &str) -> Option<WorldProcess> {
    let environ = proc::environ(pid);
    if pid == std::process::id() || !environ.iter().any(|entry| entry.contains(root)) {
        return None;
    }
    let start_time = proc::start_time(pid)?;
    Some(WorldProcess { pid, start_time, cmdline: proc::cmdline(pid), environ })
}

pub(super) fn processes(root: &Path) -> Vec<WorldProcess> {
    let root = root.to_string_lossy();
    proc::all_pids().into_iter().filter_map(|pid| belonging(pid, &root)).collect()
}

/// Holds what is left of the world.
fn held(root: &Path) -> Vec<(WorldProcess, Handle)> {
    let name = root.to_string_lossy();
    let held = processes(root).into_iter().filter_map(|process| {
        let handle = Handle::open(process.pid).ok()?;
        // Asked again: only now does the pid stand for one process.
        let again = belonging(process.pid, &name)?;
        (again.start_time == process.start_time).then_some((again, handle))
    });
    held.collect()
}

/// Waits for the end of all, `bound` in all.
fn wait_all(held: &[(WorldProcess, Handle)], bound: Duration) {
    let deadline = Instant::now() + bound;
    for (_, handle) in held {
        handle.wait_exit(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Ends every process of the world and returns those that did not end by themselves.
pub(super) fn clear(root: &Path) -> Vec<WorldProcess> {
    wait_all(&held(root), GRACE);
    let mut left: Vec<WorldProcess> = Vec::new();
    for (gently, bound) in [(true, TERM_BOUND), (false, KILL_BOUND), (false, KILL_BOUND)] {
        let held = held(root);
        for (process, handle) in &held {
            // It may have ended since; then there is nothing to signal.
            let _ = if gently { handle.terminate() } else { handle.kill() };
            if !left.iter().any(|p| (p.pid, p.start_time) == (process.pid, process.start_time)) {
                left.push(process.clone());
            }
        }
        if held.is_empty() {
            break;
        }
        wait_all(&held, bound);
    }
    left
}

/// `repod shutdown --backends`; that there is no daemon is no failure here.
pub(super) fn shutdown(mut command: Command) {
    command.args(["shutdown", "--backends"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return;
    };
    let ended = Handle::open(child.id()).is_ok_and(|handle| handle.wait_exit(SHUTDOWN_BOUND));
    if !ended {
        print("`repod shutdown --backends` did not end in time");
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// The tails of the daemon's log and of every backend's.
pub(super) fn print_logs(home: &repod_proto::Home) {
    let repos = fs_err::read_dir(home.repos()).into_iter().flatten().flatten();
    let backends = repos.map(|repo| repo.path().join("log").join("backend.log"));
    for path in std::iter::once(home.log()).chain(backends) {
        print_tail(&path);
    }
}

fn print_tail(path: &PathBuf) {
    let Ok(bytes) = fs_err::read(path) else {
        return;
    };
    let tail = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
    print(&format!("--- tail of {}\n{}---", path.display(), String::from_utf8_lossy(tail)));
}

/// Past the test harness's capture is wrong, a panic within `Drop` is worse: errors are dropped.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

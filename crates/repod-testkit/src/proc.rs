//! Processes as the tests see them: `/proc` to look, a pidfd to signal and to wait.
//!
//! A signal goes through a pidfd whose process was identified after the pidfd was opened, so a
//! reused pid is never hit.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One reading of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `T` (stopped), `Z` (zombie), …
    pub state: char,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub pgrp: u32,
    /// Session.
    pub session: u32,
    /// Start time in clock ticks since boot; with the pid it names the process for good.
    pub start_time: u64,
}

/// Reads the process's state; `None` when there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok());
    let small = |at: usize| number(at).and_then(|n| u32::try_from(n).ok());
    Some(Stat {
        state: fields.first()?.chars().next()?,
        ppid: small(1)?,
        pgrp: small(2)?,
        session: small(3)?,
        start_time: number(19)?,
    })
}

/// Start time in clock ticks since boot.
pub fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|s| s.start_time)
}

/// Whether the process exists and is not a zombie.
pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|s| s.state != 'Z')
}

/// Whether the process has ended and waits for its parent to notice.
pub fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|s| s.state == 'Z')
}

/// The command line, its arguments joined by spaces; empty for a zombie.
pub fn cmdline(pid: u32) -> String {
    let raw = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args = raw.split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
    args.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// The environment the process was started with, as `NAME=value`; empty when it can't be read.
pub fn environ(pid: u32) -> Vec<String> {
    let raw = fs_err::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let entries = raw.split(|b| *b == 0).filter(|entry| !entry.is_empty());
    entries.map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// Every pid there is now.
pub fn all_pids() -> Vec<u32> {
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// Children of `pid`, not their children.
pub fn children(pid: u32) -> Vec<u32> {
    all_pids().into_iter().filter(|p| stat(*p).is_some_and(|s| s.ppid == pid)).collect()
}

/// What the process's descriptors point to, without pipes, sockets and other unnamed things.
pub fn open_files(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let targets = entries.flatten().filter_map(|e| fs_err::read_link(e.path()).ok());
    targets.filter(|target| target.is_absolute()).collect()
}

/// A process held by its pidfd.
#[derive(Debug)]
pub struct Handle {
    pid: u32,
    fd: OwnedFd,
    start_time: u64,
}

impl Handle {
    /// Holds the process that has this pid now.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn open(pid: u32) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}"));
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let fd = pidfd_open(raw, PidfdFlags::empty())?;
        let start_time = start_time(pid).ok_or_else(gone)?;
        Ok(Self { pid, fd, start_time })
    }

    /// The pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Start time in clock ticks since boot.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone or not ours.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// `SIGSTOP`.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// `SIGCONT`.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn cont(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// `SIGTERM`.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// `SIGKILL`.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Waits until the process has ended (it may still be a zombie). `false` at the bound.
    pub fn wait_exit(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return true,
                Err(_) => return !is_running(self.pid),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_stopped_continued_and_killed_by_its_handle() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let handle = Handle::open(child.id()).unwrap();
        assert_eq!(stat(child.id()).unwrap().ppid, std::process::id());
        handle.stop().unwrap();
        handle.cont().unwrap();
        assert!(!handle.wait_exit(Duration::from_millis(10)));
        handle.kill().unwrap();
        assert!(handle.wait_exit(Duration::from_secs(10)));
        assert!(is_zombie(child.id()) && !is_running(child.id()));
        child.wait().unwrap();
        assert_eq!(stat(child.id()), None);
        assert!(handle.kill().is_err());
    }
}

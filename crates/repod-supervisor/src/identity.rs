//! Which process a pid means, and a handle that can never come to mean another one.
//!
//! A pid is a number that is given out again. Signals to a pid read from a file have killed
//! strangers, so repod knows a process by three facts (pid, start time, boot id) and acts on it only
//! through a pidfd: the fd is opened first, the facts are compared after, and whatever the pid comes
//! to mean later, the fd stays with the process that was checked. A zombie is dead: it has nothing
//! left to adopt or to signal.

use crate::procfile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use rustix::process::Signal;

/// Why a process could not be examined. That it is gone is not an error.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The boot id can't be read.
    #[error("cannot read the boot id")]
    BootId(#[source] io::Error),
    /// What `/proc` says about the process can't be read.
    #[error("cannot read the state of process {pid}")]
    State {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No pidfd could be opened (out of fds, or a sandbox that forbids the call).
    #[error("cannot open a handle on process {pid}")]
    Handle {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The signal could not be sent.
    #[error("cannot signal process {pid}")]
    Signal {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The three facts that name one process and no other, on this machine and for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// The boot in which it started.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// The identity of the process that has this pid now, a zombie included. `None`: there is none.
    ///
    /// Only a caller that knows by other means whose pid it is (its parent before reaping it, the
    /// process itself) may keep the result as that process's identity.
    pub fn of(pid: u32) -> Result<Option<Self>, IdentityError> {
        let stat = procfile::stat(pid).map_err(|source| IdentityError::State { pid, source })?;
        let Some(stat) = stat else { return Ok(None) };
        Ok(Some(Self { pid, start_ticks: stat.starttime, boot_id: boot_id()?.to_owned() }))
    }

    /// The identity of the calling process.
    pub fn mine() -> Result<Self, IdentityError> {
        let pid = std::process::id();
        Self::of(pid)?.ok_or_else(|| IdentityError::State {
            pid,
            source: io::Error::new(io::ErrorKind::NotFound, "not listed in `/proc`"),
        })
    }

    /// A handle on exactly this process, or `None` when it is not alive: gone, a zombie, of another
    /// boot, or its pid means somebody else by now.
    pub fn verify(&self) -> Result<Option<ProcessHandle>, IdentityError> {
        if self.boot_id != boot_id()? {
            return Ok(None);
        }
        let pid = self.pid;
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        // The order matters: whatever is compared below is compared while the fd is held, so the pid
        // can't be given to another process between the check and a later signal.
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // `EINVAL` (and `ENOENT` since 6.9): the number is a thread's now, not a process's.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(errno) => {
                return Err(IdentityError::Handle { pid, source: errno.into() });
            }
        };
        let stat = procfile::stat(pid).map_err(|source| IdentityError::State { pid, source })?;
        if stat.is_none_or(|stat| stat.starttime != self.start_ticks) {
            return Ok(None);
        }
        let handle = ProcessHandle { identity: self.clone(), pidfd };
        Ok(handle.is_alive().then_some(handle))
    }
}

/// The id of this boot. It can't change while this process lives, so it is read once.
fn boot_id() -> Result<&'static str, IdentityError> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id);
    }
    let text =
        fs_err::read_to_string("/proc/sys/kernel/random/boot_id").map_err(IdentityError::BootId)?;
    Ok(BOOT_ID.get_or_init(|| text.trim().to_owned()))
}

/// A hold on one verified process. Works for children and strangers alike.
#[derive(Debug)]
pub struct ProcessHandle {
    identity: ProcessIdentity,
    pidfd: OwnedFd,
}

impl ProcessHandle {
    /// Which process it is.
    pub fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// Its process id, for display. Signals go through [`Self::signal`] only.
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Whether it has not ended yet. A zombie has ended.
    pub fn is_alive(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            // A pidfd is readable from the moment the last thread has ended. (The letter `Z` in
            // `/proc/PID/stat` would come too early: it tells of the first thread alone.)
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)) {
                Ok(ready) => return ready == 0,
                Err(Errno::INTR) => {}
                // Only a lack of kernel memory is left; "unknown" must not read as "dead".
                Err(_) => return true,
            }
        }
    }

    /// Sends the signal. `false`: the process had already ended, and nothing was signalled.
    pub fn signal(&self, signal: Signal) -> Result<bool, IdentityError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => {
                Err(IdentityError::Signal { pid: self.identity.pid, source: errno.into() })
            }
        }
    }

    /// Waits until the process has ended. Safe to cancel; needs a tokio runtime.
    pub async fn exited(&self) -> Result<(), IdentityError> {
        let failed = |source| IdentityError::Handle { pid: self.identity.pid, source };
        // A copy of the fd, so that several tasks may wait on one handle: epoll takes each fd once.
        let copy = self.pidfd.try_clone().map_err(failed)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for fds that don't own; this one does"
        )]
        let waiting = AsyncFd::with_interest(copy, Interest::READABLE).map_err(failed)?;
        while self.is_alive() {
            let mut guard = waiting.readable().await.map_err(failed)?;
            if self.is_alive() {
                guard.clear_ready();
            }
        }
        Ok(())
    }
}

//! How a process ended, and the reaping of children nobody waits for any more.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It returned this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It was not our child, and only its parent is told.
    Unknown,
}

impl From<ExitStatus> for ExitReason {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => match signal_name(signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::Unknown => {
                f.write_str("ended (how is unknown: it was not started by this daemon)")
            }
        }
    }
}

/// The name of a signal on x86-64 and arm64.
fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    NAMES.get(usize::try_from(signal).ok()?.checked_sub(1)?).copied()
}

/// Children that were let go of. They are reaped whenever another one is started, so that what ends
/// in the meantime does not stay behind as a zombie for the daemon's whole life.
static ORPHANS: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// The duty to reap one child. Dropped undone, it passes to [`ORPHANS`].
#[derive(Debug)]
pub(super) struct Reaper {
    pid: u32,
    child: Option<Child>,
}

impl Reaper {
    pub(super) fn new(child: Child) -> Self {
        Self { pid: child.id(), child: Some(child) }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Reaps the child, which is known to have ended (or to be about to, see `release`).
    ///
    /// Never blocks: a debugger that traces the child reaps it first, and may take its time.
    pub(super) fn reap(&mut self) -> ExitReason {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                self.child = None;
                status.into()
            }
            _ => ExitReason::Unknown,
        }
    }

    pub(super) fn reap_orphans() {
        let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        if matches!(child.try_wait(), Ok(None)) {
            ORPHANS.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_in_plain_words() {
        assert_eq!(ExitReason::Code(3).to_string(), "exited with code 3");
        assert_eq!(ExitReason::Signal(9).to_string(), "killed by SIGKILL");
        assert_eq!(ExitReason::Signal(31).to_string(), "killed by SIGSYS");
        assert_eq!(ExitReason::Signal(40).to_string(), "killed by signal 40");
    }
}

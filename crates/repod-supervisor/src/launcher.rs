//! Starting a process so that it is on record before it runs.
//!
//! A daemon that spawns, and dies before it has written down what it spawned, leaves an orphan that
//! nobody can name. So a backend is spawned in two steps. The first process is repod itself, as a
//! launcher that does nothing but wait for one byte; its pid and start time are already those of the
//! backend, since `exec` keeps both. The daemon records them, then sends the byte, and the launcher
//! becomes the backend. If the daemon dies in between, the pipe closes and the launcher ends quietly.
//!
//! ```text
//! HeldChild ──release()──► RunningChild ──wait()──► ExitReason
//!     └── dropped, or the daemon dies: the launcher reads EOF and ends; nothing has run
//! ```

mod child;
mod exit;

pub use child::{LAUNCH_VERB, launch_main};
pub use exit::ExitReason;

use crate::identity::{IdentityError, ProcessHandle, ProcessIdentity, Signal};
use exit::Reaper;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The byte that releases a held child.
const GO: u8 = b'g';

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A pipe or a second fd of the log could not be had.
    #[error("cannot prepare the start of `{program}`")]
    Prepare {
        /// What was to be started.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The launcher could not be run.
    #[error("cannot run the launcher `{launcher}` in `{cwd}`")]
    Spawn {
        /// The binary.
        launcher: String,
        /// The directory it was to start in (a missing one fails here too).
        cwd: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The launcher ended before it was released.
    #[error("the launcher of `{program}` ended early: {reason}")]
    EndedEarly {
        /// What was to be started.
        program: String,
        /// How it ended.
        reason: ExitReason,
    },
    /// The child could not be examined.
    #[error("cannot identify the new process")]
    Identity(#[from] IdentityError),
}

/// What to start, and how.
#[derive(Debug)]
pub struct HeldSpawn {
    /// The binary whose `main` calls [`launch_main`]: repod itself.
    pub launcher: PathBuf,
    /// Arguments for it that come before [`LAUNCH_VERB`]; normally none.
    pub launcher_args: Vec<OsString>,
    /// The program to become. Looked up on `env`'s `PATH` when it has no slash.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Where stdout and stderr go. Open it for appending: several writers share it.
    pub log: File,
}

/// A process that exists, has its final pid, start time and session, and has not run anything yet.
#[derive(Debug)]
pub struct HeldChild {
    program: String,
    gate: PipeWriter,
    running: RunningChild,
}

impl HeldChild {
    /// Spawns the launcher, which waits for [`Self::release`].
    ///
    /// Blocks for the few milliseconds that `fork` and `exec` take.
    pub fn spawn(spawn: HeldSpawn) -> Result<Self, LaunchError> {
        let program = spawn.program.to_string_lossy().into_owned();
        let prepare = |source| LaunchError::Prepare { program: program.clone(), source };
        // Both ends are close-on-exec, as every fd of a Rust program is: no other child can hold the
        // pipe open, and this child gets the reading end alone, as its stdin.
        let (wait, gate) = io::pipe().map_err(prepare)?;
        let stderr = spawn.log.try_clone().map_err(prepare)?;
        Reaper::reap_orphans();
        let child = Command::new(&spawn.launcher)
            .args(&spawn.launcher_args)
            .arg(LAUNCH_VERB)
            .arg("--")
            .arg(&spawn.program)
            .args(&spawn.args)
            .env_clear()
            .envs(&spawn.env)
            .current_dir(&spawn.cwd)
            .stdin(Stdio::from(wait))
            .stdout(Stdio::from(spawn.log))
            .stderr(Stdio::from(stderr))
            .spawn()
            .map_err(|source| LaunchError::Spawn {
                launcher: spawn.launcher.display().to_string(),
                cwd: spawn.cwd.display().to_string(),
                source,
            })?;
        let mut reaper = Reaper::new(child);
        // The pid can't be given away before the child is reaped, so this identity is the child's.
        let identity = ProcessIdentity::of(reaper.pid())?;
        let handle = identity.map(|identity| identity.verify()).transpose()?.flatten();
        let Some(handle) = handle else {
            return Err(LaunchError::EndedEarly { program, reason: reaper.reap() });
        };
        let running = RunningChild { handle, reaper: Some(reaper), reason: None };
        Ok(Self { program, gate, running })
    }

    /// Who the backend is going to be. Record it before [`Self::release`].
    pub fn identity(&self) -> &ProcessIdentity {
        self.running.handle.identity()
    }

    /// Lets it run: the launcher becomes the program.
    ///
    /// Whether the program could be executed shows only later: if not, one line in the log and exit
    /// code 127.
    pub fn release(mut self) -> Result<RunningChild, LaunchError> {
        // One byte into an empty pipe never blocks, and fails when nobody can read it any more. That
        // alone would not tell: another child of the daemon, forked but not yet at its `exec`, holds a
        // copy of the other end for a moment.
        if !self.running.handle.is_alive() || self.gate.write_all(&[GO]).is_err() {
            let _ = self.running.handle.signal(Signal::KILL);
            let reaper = self.running.reaper.as_mut();
            let reason = reaper.map_or(ExitReason::Unknown, Reaper::reap);
            return Err(LaunchError::EndedEarly { program: self.program, reason });
        }
        Ok(self.running)
    }

    /// Gives up: the launcher ends without having run anything. (Dropping does the same, but does not
    /// wait.)
    pub async fn abandon(self) -> Result<ExitReason, IdentityError> {
        drop(self.gate);
        let mut running = self.running;
        running.wait().await
    }
}

/// A released child of ours, or an adopted process of an earlier daemon.
///
/// Dropping it lets the process go on.
#[derive(Debug)]
pub struct RunningChild {
    handle: ProcessHandle,
    reaper: Option<Reaper>,
    reason: Option<ExitReason>,
}

impl RunningChild {
    /// Takes over a process that another daemon started and that has been verified.
    pub fn adopted(handle: ProcessHandle) -> Self {
        Self { handle, reaper: None, reason: None }
    }

    /// The hold on the process.
    pub fn handle(&self) -> &ProcessHandle {
        &self.handle
    }

    /// Which process it is.
    pub fn identity(&self) -> &ProcessIdentity {
        self.handle.identity()
    }

    /// Whether it was adopted: how it ended will then be unknown.
    pub fn is_adopted(&self) -> bool {
        self.reaper.is_none() && self.reason.is_none()
    }

    /// Waits until it has ended, reaps it when it is our child, and says how it ended.
    ///
    /// Safe to cancel; a second call gives the same answer.
    pub async fn wait(&mut self) -> Result<ExitReason, IdentityError> {
        if let Some(reason) = self.reason {
            return Ok(reason);
        }
        self.handle.exited().await?;
        let reason = self.reaper.take().map_or(ExitReason::Unknown, |mut reaper| reaper.reap());
        self.reason = Some(reason);
        Ok(reason)
    }
}

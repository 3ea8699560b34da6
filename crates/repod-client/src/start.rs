//! Starting a daemon: the home, the lock it inherits, and the one line it reports with.

use crate::connect::{StartPolicy, died};
use repod_proto::{ApiError, ErrorBody, ErrorCode, Home, REQUEST_ID_VARIABLE};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};

/// A daemon reports with one line; more than this is not one.
const REPORT_MAX: u64 = 64 * 1024;

/// Variables of ours that are about one process, and not about those it starts.
const OURS: [&str; 2] = ["REPOD_BACKEND", REQUEST_ID_VARIABLE];

/// A daemon that was spawned and has not yet reported.
pub(crate) struct Starting {
    report: pipe::Receiver,
}

pub(crate) fn binary(policy: &StartPolicy) -> Result<PathBuf, ApiError> {
    match policy {
        StartPolicy::With(path) => Ok(path.clone()),
        StartPolicy::FromPath | StartPolicy::Never => which::which("repod").map_err(|_| {
            ApiError::new(
                ErrorCode::DaemonUnavailable,
                "no `repod` on PATH to start the daemon with",
            )
            .hint("put the repod binary on PATH, or start `repod daemon` yourself")
        }),
    }
}

/// Creates the home, or checks that it is a directory of ours and closes it to others.
///
/// # Errors
/// [`ErrorCode::HomeUnusable`] with the reason.
pub fn prepare_home(home: &Home) -> Result<(), ApiError> {
    let dir = home.dir();
    let unusable = |cause: String| {
        ApiError::new(ErrorCode::HomeUnusable, format!("repod's home `{}` {cause}", dir.display()))
            .hint("set REPOD_HOME to a directory of your own")
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).recursive(true);
    builder.create(dir).map_err(|error| unusable(format!("can't be created: {error}")))?;
    let meta =
        fs_err::metadata(dir).map_err(|error| unusable(format!("can't be read: {error}")))?;
    if !meta.is_dir() {
        return Err(unusable("is not a directory".into()));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(unusable(format!("belongs to another user (uid {})", meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        // OpenCode's installer makes `~/.opencode` with 0755. It is ours, so closing it is safe.
        fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
            .map_err(|error| unusable(format!("is open to other users: {error}")))?;
    }
    Ok(())
}

/// Opens the lock file without truncating it: its text names the holder.
pub(crate) fn open_lock(home: &Home) -> Result<File, ApiError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(home.lock())
        .map_err(|error| died(home, "opening `repod.lock`", &error.to_string()))
}

/// Spawns `repod daemon` with the locked file as its standard input.
pub(crate) fn spawn(home: &Home, binary: &Path, lock: File) -> Result<Starting, ApiError> {
    let failed = |error: &io::Error| died(home, "spawning `repod daemon`", &error.to_string());
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(home.log())
        .map_err(|error| failed(&error))?;
    let (reader, writer) = io::pipe().map_err(|error| failed(&error))?;
    let mut command = Command::new(binary);
    command.arg0("repod").arg("daemon").env("REPOD_HOME", home.dir()).current_dir("/");
    // What marks a process as part of a backend, or as run by an agent, must not pass to a daemon
    // that an agent's tool happens to start: stopping that backend would end the daemon.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OPENCODE") || text == "AGENT" || OURS.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::from(OwnedFd::from(lock)));
    command.stdout(Stdio::from(OwnedFd::from(writer)));
    command.stderr(Stdio::from(OwnedFd::from(log)));
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    // A program that lives longer than the daemon must not keep it as a zombie.
    let reaper = std::thread::Builder::new().name("repod-reaper".into());
    let _ = reaper.spawn(move || child.wait());
    drop(command);
    let reader = OwnedFd::from(reader);
    rustix::io::ioctl_fionbio(&reader, true).map_err(|error| failed(&error.into()))?;
    let report = pipe::Receiver::from_owned_fd(reader).map_err(|error| failed(&error))?;
    Ok(Starting { report })
}

impl Starting {
    /// Waits for the daemon's one line: `{"ready":true}`, or the error it died of.
    pub(crate) async fn ready(self, home: &Home, deadline: Instant) -> Result<(), ApiError> {
        use tokio::io::AsyncReadExt;
        let mut line = String::new();
        let mut report = BufReader::new(self.report.take(REPORT_MAX));
        let read = timeout_at(deadline, report.read_line(&mut line)).await;
        match read {
            Err(_) => Err(died(home, "waiting for its report", "the deadline of 10 s passed")),
            Ok(Err(error)) => Err(died(home, "reading its report", &error.to_string())),
            Ok(Ok(0)) => Err(died(home, "waiting for its report", "it ended without one")),
            Ok(Ok(_)) => match serde_json::from_str::<ErrorBody>(&line) {
                Ok(body) => Err(body.error),
                Err(_) => Ok(()),
            },
        }
    }
}

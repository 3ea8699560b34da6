//! Try, lock, try again, start, verify: how a client gets a connection, under one deadline.
//!
//! The lock is the daemon's own (`repod.lock`, held for its life). A client that gets it knows that
//! no daemon lives; it hands the *locked file* to the daemon it starts, so there is no moment at
//! which a second one could start. A client that doesn't get it waits for whoever has it.

use crate::start::{self, Starting};
use repod_proto::home::SOCKET_PATH_MAX;
use repod_proto::{ApiError, ErrorCode, Home};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};

/// How long a daemon may take from nothing to its first answer.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Whether a client may start a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartPolicy {
    /// Start `repod daemon` with this binary.
    With(PathBuf),
    /// Start the `repod` found on `PATH`.
    FromPath,
    /// Never: answer [`ErrorCode::NotRunning`].
    Never,
}

/// A connection to the daemon of `home`, which is started if need be and allowed.
pub(crate) async fn connect(home: &Home, policy: &StartPolicy) -> Result<UnixStream, ApiError> {
    let socket = home.socket();
    if socket.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
        let message = format!(
            "the socket path `{}` is longer than the {SOCKET_PATH_MAX} bytes a Unix socket can have",
            socket.display()
        );
        return Err(ApiError::new(ErrorCode::HomeUnusable, message)
            .hint("set REPOD_HOME to a shorter path"));
    }
    match UnixStream::connect(&socket).await {
        Ok(stream) => return Ok(stream),
        Err(error) => refuse_unless_absent(&socket, &error)?,
    }
    if *policy == StartPolicy::Never {
        return Err(ApiError::new(ErrorCode::NotRunning, "no repod daemon is running")
            .hint("leave out `--no-start`, or run `repod daemon`")
            .detail("home", home.dir().display().to_string()));
    }
    let binary = start::binary(policy)?;
    start::prepare_home(home)?;
    connect_or_start(home, &binary, Instant::now() + START_DEADLINE).await
}

async fn connect_or_start(
    home: &Home,
    binary: &Path,
    deadline: Instant,
) -> Result<UnixStream, ApiError> {
    let socket = home.socket();
    let lock = start::open_lock(home)?;
    let mut pause = Duration::from_millis(2);
    loop {
        match lock.try_lock() {
            Ok(()) => return start_and_connect(home, binary, lock, deadline).await,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(died(home, "locking `repod.lock`", &error.to_string()));
            }
        }
        // Another client is starting it, or a daemon is taking over: it will listen soon.
        match UnixStream::connect(&socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refuse_unless_absent(&socket, &error)?,
        }
        if Instant::now() >= deadline {
            let message = "another process holds `repod.lock` but nothing answers on the socket";
            return Err(died(home, "waiting for the daemon to listen", message));
        }
        sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(Duration::from_millis(40));
    }
}

async fn start_and_connect(
    home: &Home,
    binary: &Path,
    lock: File,
    deadline: Instant,
) -> Result<UnixStream, ApiError> {
    let socket = home.socket();
    // Somebody's daemon may have come and gone between our first try and the lock; with the lock in
    // hand a listener can only be one that systemd holds for it.
    if let Ok(stream) = UnixStream::connect(&socket).await {
        return Ok(stream);
    }
    let starting: Starting = start::spawn(home, binary, lock)?;
    starting.ready(home, deadline).await?;
    match UnixStream::connect(&socket).await {
        Ok(stream) => Ok(stream),
        Err(error) => Err(died(home, "connecting to the daemon just started", &error.to_string())),
    }
}

/// Passes for "nobody listens"; everything else is said, not papered over by a start.
fn refuse_unless_absent(socket: &Path, error: &io::Error) -> Result<(), ApiError> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(()),
        // The backlog is full: it lives, and is only slow.
        io::ErrorKind::WouldBlock => Ok(()),
        io::ErrorKind::PermissionDenied => {
            let message = format!("`{}` belongs to another user", socket.display());
            Err(ApiError::new(ErrorCode::Forbidden, message)
                .hint("set REPOD_HOME to a directory of your own"))
        }
        _ => {
            let message = format!("can't connect to `{}`: {error}", socket.display());
            Err(ApiError::new(ErrorCode::DaemonUnavailable, message))
        }
    }
}

/// The daemon did not come up: in which step, and what its log says.
pub(crate) fn died(home: &Home, step: &str, cause: &str) -> ApiError {
    ApiError::new(
        ErrorCode::DaemonUnavailable,
        format!("the daemon did not come up: {step}: {cause}"),
    )
    .hint(format!("look into `{}`, or run `repod daemon` to see it fail", home.log().display()))
    .detail("step", step)
}

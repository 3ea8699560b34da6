//! How a daemon comes to hold its home: started by a client, by a person, by systemd, or as the
//! standby of one that died.
//!
//! A client hands over the lock it already holds as standard input and waits for one line on
//! standard output. The standby sits in `flock` until the kernel lets go of a dead daemon's lock.

use super::DaemonLock;
use super::traces::Traces;
use super::{log, standby};
use crate::settings::Settings;
use repod_proto::{ApiError, ErrorBody, ErrorCode, Home};
use repod_supervisor::files::LockError;
use rustix::fs::{FileType, fstat};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UnixListener;

/// Who started this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A client, on demand, or a standby: the lock came with standard input.
    OnDemand,
    /// A person or a service manager.
    Foreground,
}

/// A daemon that holds its lock and does not yet answer.
pub(crate) struct Birth {
    pub(crate) home: Home,
    pub(crate) mode: Mode,
    /// Where the one who started it waits for one line.
    report: Mutex<Option<File>>,
    /// Whether a service manager owns the socket, and goes on listening when the daemon has ended.
    socket_is_given: AtomicBool,
    _lock: DaemonLock,
    /// Sent to their end when the daemon has none left.
    _traces: Traces,
}

impl Birth {
    pub(crate) fn new(is_standby: bool) -> Result<Self, ApiError> {
        let home = Home::from_env(|name| std::env::var_os(name)).ok_or_else(|| {
            ApiError::new(
                ErrorCode::HomeUnusable,
                "neither REPOD_HOME nor HOME is an absolute path",
            )
        })?;
        repod_client::prepare_home(&home)?;
        if is_standby {
            detach();
            return Err(standby::take_place(&home));
        }
        let (mode, lock) = if is_lock_inherited(&home) {
            detach();
            shed_inherited_files()?;
            (Mode::OnDemand, inherit_lock(&home)?)
        } else {
            (Mode::Foreground, take_lock(&home)?)
        };
        let report = match mode {
            Mode::OnDemand => take_report(&home)?,
            Mode::Foreground => None,
        };
        let format = Settings::load(&home.settings()).map(|it| it.log.format).unwrap_or_default();
        let traces = log::init("info", format);
        // Started through `/proc/self/exe` it would be listed as `exe`.
        let _ = rustix::thread::set_name(c"repod");
        tracing::info!(?mode, home = %home.dir().display(), "starting");
        Ok(Self {
            home,
            mode,
            report: Mutex::new(report),
            socket_is_given: AtomicBool::new(false),
            _lock: lock,
            _traces: traces,
        })
    }

    /// Listens on the socket: systemd's if it handed one over, else a new one that replaces what a
    /// dead daemon left behind. The lock is held, so nobody alive listens there.
    pub(crate) fn listen(&self) -> Result<UnixListener, ApiError> {
        let failed = |error: std::io::Error| {
            let message = format!("can't listen on `{}`: {error}", self.home.socket().display());
            ApiError::new(ErrorCode::DaemonUnavailable, message)
        };
        let listener = match socket_of_systemd() {
            Some(listener) => {
                self.socket_is_given.store(true, Ordering::Relaxed);
                listener
            }
            None => self.bind().map_err(failed)?,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        UnixListener::from_std(listener).map_err(failed)
    }

    fn bind(&self) -> std::io::Result<StdListener> {
        // Bound under another name and renamed: the path always names a socket somebody listens on.
        let fresh = self.home.dir().join(".sock");
        let _ = fs_err::remove_file(&fresh);
        let listener = StdListener::bind(&fresh)?;
        fs_err::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        fs_err::rename(&fresh, self.home.socket())?;
        Ok(listener)
    }

    /// A service manager brings its daemon back itself; a person in a terminal wants it to end.
    pub(crate) fn wants_standby(&self) -> bool {
        self.mode == Mode::OnDemand
    }

    /// Tells whoever waits that connections are answered now.
    pub(crate) fn report_ready(&self) {
        self.report_line(r#"{"ready":true}"#);
        // Does nothing where no service manager asked for it.
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%error, "systemd can't be told");
        }
    }

    /// Tells whoever waits why there will be no daemon.
    pub(crate) fn report_failure(&self, error: &ApiError) {
        if let Ok(line) = serde_json::to_string(&ErrorBody { error: error.clone() }) {
            self.report_line(&line);
        }
    }

    fn report_line(&self, line: &str) {
        let mut report = self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(mut pipe) = report.take() {
            // Whoever asked may have left; the daemon is of use to the next one all the same.
            let _ = writeln!(pipe, "{line}");
        }
    }

    pub(crate) fn stop_listening(&self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        if !self.socket_is_given.load(Ordering::Relaxed) {
            let _ = fs_err::remove_file(self.home.socket());
        }
    }
}

/// A session of its own: no terminal's Ctrl-C or hang-up reaches it.
fn detach() {
    // Fails only for a group leader, which a freshly spawned process is not.
    let _ = rustix::process::setsid();
}

/// A client may have inherited open files of its own (a script's `flock 9`, a pipe), and has passed
/// them on. A daemon that kept them would hold that script's lock for days. They can't be told from
/// the runtime's own files once there are some, so this comes before anything is opened: if there
/// are any, they are marked and the daemon executes itself once more without them.
fn shed_inherited_files() -> Result<(), ApiError> {
    let failed = |error: std::io::Error| ApiError::new(ErrorCode::Internal, error.to_string());
    let numbers: Vec<i32> = fs_err::read_dir("/proc/self/fd")
        .map_err(failed)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The listing itself is one of them; it is closed by now.
    let open = |fd: &i32| *fd > 2 && fs_err::read_link(format!("/proc/self/fd/{fd}")).is_ok();
    if !numbers.iter().any(open) {
        return Ok(());
    }
    close_fds::set_fds_cloexec(3, &[]);
    Err(failed(Command::new("/proc/self/exe").arg0("repod").arg("daemon").exec()))
}

/// Whether standard input is the lock file of this home.
fn is_lock_inherited(home: &Home) -> bool {
    let given = fstat(std::io::stdin()).map(|stat| (stat.st_dev, stat.st_ino));
    let lock = fs_err::metadata(home.lock()).map(|meta| (meta.dev(), meta.ino()));
    matches!((given, lock), (Ok(given), Ok(lock)) if given == lock)
}

fn inherit_lock(home: &Home) -> Result<DaemonLock, ApiError> {
    let failed = |error: std::io::Error| ApiError::new(ErrorCode::Internal, error.to_string());
    let lock = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let null = File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(|error| failed(error.into()))?;
    DaemonLock::from_inherited(File::from(lock), &home.lock())
        .map_err(|error| ApiError::new(ErrorCode::LockBusy, error.to_string()))
}

fn take_lock(home: &Home) -> Result<DaemonLock, ApiError> {
    DaemonLock::try_acquire(&home.lock()).map_err(|error| match error {
        LockError::Held { .. } => {
            let message = format!("a daemon already runs for `{}`", home.dir().display());
            ApiError::new(ErrorCode::LockBusy, message).hint("`repod shutdown` ends it")
        }
        error => ApiError::new(ErrorCode::StateIo, error.to_string()),
    })
}

/// Keeps the pipe to whoever waits, and points standard output at the log like standard error.
/// A standby that took over has nobody who waits, and no pipe.
fn take_report(home: &Home) -> Result<Option<File>, ApiError> {
    let failed = |error: std::io::Error| ApiError::new(ErrorCode::StateIo, error.to_string());
    let stat = fstat(std::io::stdout()).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return Ok(None);
    }
    let pipe: OwnedFd = std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    log::redirect(&home.log())?;
    Ok(Some(File::from(pipe)))
}

fn socket_of_systemd() -> Option<StdListener> {
    listenfd::ListenFd::from_env().take_unix_listener(0).ok().flatten()
}

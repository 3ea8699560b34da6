//! A daemon that dies is back at once: its standby waits in `flock` for the lock.
//!
//! The standby is this binary, asleep in one system call, before any runtime or memory of its own.
//! When the kernel releases the lock of a daemon that died, the standby has it and is the daemon.
//! A daemon that ends in order dismisses its standby first.

use repod_proto::{ApiError, ErrorCode, Home};
use repod_supervisor::files::LockFile;
use repod_supervisor::identity::ProcessIdentity;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// When earlier standbys took over (seconds since the epoch, separated by commas).
const TAKEOVERS: &str = "REPOD_TAKEOVERS";
/// The identity of the daemon that a standby stands by for.
const GUARDED: &str = "REPOD_STANDBY_OF";
/// So many take-overs within [`WINDOW_SECONDS`] mean that the daemon dies of itself: no more.
const TAKEOVERS_MAX: usize = 8;
const WINDOW_SECONDS: i64 = 60;
/// A standby that was killed is replaced, not faster than this.
const REPLACE_EVERY: Duration = Duration::from_millis(200);

/// Blocks until the daemon before has died, then becomes the daemon, with its lock in hand like one
/// that a client starts. Returns only if that fails.
pub(super) fn take_place(home: &Home) -> ApiError {
    match wait_for_the_lock(home) {
        Err(error) => error,
        Ok(lock) => {
            let error =
                Command::new("/proc/self/exe").arg0("repod").arg("daemon").stdin(lock).exec();
            ApiError::new(ErrorCode::DaemonUnavailable, format!("can't take over: {error}"))
        }
    }
}

fn wait_for_the_lock(home: &Home) -> Result<File, ApiError> {
    let failed = |error: std::io::Error| ApiError::new(ErrorCode::LockBusy, error.to_string());
    let lock = File::options().read(true).write(true).open(home.lock()).map_err(failed)?;
    // The one wait without a limit in repod: it is what a standby is for. It ends with the daemon.
    lock.lock().map_err(failed)?;
    // A client may have been faster after our daemon's death: then the lock was another daemon's
    // meanwhile, which had a standby of its own, and that one ended in order is not to be revived.
    let last = LockFile::noted_holder(&home.lock());
    if last.is_none() || last != guarded() {
        let message = "the daemon it stood by for was succeeded by another";
        return Err(ApiError::new(ErrorCode::LockBusy, message));
    }
    let recent = recent_takeovers();
    if recent.len() >= TAKEOVERS_MAX {
        let message = format!("took over {} times in {WINDOW_SECONDS} s; giving up", recent.len());
        return Err(ApiError::new(ErrorCode::DaemonUnavailable, message)
            .hint("the next repod command starts a daemon again"));
    }
    Ok(lock)
}

/// The daemon this process stands by for.
fn guarded() -> Option<ProcessIdentity> {
    serde_json::from_str(&std::env::var(GUARDED).ok()?).ok()
}

fn recent_takeovers() -> Vec<i64> {
    let now = jiff::Timestamp::now().as_second();
    let text = std::env::var(TAKEOVERS).unwrap_or_default();
    let times = text.split(',').filter_map(|time| time.parse::<i64>().ok());
    times.filter(|time| (0..WINDOW_SECONDS).contains(&(now - time))).collect()
}

/// The daemon's hold on its standby.
pub(super) struct Standby {
    dismiss: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Standby {
    /// Ends the standby, so that the lock can be let go without waking it.
    pub(super) async fn dismiss(self) {
        let _ = self.dismiss.send(());
        let _ = self.task.await;
    }
}

/// Keeps one standby alive for as long as the daemon lives.
///
/// The first is spawned before this returns: a daemon that says it is ready has one.
pub(super) fn keep(home: Home) -> Standby {
    let first = spawn(&home);
    let (dismiss, dismissed) = oneshot::channel();
    Standby { dismiss, task: tokio::spawn(replace(home, first, dismissed)) }
}

async fn replace(home: Home, first: Option<Child>, mut dismissed: oneshot::Receiver<()>) {
    let mut current = first;
    loop {
        let ended = async {
            if let Some(child) = &current {
                ended(child).await;
            }
            // Not faster than this, also when it can't be spawned at all.
            tokio::time::sleep(REPLACE_EVERY).await;
        };
        tokio::select! {
            _ = &mut dismissed => break,
            () = ended => {
                if let Some(mut child) = current.take() {
                    let _ = child.try_wait();
                }
                current = spawn(&home);
            }
        }
    }
    if let Some(mut child) = current {
        // It is our child and not yet reaped, so the pid is its own.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Returns when the child, which is not yet reaped, has ended.
async fn ended(child: &Child) {
    let handle = ProcessIdentity::of(child.id()).ok().flatten().and_then(|id| id.verify().ok()?);
    if let Some(handle) = handle {
        let _ = handle.exited().await;
    }
}

fn spawn(home: &Home) -> Option<Child> {
    let mut recent: Vec<_> = recent_takeovers().iter().map(ToString::to_string).collect();
    recent.push(jiff::Timestamp::now().as_second().to_string());
    let log = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(home.log());
    let log = match log {
        Ok(log) => log,
        Err(error) => {
            tracing::error!(%error, "no standby: the log can't be opened");
            return None;
        }
    };
    let me = ProcessIdentity::mine().ok().and_then(|me| serde_json::to_string(&me).ok());
    let out = match log.try_clone() {
        Ok(out) => Stdio::from(out),
        Err(_) => Stdio::null(),
    };
    // The running file itself, also when an upgrade has replaced it on disk meanwhile.
    let spawned = Command::new("/proc/self/exe")
        .arg0("repod")
        .args(["daemon", "--standby"])
        .env("REPOD_HOME", home.dir())
        .env(TAKEOVERS, OsString::from(recent.join(",")))
        .env(GUARDED, me.unwrap_or_default())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(log)
        .spawn();
    match spawned {
        Ok(child) => Some(child),
        Err(error) => {
            tracing::error!(%error, "no standby: it can't be spawned");
            None
        }
    }
}

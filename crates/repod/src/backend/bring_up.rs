//! From "somebody wants it" to "it answers", in phases that consume each other:
//! intended → prepared → held → *recorded by the actor* → booting → ready.
//!
//! The process is spawned held: it runs nothing until its record is on disk. A daemon killed at any
//! point leaves either nothing, or a process the next daemon knows.

use super::history::Ground;
use super::shared::Shared;
use super::strays;
use crate::registry::BackendRecord;
use crate::repo::Repo;
use crate::secret::random_hex;
use crate::settings::Settings;
use repod_opencode::{BackendClient, Binary, Guard, Launch, LaunchSpec};
use repod_proto::home::RepoDir;
use repod_proto::{ApiError, Done, EnsureStep, ErrorCode, Generation};
use repod_supervisor::identity::ProcessIdentity;
use repod_supervisor::launcher::{HeldChild, HeldSpawn};
use repod_supervisor::log_tail::{self, LogFollower};
use repod_supervisor::ports::{self, PortOwner};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

/// Size at which the backend's log is rotated, before a start and while it runs, and how many old
/// ones are kept.
pub(super) const LOG_MAX: u64 = 4 * 1024 * 1024;
pub(super) const LOG_KEEP: u32 = 3;
/// How much of the log's end an error carries.
const TAIL_MAX: u64 = 4096;
/// One probe of a starting backend. Short: OpenCode 1.18.33 never answers a request it accepted
/// before it was ready, and only a fresh connection helps.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// A start that was decided on.
pub(super) struct Intended {
    pub(super) shared: Arc<Shared>,
    pub(super) repo: Arc<Repo>,
    pub(super) dir: RepoDir,
    pub(super) generation: Generation,
    pub(super) env: Option<BTreeMap<String, String>>,
    pub(super) steps: mpsc::Sender<Step>,
    /// Held while the repo's own database is being written by repod.
    pub(super) history: Arc<Mutex<()>>,
}

/// A process that exists and runs nothing yet.
pub(super) struct Held {
    pub(super) child: HeldChild,
    pub(super) record: BackendRecord,
    pub(super) deadline: Instant,
}

impl Intended {
    /// Prepares, and spawns the held process.
    pub(super) async fn hold(self) -> Result<Held, ApiError> {
        say(&self.steps, EnsureStep::Preparing);
        // What an earlier backend of this repo left behind would share its database with the new one.
        strays::end(&self.shared.marker_prefix_of(&self.repo.id), &[], false).await;
        let (steps, env) = (self.steps.clone(), self.environment());
        let history = Arc::clone(&self.history).lock_owned().await;
        let ground = Ground { shared: &self.shared, repo: &self.repo, dir: &self.dir, env: &env };
        let warning = ground.before_start(&steps).await?;
        let prepared = tokio::task::spawn_blocking(move || self.spawn_held(warning));
        let held = prepared.await.map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("the start broke off: {error}"))
        })??;
        drop(history);
        say(&steps, EnsureStep::Spawning);
        Ok(held)
    }

    fn spawn_held(self, warning: Option<String>) -> Result<Held, ApiError> {
        let settings = Settings::load(&self.shared.home.settings())?;
        let env = self.environment();
        let binary = Binary::locate(settings.backend.opencode.as_deref(), &env)
            .map_err(|error| super::failure::of_binary(&error))?;
        let port = ports::pick(&[]).map_err(|error| {
            ApiError::new(ErrorCode::StartFailed, format!("no loopback port is free: {error}"))
        })?;
        let password = random_hex::<32>()?;
        let marker = self.shared.marker(&self.repo.id, self.generation, &random_hex::<8>()?);
        let guard = format!("{}.{}", self.repo.id, random_hex::<16>()?);
        let launch = Launch::prepare(&LaunchSpec {
            binary,
            state_dir: self.dir.dir().to_owned(),
            root: self.repo.root.clone(),
            home: self.shared.home.dir().to_owned(),
            port,
            password: password.clone(),
            marker: marker.clone(),
            guard: Some(Guard {
                socket: self.shared.home.socket(),
                token: guard.clone(),
                stage: self.dir.dir().join("stage"),
                program: own_program(),
            }),
            user_env: env,
            extra_env: settings.backend.env,
            extra_args: settings.backend.args,
        })
        .map_err(|error| super::failure::of_launch(&error))?;

        let io_failed = |error: std::io::Error| {
            ApiError::new(
                ErrorCode::StateIo,
                format!("the backend's log can't be written: {error}"),
            )
            .hint("is the disk full?")
        };
        let path = self.dir.backend_log();
        log_tail::rotate_if_larger(&path, LOG_MAX, LOG_KEEP).map_err(io_failed)?;
        let mut log = open_log(&path).map_err(io_failed)?;
        let started_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        writeln!(log, "--- repod: generation {} starts at {started_at}", self.generation)
            .map_err(io_failed)?;
        let log_offset = log.metadata().map_err(io_failed)?.len();

        let mut warnings = launch.warnings;
        warnings.extend(warning);
        let child = HeldChild::spawn(HeldSpawn {
            launcher: "/proc/self/exe".into(),
            launcher_args: Vec::new(),
            program: launch.program,
            args: launch.args,
            env: launch.env,
            cwd: launch.cwd,
            log,
        })
        .map_err(|error| ApiError::new(ErrorCode::StartFailed, error.to_string()))?;
        // Before it is released: what it starts from its first moment on is held too.
        let held = self.shared.confine.hold(&self.repo.id, child.identity().pid, &settings.limits);
        warnings.extend(held.warnings);
        let record = BackendRecord {
            identity: child.identity().clone(),
            port,
            password,
            marker,
            guard,
            version: None,
            started_at,
            log_offset,
            warnings,
            confinement: held.confinement,
        };
        let deadline = Instant::now() + settings.backend.start_timeout;
        Ok(Held { child, record, deadline })
    }

    /// The environment of whoever asked; the daemon's own where nobody said.
    fn environment(&self) -> BTreeMap<OsString, OsString> {
        env_of(self.env.as_ref())
    }
}

/// The environment somebody sent; the daemon's own where nobody did.
pub(super) fn env_of(sent: Option<&BTreeMap<String, String>>) -> BTreeMap<OsString, OsString> {
    match sent {
        None => std::env::vars_os().collect(),
        Some(env) => env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
    }
}

/// Progress is for people: a full queue drops a word of it.
/// What a start is at, and how many sessions it has brought over while it does that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) step: EnsureStep,
    pub(super) sessions: Option<Done>,
}

pub(super) fn say(steps: &mpsc::Sender<Step>, step: EnsureStep) {
    tracing::debug!(step = step.as_str(), "bring-up");
    let _ = steps.try_send(Step { step, sessions: None });
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// By when a start that an earlier daemon began has to be done.
pub(super) fn deadline(shared: &Shared) -> Instant {
    Instant::now() + shared.start_timeout
}

/// What a booting backend turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Booted {
    pub(super) port: u16,
    pub(super) version: String,
}

/// Waits for the ready line, then asks. The caller watches for the process's end meanwhile.
pub(super) async fn boot(
    backend: BackendRecord,
    log: std::path::PathBuf,
    deadline: Instant,
    steps: mpsc::Sender<Step>,
) -> Result<Booted, ApiError> {
    say(&steps, EnsureStep::Booting);
    let port = match timeout_at(deadline, reported_port(&log, backend.log_offset)).await {
        Ok(port) => port?,
        Err(_) => return Err(too_slow("it did not say that it listens")),
    };
    say(&steps, EnsureStep::Probing);
    owns(&backend.identity, port).await?;
    tracing::debug!("the port is its own");
    let client = BackendClient::new(port, backend.password);
    let mut last = String::new();
    while Instant::now() < deadline {
        match client.health(PROBE_LIMIT).await {
            Ok(health) => {
                super::failure::refuse_unsupported(&health.version)?;
                return Ok(Booted { port, version: health.version });
            }
            Err(error) if error.is_final() => {
                let message = format!("what listens on port {port} is not this backend: {error}");
                return Err(ApiError::new(ErrorCode::StartFailed, message));
            }
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(too_slow(&format!("it did not answer: {last}")))
}

async fn reported_port(log: &Path, offset: u64) -> Result<u16, ApiError> {
    let failed = |error: std::io::Error| {
        ApiError::new(ErrorCode::StateIo, format!("the backend's log can't be read: {error}"))
    };
    let mut lines = LogFollower::open(log, offset).map_err(failed)?;
    loop {
        if let Some(port) = repod_opencode::ready_line(&lines.next_line().await.map_err(failed)?) {
            return Ok(port);
        }
    }
}

/// What counts is that the port it reports is held by the process that was recorded.
async fn owns(identity: &ProcessIdentity, port: u16) -> Result<(), ApiError> {
    let identity = identity.clone();
    let owner = tokio::task::spawn_blocking(move || ports::owner(&identity, port)).await;
    match owner {
        Ok(Ok(PortOwner::Tree)) => Ok(()),
        Ok(Ok(PortOwner::Stranger | PortOwner::Nobody)) => {
            let message = format!("port {port}, which it reports, belongs to another process");
            Err(ApiError::new(ErrorCode::StartFailed, message))
        }
        Ok(Err(error)) => Err(ApiError::new(ErrorCode::Internal, error.to_string())),
        Err(error) => Err(ApiError::new(ErrorCode::Internal, error.to_string())),
    }
}

/// After an upgrade in place the kernel marks the running file; the new one at its place does too.
fn own_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|_| "repod".into());
    match own.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => path.into(),
        None => own,
    }
}

fn too_slow(cause: &str) -> ApiError {
    ApiError::new(ErrorCode::StartFailed, format!("the backend did not come up in time: {cause}"))
        .hint("`[backend] start_timeout` in repod.toml gives it longer")
}

/// The end of what this generation printed.
pub(super) fn tail(dir: &RepoDir, offset: u64) -> String {
    log_tail::tail(&dir.backend_log(), TAIL_MAX, offset).unwrap_or_default()
}

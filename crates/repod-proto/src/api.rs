//! Requests and answers of the socket API, one verb at a time.

use crate::endpoint::{Endpoint, RepoSummary};
use crate::error::ApiError;
use crate::ids::{Generation, RepoId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /v1/ensure`
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnsureRequest {
    /// An absolute path in the repo: its root, a subdirectory, a linked worktree, a symlink to one.
    pub path: String,
    /// Whether a backend may be started. Without it the answer is what is running, or `not_running`.
    #[serde(default = "yes")]
    pub start: bool,
    /// The caller's environment, used when a backend has to be started: the agent's tools then find
    /// what they would find in that terminal. The daemon's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Seconds to wait at most; the daemon's `start_timeout` bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

fn yes() -> bool {
    true
}

/// What a start is doing at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnsureStep {
    /// Waiting for its turn: only so many backends start at once.
    Queued,
    /// Bringing over its sessions from the user's shared database.
    History,
    /// Making directories, overlay and environment.
    Preparing,
    /// The process is being started.
    Spawning,
    /// The process runs; its ready line is awaited.
    Booting,
    /// It said it is ready; it is being asked.
    Probing,
    /// It crashed; the next start waits a little.
    BackingOff,
    /// It was adopted from an earlier daemon.
    Adopting,
    /// It lives but does not answer; waited for.
    Unresponsive,
    /// The one before is still being ended.
    Stopping,
}

impl EnsureStep {
    /// A few words for a progress line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "waiting for its turn",
            Self::History => "bringing over its sessions",
            Self::Preparing => "preparing",
            Self::Spawning => "spawning",
            Self::Booting => "booting",
            Self::Probing => "probing",
            Self::BackingOff => "waiting before the next start",
            Self::Adopting => "adopting",
            Self::Unresponsive => "waiting for an answer",
            Self::Stopping => "waiting for the old one to end",
        }
    }
}

/// One line of progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnsureProgress {
    /// The repo.
    pub repo_id: RepoId,
    /// What is going on.
    pub step: EnsureStep,
    /// The generation that is coming up.
    pub generation: Generation,
    /// How many sessions were brought over, with the step `history`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Done>,
}

/// How much of something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Done {
    /// So many.
    pub done: u64,
    /// Of so many.
    pub of: u64,
}

/// One line of the answer to `POST /v1/ensure` with `Accept: application/x-ndjson`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamItem {
    /// Still at it.
    Progress(EnsureProgress),
    /// Done; the last line.
    Ready(Box<Endpoint>),
    /// Failed; the last line.
    Error(ApiError),
}

/// Which repos a request is about: one path, or all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The repo this absolute path lies in.
    Path(String),
    /// The repo of this id, also when its directory is gone.
    Id(RepoId),
    /// Every repo of this home.
    All,
}

/// `POST /v1/stop`
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StopRequest {
    /// Whose backend.
    pub target: Target,
}

/// What became of one backend that was to be stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StopOutcome {
    /// The repo.
    pub repo_id: RepoId,
    /// Its root.
    pub root: String,
    /// Whether there was a backend to stop.
    pub was_running: bool,
    /// How many processes were ended.
    pub processes: u32,
    /// Why it could not be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// Answer to `POST /v1/stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StopReport {
    /// One entry for each repo asked for.
    pub stopped: Vec<StopOutcome>,
}

/// `POST /v1/hibernate`: end backends that nobody needs just now. Their endpoints stay, and the next
/// request wakes them.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HibernateRequest {
    /// Whose backend.
    pub target: Target,
}

/// What became of one backend that was to sleep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HibernateOutcome {
    /// The repo.
    pub repo_id: RepoId,
    /// Its root.
    pub root: String,
    /// Whether there was a backend to put to sleep.
    pub was_running: bool,
    /// How many processes were ended.
    pub processes: u32,
    /// Why it stays awake (`backend_busy`), or could not be ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// Answer to `POST /v1/hibernate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HibernateReport {
    /// One entry for each repo asked for.
    pub hibernated: Vec<HibernateOutcome>,
}

/// `POST /v1/adopt`: bring over from the user's shared OpenCode database what was added there since the last time.
/// A backend that nobody needs just now is put to sleep for it. Known or not, the repo of the path is meant.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AdoptRequest {
    /// An absolute path in the repo.
    pub path: String,
    /// The caller's environment, which says where the shared database is. The daemon's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
}

/// `POST /v1/eject`: stop the repo's backend, bring its sessions back into the user's shared database while nobody
/// has that open, and put the repo's own aside.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EjectRequest {
    /// An absolute path in the repo.
    pub path: String,
    /// As in [`AdoptRequest::env`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
}

/// Answer to `POST /v1/adopt` and `POST /v1/eject`. Numbers are of sessions unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryReport {
    /// The repo.
    pub repo_id: RepoId,
    /// Its root.
    pub root: String,
    /// The user's shared database.
    pub database: String,
    /// Those that were not there.
    pub added: usize,
    /// Those that had gone on where they came from.
    pub updated: usize,
    /// Those that were there already.
    pub unchanged: usize,
    /// Those that had gone on in both places: what either had is there.
    pub merged: usize,
    /// Those that were brought over before and were deleted since: they stay so.
    pub deleted: usize,
    /// Files of snapshots and kept differences.
    pub files: u64,
    /// Kinds of logins kept in the database they came from (`account`, `credential`, …). They are never copied: what
    /// they were for has to be logged in again.
    pub logins: Vec<String>,
    /// After `eject`: where the repo's own database is kept. Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// `POST /v1/restart`: stop and start, answered like `ensure`. Unparks a failed repo.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RestartRequest {
    /// Whose backend.
    pub target: Target,
    /// The caller's environment, as in [`EnsureRequest::env`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Make a new password and capability URL; the old ones are refused from then on.
    #[serde(default)]
    pub rotate: bool,
}

/// `GET /v1/status?path=…`
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusQuery {
    /// An absolute path in the repo.
    pub path: String,
}

/// `POST /v1/gc`
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GcRequest {
    /// Say what would be cleared, and leave it.
    #[serde(default)]
    pub dry_run: bool,
}

/// What `gc` cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GcReport {
    /// Entries whose process was gone, a zombie or a stranger: now `stopped`.
    pub cleared: Vec<RepoId>,
    /// Entries of repos whose root no longer exists: taken out of the list (their data is kept).
    pub forgotten: Vec<RepoId>,
    /// Left-over processes of backends that are gone, ended.
    pub processes: u32,
    /// Entries that can't be read; kept as they are.
    pub unreadable: Vec<RepoSummary>,
}

/// `POST /v1/shutdown`
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShutdownRequest {
    /// Stop the backends too; otherwise they go on and the next daemon adopts them.
    #[serde(default)]
    pub backends: bool,
}

/// Answer to `POST /v1/shutdown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShutdownReport {
    /// The daemon that is ending.
    pub pid: u32,
    /// The backends it stopped.
    pub stopped: Vec<StopOutcome>,
    /// How many backends go on without it.
    pub left_running: u32,
}

/// `GET /v1/version`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DaemonInfo {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Its home.
    pub home: String,
    /// When it started, RFC 3339 in UTC.
    pub started_at: String,
    /// Its soft limit of open files, which every backend inherits.
    pub nofile: u64,
    /// How many repos it knows.
    pub repos: u64,
}

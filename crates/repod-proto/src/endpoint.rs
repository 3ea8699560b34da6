//! A repo as seen from outside: its endpoint and the backend behind it.

use crate::ids::{Generation, RepoId};
use serde::{Deserialize, Serialize};

/// Where a backend is in its life.
///
/// `stopped → starting → ready ⇄ unresponsive → stopping → stopped`, plus `hibernated` (asleep, the
/// next request starts it) and `failed` (parked, or the last start did not come up).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// No process.
    Stopped,
    /// A process is coming up.
    Starting,
    /// It answers.
    Ready,
    /// The process lives but did not answer lately. Slow is not dead: it is never killed for that.
    Unresponsive,
    /// It is being ended.
    Stopping,
    /// Asleep; the next request starts it.
    Hibernated,
    /// It did not come up, or came down too often.
    Failed,
}

impl BackendState {
    /// The state's public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unresponsive => "unresponsive",
            Self::Stopping => "stopping",
            Self::Hibernated => "hibernated",
            Self::Failed => "failed",
        }
    }

    /// Whether a process belongs to this state.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Unresponsive | Self::Stopping)
    }
}

/// The process behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackendInfo {
    /// Process id.
    pub pid: u32,
    /// The loopback port the backend itself listens on.
    pub port: u16,
    /// Version the backend reported (`1.18.33`); absent until it has answered.
    #[serde(default)]
    pub version: Option<String>,
    /// When it was started, RFC 3339 in UTC.
    pub started_at: String,
}

/// What `ensureRunning` answers: everything a client needs to talk to the repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Endpoint {
    /// The repo's stable id.
    pub repo_id: RepoId,
    /// The repository's root (of the main worktree; the directory itself for a bare repository).
    pub root: String,
    /// The directory to work in: the worktree the given path lies in.
    pub directory: String,
    /// The branch checked out in `directory`; absent when detached or without git.
    pub branch: Option<String>,
    /// Base URL, `http://127.0.0.1:<port>`: the gateway's, so it stays when the backend is replaced.
    /// Absent where the repo's record can't be used.
    pub url: Option<String>,
    /// User name for basic authentication.
    pub username: String,
    /// Password for basic authentication. Left out by `repod ps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A URL that carries the credential itself, for clients that can't send one; absent where the
    /// endpoint doesn't offer it. Left out by `repod ps`. In a linked worktree it is bound to
    /// `directory`: that is what a request means that names none.
    #[serde(default)]
    pub capability_url: Option<String>,
    /// Where the backend is in its life.
    pub state: BackendState,
    /// Number of the current (or last) backend.
    pub generation: Generation,
    /// The process, when there is one.
    pub backend: Option<BackendInfo>,
    /// Things the user should know about this backend (a limit that could not be raised, …).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One row of `repod ps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RepoSummary {
    /// The endpoint, without its secrets.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Resident memory of the whole process tree, in bytes; absent without a process.
    pub rss_bytes: Option<u64>,
    /// Sessions the backend knows in the repo's root; absent when it could not be asked.
    pub sessions: Option<u64>,
    /// How many of them have a turn in flight; absent when it could not be asked.
    pub busy: Option<u64>,
    /// Requests and streams the endpoint is serving; absent without a process.
    pub clients: Option<u64>,
    /// Seconds since the backend last had work or a client; absent when busy or without a process.
    pub idle_seconds: Option<u64>,
    /// Requests of its sessions that wait for a person; absent when nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Readers of its events; absent until there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<u64>,
    /// Events given out since the daemon started; absent until there was a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Those of the last 10 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_events: Option<u64>,
    /// Branches of it on which somebody may write just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases: Option<u64>,
    /// Sessions and others that wait for one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_waiters: Option<u64>,
    /// The last measurement of the running backend, as in its memory log; absent until there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<crate::MemorySample>,
    /// Why the repo is `failed`, or why its record can't be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<crate::ApiError>,
}

/// `repod status`: the row of `ps`, with its secrets and the places to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RepoStatus {
    /// The row of `ps`.
    #[serde(flatten)]
    pub summary: RepoSummary,
    /// The repo's own directory below repod's home.
    pub state_dir: String,
    /// The backend's log file.
    pub log_file: String,
    /// Starts of the last 60 seconds (parked at 5).
    pub recent_starts: u32,
    /// What the running backend is held to, and by whom; without one, who will hold the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<crate::LimitsInfo>,
    /// The last time it ended by itself; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<crate::LastExit>,
    /// What came of its sessions from before repod; absent where none were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionInfo>,
}

/// What came of a repo's sessions from the user's shared OpenCode database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AdoptionInfo {
    /// `adopted`, `failed` (the next start tries again) or `ejected`.
    pub state: String,
    /// The shared database.
    pub database: String,
    /// How many sessions were ever brought over.
    pub sessions: usize,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

//! Agent sessions on the socket API: durable, resumable conversations, and their turns.

use crate::agent::{AgentEvent, TurnError};
use crate::ids::{Generation, RepoId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Creates a session, or resumes the one of this name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionRequest {
    /// An absolute path in the repository; the session works in its worktree.
    pub path: String,
    /// The caller's own name for it, 1 to 128 characters; made up where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The agent; as it was, or the agent's default, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The model: `provider/model`, or the model alone with a default provider; as it was, or the agent's
    /// default, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The environment a backend gets that has to be started for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub env: Option<BTreeMap<String, String>>,
}

/// A session, and how it came to be at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionEnsured {
    /// The session.
    #[serde(flatten)]
    pub session: SessionInfo,
    /// How.
    pub how: SessionHow,
    /// Why its conversation begins anew, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a session came to be at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionHow {
    /// It is new.
    Created,
    /// It is as it was left.
    Resumed,
    /// It was known, but its conversation begins anew.
    Renewed,
    /// Something this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// An agent session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionInfo {
    /// Its caller's name for it.
    pub session_id: String,
    /// Its repository.
    pub repo_id: RepoId,
    /// Where it works.
    pub directory: String,
    /// What runs it: `opencode`.
    pub backend: String,
    /// The agent; empty for the default one.
    pub agent: String,
    /// The model, `provider/model`; empty for the agent's default.
    pub model: String,
    /// The backend's own id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_session_id: Option<String>,
    /// The generation of the backend it was last bound to.
    pub generation: Generation,
    /// What it is doing.
    pub status: SessionStatus,
    /// Prompts that wait for the one that runs.
    #[serde(default)]
    pub queued: u64,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// When it was last prompted or a turn of it ended (RFC 3339).
    pub last_active_at: String,
    /// For people.
    pub title: String,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// No turn runs.
    Idle,
    /// A turn runs.
    Busy,
    /// A turn stands still until a person answers.
    Waiting,
    /// Its last turn ended in a way that leaves its conversation in doubt; the next begins a new one.
    Crashed,
    /// It was closed; the same name begins a new one.
    Closed,
    /// Something this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// Which sessions are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsQuery {
    /// Those of the repository this path lies in; of all where absent.
    #[serde(default)]
    pub path: Option<String>,
    /// Closed ones too.
    #[serde(default)]
    pub closed: bool,
    /// The most wanted; 100 where absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Which session is meant, beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionQuery {
    /// A path in its repository; needed when more than one has a session of this name.
    #[serde(default)]
    pub path: Option<String>,
    /// Its repository, by id.
    #[serde(default)]
    pub repo_id: Option<RepoId>,
    /// Events of a turn up to this one are not told again.
    #[serde(default)]
    pub after: Option<u64>,
}

/// A session with its last turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionDetail {
    /// The session.
    #[serde(flatten)]
    pub session: SessionInfo,
    /// Its last turns, the newest first.
    pub turns: Vec<TurnInfo>,
}

/// One prompt and what it has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnInfo {
    /// Its number in the session, from 1.
    pub turn: u64,
    /// Its caller's name for it.
    pub turn_id: String,
    /// How far it is: `queued`, `running`, `waiting`, `completed`, `failed` or `interrupted`.
    pub state: String,
    /// What was asked: its first 4 KiB, with an ellipsis where there is more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// What went wrong, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TurnError>,
    /// When it was put in line (RFC 3339).
    pub begun_at: String,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<String>,
}

/// A prompt to a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnRequest {
    /// The text.
    pub text: String,
    /// Files that come with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<TurnFile>,
    /// The caller's own name for this turn: the same name again is the same turn, not another. Made up
    /// where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    /// What is to happen if the session is busy; `[sessions] queue` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_busy: Option<OnBusy>,
}

/// A file that comes with a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnFile {
    /// Its media type.
    pub mime: String,
    /// Where it is: a `file:` or `data:` URL.
    pub url: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

/// What is to happen to a prompt if the session is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBusy {
    /// It waits its turn.
    Wait,
    /// It is refused.
    Refuse,
}

/// A turn that was put in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnBegun {
    /// The session.
    pub session_id: String,
    /// Its repository.
    pub repo_id: RepoId,
    /// The turn.
    #[serde(flatten)]
    pub turn: TurnInfo,
    /// How many turns are before it.
    pub ahead: u32,
}

/// One event of a turn as it is streamed: a line of NDJSON, or the data of a server-sent event of this id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnLine {
    /// Its number in the turn, from 1; numbers rise, and may leap.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: AgentEvent,
}

/// Ends what a session does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionAbortRequest {
    /// This turn alone, running or waiting in line; all of the session's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
}

/// What an abort has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionAbortReport {
    /// The turns that end by it, by their names.
    pub turns: Vec<String>,
}

/// A person's answer to a permission or a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionAnswer {
    /// The request.
    pub request_id: String,
    /// To a permission: one of its options' ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    /// To a question: for each of it, the labels chosen. Absent with a question: it is not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<Vec<String>>>,
    /// What the model is told with a rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A directory that agent sessions have open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceInfo {
    /// The directory.
    pub directory: String,
    /// How many work there at the moment.
    pub users: u64,
}

/// Closes directories that agent sessions have open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceDisposeRequest {
    /// A path in the directory; all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Open it anew at once, with the configuration as it is now.
    #[serde(default)]
    pub reload: bool,
    /// How long those who work there are waited for, in seconds; 30 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
}

/// What was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceDisposeReport {
    /// How many directories.
    pub disposed: u64,
}

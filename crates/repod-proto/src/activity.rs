//! What goes on in all repos just now: the answer to `GET /v1/activity`, and each line of
//! `repod top --json`. All of it is in the daemon's memory, so that it may be asked every second.

use crate::endpoint::RepoSummary;
use crate::lease::LeaseInfo;
use crate::session::SessionStatus;
use serde::{Deserialize, Serialize};

/// `GET /v1/activity`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Activity {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Every repo, by id.
    pub repos: Vec<RepoActivity>,
    /// Who may write where, and who waits for it.
    pub leases: Vec<LeaseInfo>,
}

/// One repo in an [`Activity`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RepoActivity {
    /// The row of `repod ps`, with what can be said without asking anybody: `rss_bytes` is that of the
    /// last measurement, and `sessions` is absent.
    #[serde(flatten)]
    pub summary: RepoSummary,
    /// `rss` of the last measurements of this backend (60 at most), in bytes, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rss_history: Vec<u64>,
    /// The sessions that do something, wait for somebody, or have been heard of last; the most urgent
    /// first, 32 at most.
    #[serde(default)]
    pub active: Vec<SessionActivity>,
    /// How many more the daemon has heard of.
    #[serde(default)]
    pub more: u64,
}

/// What one session of OpenCode is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionActivity {
    /// OpenCode's id of it.
    pub session_id: String,
    /// The session it is a subagent of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_session_id: Option<String>,
    /// Its title; absent until the daemon has heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it works.
    pub directory: String,
    /// `busy`, `waiting` for a person, or `idle`.
    pub status: SessionStatus,
    /// Since when it is busy or idle, RFC 3339 in UTC; absent where that was before anybody listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What its turn is at; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<Doing>,
    /// The tool it runs, or that waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolActivity>,
}

/// What a turn is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// A person has to permit something.
    Permission,
    /// A person has to answer a question.
    Question,
    /// A tool runs.
    Tool,
    /// Its answer is being written.
    Answering,
    /// It reasons.
    Thinking,
    /// It waits for its model, or for something else that tells nothing.
    Working,
    /// Something this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// A tool call that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolActivity {
    /// The tool.
    pub name: String,
    /// What it is told to do: a command, a path, a pattern, cut off where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How many more run beside it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

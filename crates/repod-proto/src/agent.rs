//! What a turn of an agent session tells those who follow it, whatever agent runs it and however the
//! events travel: `repod prompt --json`, the socket API, ACP. One line of NDJSON is one [`AgentEvent`].
//!
//! Text comes in pieces that are meant to be joined; tool calls come as whole snapshots, of which the
//! last one of an id counts. Readers skip types they don't know.

mod tool;
mod transcript;

pub use tool::{Diff, Location, ToolCall, ToolKind, ToolStatus};
pub use transcript::Transcript;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened in a turn. The last of a turn is [`AgentEvent::Turn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentEvent {
    /// The answer grew.
    Text(Chunk),
    /// The model thinks aloud.
    Reasoning(Chunk),
    /// The model calls a tool; later snapshots of the same id come as `tool_update`.
    ToolCall {
        /// The call as it is now.
        tool_call: Box<ToolCall>,
    },
    /// A tool call has changed.
    ToolUpdate {
        /// The call as it is now.
        tool_call: Box<ToolCall>,
    },
    /// A tool call waits until a person allows it.
    Permission(PermissionAsk),
    /// The model has asked a person something and waits.
    Question(QuestionAsk),
    /// A permission or a question waits no longer: somebody has answered, here or elsewhere.
    Answered {
        /// The request.
        request_id: String,
    },
    /// How the turn is getting on.
    Status(Status),
    /// What the turn has cost so far, all its steps together.
    Usage(Usage),
    /// The turn is over, or stands still until a person answers.
    Turn(TurnEnd),
    /// A type this version doesn't know; to be skipped.
    #[serde(other)]
    Unknown,
}

/// A piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Chunk {
    /// The piece.
    pub text: String,
    /// The part of the answer it belongs to. Pieces of one part are joined in the order they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_id: Option<String>,
    /// The part's text is this and nothing else: what came of it before was changed afterwards, by a
    /// plugin or by a retry. Rare.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
}

/// What a person is asked to allow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PermissionAsk {
    /// The request, to answer it by.
    pub request_id: String,
    /// The session that asks: the turn's own, or that of a subagent.
    pub session_id: String,
    /// What is to be allowed: `edit`, `bash`, `external_directory`, …
    pub permission: String,
    /// What for: paths, commands.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// What "always" would allow.
    #[serde(default)]
    pub always: Vec<String>,
    /// The tool call that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// What more the agent says: a diff, a command.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
    /// The answers there are.
    pub options: Vec<PermissionOption>,
}

/// One possible answer to a permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PermissionOption {
    /// What is answered.
    pub id: String,
    /// What it means.
    pub kind: PermissionKind,
    /// For a button.
    pub name: String,
}

/// What an answer to a permission means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PermissionKind {
    /// This time.
    AllowOnce,
    /// From now on.
    AllowAlways,
    /// Not this time.
    RejectOnce,
    /// Something this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// What a person is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuestionAsk {
    /// The request, to answer it by.
    pub request_id: String,
    /// The session that asks: the turn's own, or that of a subagent.
    pub session_id: String,
    /// The questions; an answer is one list of labels for each, in this order.
    pub questions: Vec<Question>,
    /// The tool call that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// One question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Question {
    /// The question.
    pub question: String,
    /// The same in one or two words.
    #[serde(default)]
    pub header: String,
    /// What can be chosen.
    #[serde(default)]
    pub options: Vec<QuestionOption>,
    /// More than one may be chosen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multiple: bool,
    /// An answer in one's own words is taken as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub custom: bool,
}

/// One choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuestionOption {
    /// The choice, and what is answered.
    pub label: String,
    /// What it means.
    #[serde(default)]
    pub description: String,
}

/// How a turn is getting on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Status {
    /// The state.
    pub state: TurnState,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The attempt that failed, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When it is tried again, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<u64>,
}

/// What a turn does at the moment.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// It waits for the turns before it.
    Queued,
    /// It runs.
    #[default]
    Busy,
    /// The model's provider failed; it will be asked again.
    Retry,
    /// The conversation is being shortened.
    Compacting,
    /// Events were lost or held up; what the agent has was looked at instead.
    Reconciled,
    /// What ran it has ended; it goes on, with its prompt sent once more.
    Resumed,
    /// Something this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// What a turn has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Usage {
    /// Tokens the model read, without those from its cache.
    pub input_tokens: u64,
    /// Tokens it wrote.
    pub output_tokens: u64,
    /// Tokens it thought.
    pub reasoning_tokens: u64,
    /// Tokens it had in its cache.
    pub cache_read_tokens: u64,
    /// Tokens it put there.
    pub cache_write_tokens: u64,
    /// US dollars, as far as the agent knows the price.
    pub cost: f64,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnEnd {
    /// The outcome.
    pub outcome: TurnOutcome,
    /// What went wrong, unless it completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TurnError>,
}

/// The outcome of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnOutcome {
    /// The agent has done what it had to say.
    Completed,
    /// It could not go on.
    Failed,
    /// It was ended from outside: an abort, or the death of its backend.
    Interrupted,
    /// It stands still until a person answers. The turn is not over.
    Waiting,
    /// Something this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// What went wrong in a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnError {
    /// The agent's own name for it.
    pub name: String,
    /// In words.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;

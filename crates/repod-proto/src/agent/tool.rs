//! Tool calls, in the shape of the Agent Client Protocol: a snapshot says all there is to know.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tool call as it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolCall {
    /// The model's own id for the call.
    pub id: String,
    /// For people: the command, the file.
    pub title: String,
    /// What sort of thing it does.
    pub kind: ToolKind,
    /// How far it is.
    pub status: ToolStatus,
    /// The tool, by the agent's name for it: `bash`, `edit`, `github_create_issue`.
    #[serde(default)]
    pub tool: String,
    /// What it was called with. Null while the model is still writing it.
    #[serde(default)]
    pub raw_input: Value,
    /// What came of it: `{"output": …, "metadata": …}`, `{"error": …}` where it failed. Null before.
    #[serde(default)]
    pub raw_output: Value,
    /// The files it is about.
    #[serde(default)]
    pub locations: Vec<Location>,
    /// What it changed, as far as it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diffs: Vec<Diff>,
}

/// What sort of thing a tool does.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Reads files.
    Read,
    /// Changes files.
    Edit,
    /// Removes files.
    Delete,
    /// Moves files.
    Move,
    /// Searches.
    Search,
    /// Runs commands.
    Execute,
    /// Thinks, plans, or has a subagent do it.
    Think,
    /// Fetches from elsewhere.
    Fetch,
    /// Anything else.
    #[default]
    #[serde(other)]
    Other,
}

/// How far a tool call is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// The model is still writing it, or it waits.
    #[default]
    Pending,
    /// It runs.
    InProgress,
    /// It has its result.
    Completed,
    /// It has failed, or was ended.
    Failed,
}

impl ToolStatus {
    /// Whether nothing more will come of it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Location {
    /// The file, as the tool was told.
    pub path: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// A change of one file. Either both texts are there, or a patch, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diff {
    /// The file.
    pub path: String,
    /// What was replaced; absent for a new file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_text: Option<String>,
    /// By what; absent for a removed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_text: Option<String>,
    /// The change as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

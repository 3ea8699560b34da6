//! From a turn's events to what an editor is told: `session/update`. No I/O.

use agent_client_protocol::v1::schema::{
    Content, ContentBlock, ContentChunk, Diff, Plan, PlanEntry, PlanEntryPriority, PlanEntryStatus,
    SessionUpdate, ToolCall, ToolCallContent, ToolCallLocation, ToolCallStatus, ToolCallUpdate,
    ToolCallUpdateFields, ToolKind,
};
use repod_proto::agent::{self, AgentEvent, Chunk, ToolStatus};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest output of a tool that is shown; all of it is in the session.
const OUTPUT_MAX: usize = 256 * 1024;

/// Tells one turn.
#[derive(Debug)]
pub(super) struct Teller {
    directory: PathBuf,
    /// What was told of each part, because an editor can't be told to forget something.
    told: BTreeMap<String, String>,
    calls: BTreeMap<String, agent::ToolCall>,
}

impl Teller {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), told: BTreeMap::new(), calls: BTreeMap::new() }
    }

    /// A tool call of this turn as it was told last.
    pub(super) fn call(&self, id: &str) -> Option<&agent::ToolCall> {
        self.calls.get(id)
    }

    /// What an event means to an editor.
    pub(super) fn updates(&mut self, event: &AgentEvent) -> Vec<SessionUpdate> {
        match event {
            AgentEvent::Text(chunk) => self
                .grown(chunk)
                .map(|text| SessionUpdate::AgentMessageChunk(says(text)))
                .into_iter()
                .collect(),
            AgentEvent::Reasoning(chunk) => self
                .grown(chunk)
                .map(|text| SessionUpdate::AgentThoughtChunk(says(text)))
                .into_iter()
                .collect(),
            AgentEvent::ToolCall { tool_call } | AgentEvent::ToolUpdate { tool_call } => {
                self.called(tool_call)
            }
            _ => Vec::new(),
        }
    }

    fn grown(&mut self, chunk: &Chunk) -> Option<String> {
        let told = self.told.entry(chunk.part_id.clone().unwrap_or_default()).or_default();
        let text = if chunk.replace {
            // What was told stays; a text that became another one altogether is told after it.
            let rest = chunk.text.strip_prefix(told.as_str());
            rest.map_or_else(|| format!("\n\n{}", chunk.text), str::to_owned)
        } else {
            chunk.text.clone()
        };
        if chunk.replace {
            chunk.text.clone_into(told);
        } else {
            told.push_str(&text);
        }
        (!text.is_empty()).then_some(text)
    }

    fn called(&mut self, call: &agent::ToolCall) -> Vec<SessionUpdate> {
        let known = self.calls.insert(call.id.clone(), call.clone()).is_some();
        let fields = fields(call, &self.directory);
        let mut updates = vec![if known {
            SessionUpdate::ToolCallUpdate(ToolCallUpdate::new(call.id.clone(), fields))
        } else {
            let mut first = ToolCall::new(call.id.clone(), call.title.clone());
            first.update(fields);
            SessionUpdate::ToolCall(first)
        }];
        updates.extend(plan(call).map(SessionUpdate::Plan));
        updates
    }
}

/// A piece of text.
pub(super) fn says(text: impl Into<String>) -> ContentChunk {
    ContentChunk::new(ContentBlock::from(text.into()))
}

/// A snapshot of a call.
pub(super) fn fields(call: &agent::ToolCall, directory: &Path) -> ToolCallUpdateFields {
    let place = |location: &agent::Location| {
        ToolCallLocation::new(directory.join(&location.path)).line(location.line)
    };
    let present = |value: &Value| (!value.is_null()).then(|| value.clone());
    ToolCallUpdateFields::new()
        .title(call.title.clone())
        .kind(kind(call.kind))
        .status(status(call.status))
        .content(content(call, directory))
        .locations(call.locations.iter().map(place).collect::<Vec<_>>())
        .raw_input(present(&call.raw_input))
        .raw_output(present(&call.raw_output))
}

fn content(call: &agent::ToolCall, directory: &Path) -> Vec<ToolCallContent> {
    let mut content = Vec::new();
    for diff in &call.diffs {
        content.push(match (&diff.new_text, &diff.patch) {
            (None, Some(patch)) => fenced("diff", patch),
            (new, _) => {
                let shown = Diff::new(directory.join(&diff.path), new.clone().unwrap_or_default());
                ToolCallContent::Diff(shown.old_text(diff.old_text.clone()))
            }
        });
    }
    if let Some(error) = call.raw_output["error"].as_str() {
        content.push(text(error));
    } else if let Some(output) = call.raw_output["output"].as_str()
        && call.diffs.is_empty()
        && !output.is_empty()
    {
        content.push(text(output));
    }
    content
}

/// A text that is shown as code.
pub(super) fn fenced(language: &str, body: &str) -> ToolCallContent {
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    text(&format!("{fence}{language}\n{}\n{fence}", body.trim_end_matches('\n')))
}

fn text(text: &str) -> ToolCallContent {
    let mut shown = text;
    if text.len() > OUTPUT_MAX {
        let end = (0..=OUTPUT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        shown = &text[..end];
    }
    let cut = if shown.len() < text.len() { "\n…" } else { "" };
    ToolCallContent::Content(Content::new(ContentBlock::from(format!("{shown}{cut}"))))
}

pub(super) fn kind(kind: agent::ToolKind) -> ToolKind {
    match kind {
        agent::ToolKind::Read => ToolKind::Read,
        agent::ToolKind::Edit => ToolKind::Edit,
        agent::ToolKind::Delete => ToolKind::Delete,
        agent::ToolKind::Move => ToolKind::Move,
        agent::ToolKind::Search => ToolKind::Search,
        agent::ToolKind::Execute => ToolKind::Execute,
        agent::ToolKind::Think => ToolKind::Think,
        agent::ToolKind::Fetch => ToolKind::Fetch,
        agent::ToolKind::Other => ToolKind::Other,
    }
}

fn status(status: ToolStatus) -> ToolCallStatus {
    match status {
        ToolStatus::Pending => ToolCallStatus::Pending,
        ToolStatus::InProgress => ToolCallStatus::InProgress,
        ToolStatus::Completed => ToolCallStatus::Completed,
        ToolStatus::Failed => ToolCallStatus::Failed,
    }
}

/// The plan that a call of `todowrite` writes down.
fn plan(call: &agent::ToolCall) -> Option<Plan> {
    if call.tool != "todowrite" {
        return None;
    }
    let todos = call.raw_input["todos"].as_array()?;
    let entry = |todo: &Value| {
        let priority = match todo["priority"].as_str() {
            Some("high") => PlanEntryPriority::High,
            Some("low") => PlanEntryPriority::Low,
            _ => PlanEntryPriority::Medium,
        };
        let status = match todo["status"].as_str() {
            Some("completed" | "cancelled") => PlanEntryStatus::Completed,
            Some("in_progress") => PlanEntryStatus::InProgress,
            _ => PlanEntryStatus::Pending,
        };
        Some(PlanEntry::new(todo["content"].as_str()?, priority, status))
    };
    Some(Plan::new(todos.iter().filter_map(entry).collect()))
}

#[cfg(test)]
mod tests;

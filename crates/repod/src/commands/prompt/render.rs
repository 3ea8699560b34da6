//! A turn for people: the answer on standard output as it comes; what else happens beside it, folded.

use crate::output;
use repod_proto::agent::{AgentEvent, Chunk, Diff, ToolCall, ToolStatus, TurnEnd, TurnState};
use std::collections::{HashMap, HashSet};

/// Lines of a diff that are shown.
const DIFF_LINES: usize = 40;

/// What has been shown.
#[derive(Debug, Default)]
pub(super) struct Render {
    /// The answer stands in the middle of a line.
    is_in_line: bool,
    /// Text by part, for one that is told anew.
    texts: HashMap<String, String>,
    /// Characters thought so far; none while nothing is thought.
    thought: usize,
    shown: HashSet<(String, bool)>,
    last_part: Option<String>,
}

impl Render {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn show(&mut self, event: &AgentEvent) {
        if !matches!(event, AgentEvent::Reasoning(_) | AgentEvent::Usage(_)) {
            self.fold_thoughts();
        }
        match event {
            AgentEvent::Text(chunk) => self.text(chunk),
            AgentEvent::Reasoning(chunk) => self.thought += chunk.text.chars().count(),
            AgentEvent::ToolCall { tool_call } | AgentEvent::ToolUpdate { tool_call } => {
                self.call(tool_call);
            }
            AgentEvent::Permission(ask) => {
                let what = ask.patterns.join(", ");
                self.beside(&format!("? {} wants to be allowed: {what}", ask.permission));
                self.beside(&format!("  (request {})", ask.request_id));
            }
            AgentEvent::Question(ask) => {
                for question in &ask.questions {
                    self.beside(&format!("? {}", question.question));
                }
                self.beside(&format!("  (request {})", ask.request_id));
            }
            AgentEvent::Status(status) => match status.state {
                TurnState::Queued => self.beside("waiting for the turns before it"),
                TurnState::Retry => {
                    let why = status.message.as_deref().unwrap_or("the provider failed");
                    self.beside(&format!("trying again: {why}"));
                }
                TurnState::Compacting => self.beside("the conversation is being shortened"),
                TurnState::Resumed => {
                    self.beside(status.message.as_deref().unwrap_or("the turn goes on"));
                }
                _ => {}
            },
            AgentEvent::Turn(end) => self.end(end),
            _ => {}
        }
    }

    fn text(&mut self, chunk: &Chunk) {
        let part = chunk.part_id.clone().unwrap_or_default();
        if self.last_part.as_ref().is_some_and(|last| *last != part) {
            self.end_line();
        }
        self.last_part = Some(part.clone());
        let told = self.texts.entry(part).or_default();
        if chunk.replace {
            let told = std::mem::replace(told, chunk.text.clone());
            match chunk.text.strip_prefix(&*told) {
                Some(rest) => self.write(rest),
                None => {
                    self.end_line();
                    self.write(&chunk.text);
                }
            }
            return;
        }
        told.push_str(&chunk.text);
        self.write(&chunk.text);
    }

    fn write(&mut self, text: &str) {
        if !text.is_empty() {
            output::text(text);
            self.is_in_line = !text.ends_with('\n');
        }
    }

    fn call(&mut self, call: &ToolCall) {
        let is_final = call.status.is_final();
        // Once when it begins, once when it ends.
        if call.status == ToolStatus::Pending || !self.shown.insert((call.id.clone(), is_final)) {
            return;
        }
        let mark = match call.status {
            ToolStatus::Completed => "✓",
            ToolStatus::Failed => "✗",
            _ => "•",
        };
        self.beside(&format!("{mark} {}  {}", call.tool, call.title));
        if call.status == ToolStatus::Failed
            && let Some(error) = call.raw_output["error"].as_str()
        {
            self.beside(&format!("  {error}"));
        }
        if is_final {
            call.diffs.iter().for_each(|diff| self.diff(diff));
        }
    }

    fn diff(&mut self, diff: &Diff) {
        let Some(patch) = &diff.patch else {
            self.beside(&format!("  {} changed", diff.path));
            return;
        };
        self.end_line();
        let lines: Vec<&str> = patch.lines().collect();
        lines.iter().take(DIFF_LINES).for_each(|line| output::diff_line(line));
        if lines.len() > DIFF_LINES {
            self.beside(&format!("  … {} more lines", lines.len() - DIFF_LINES));
        }
    }

    fn end(&mut self, end: &TurnEnd) {
        self.end_line();
        if let Some(error) = &end.error {
            output::warn(&format!("{}: {}", error.name, error.message));
        }
    }

    fn fold_thoughts(&mut self) {
        let thought = std::mem::take(&mut self.thought);
        if thought > 0 {
            self.beside(&format!("… thought ({thought} characters)"));
        }
    }

    fn beside(&mut self, text: &str) {
        self.end_line();
        output::note(text);
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.is_in_line) {
            output::text("\n");
        }
    }
}

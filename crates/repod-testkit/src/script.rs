//! What the model shall say, written into the prompt itself.
//!
//! The script travels with the conversation, so one server serves any number of sessions without
//! state: step *n* answers the *n*-th model request of the turn.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What a script's line in the prompt begins with.
pub(crate) const MARK: &str = "SCRIPT:";

/// One answer of the model. Empty fields are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Waits until the gate of this name is opened (`ModelServer::open`), 10 minutes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Pause before each delta of the text; without a text, before the answer. Milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub delay_ms: u64,
    /// Sent first, as `reasoning_content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The answer's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Into how many deltas the text is cut; 0 and 1 both mean one.
    #[serde(skip_serializing_if = "is_default")]
    pub deltas: usize,
    /// Tool calls, all in this one answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolCall>,
    /// Answers with this HTTP status instead. OpenCode retries 429 and 5xx by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<u16>,
    /// Doesn't answer until the client leaves or the server ends, 10 minutes at most.
    #[serde(skip_serializing_if = "is_default")]
    pub hang: bool,
    /// Drops the connection in the middle of the text.
    #[serde(skip_serializing_if = "is_default")]
    pub cut: bool,
    /// How many attempts `fail`, `hang` and `cut` spoil before the step answers; unset means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One tool call of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments.
    pub args: Value,
}

impl ToolCall {
    /// Any tool.
    pub fn new(name: impl Into<String>, args: Value) -> Self {
        Self { name: name.into(), args }
    }

    /// `write`: the whole file.
    pub fn write(path: impl AsRef<Path>, content: impl Into<String>) -> Self {
        let args = json!({ "filePath": path.as_ref(), "content": content.into() });
        Self::new("write", args)
    }

    /// `edit`: one replacement.
    pub fn edit(path: impl AsRef<Path>, old: impl Into<String>, new: impl Into<String>) -> Self {
        let args = json!({
            "filePath": path.as_ref(), "oldString": old.into(), "newString": new.into(),
        });
        Self::new("edit", args)
    }

    /// `read`.
    pub fn read(path: impl AsRef<Path>) -> Self {
        Self::new("read", json!({ "filePath": path.as_ref() }))
    }

    /// `bash`.
    pub fn bash(command: impl Into<String>) -> Self {
        Self::new("bash", json!({ "command": command.into(), "description": "scripted" }))
    }

    /// `apply_patch`; see [`patch_add`] and its neighbours for the text.
    pub fn apply_patch(patch: impl Into<String>) -> Self {
        Self::new("apply_patch", json!({ "patchText": patch.into() }))
    }

    /// `task`: a subagent that follows a script of its own.
    pub fn task(script: &Script) -> Self {
        let args = json!({
            "description": "scripted", "prompt": script.to_string(), "subagent_type": "general",
        });
        Self::new("task", args)
    }
}

/// A patch text that adds one file. `content` ends with a newline.
pub fn patch_add(path: impl AsRef<Path>, content: &str) -> String {
    let lines: String = content.lines().map(|line| format!("+{line}\n")).collect();
    let path = path.as_ref().display();
    format!("*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch")
}

/// A patch text that replaces the lines `old` of one file by the lines `new`.
pub fn patch_update(path: impl AsRef<Path>, old: &str, new: &str) -> String {
    let old: String = old.lines().map(|line| format!("-{line}\n")).collect();
    let new: String = new.lines().map(|line| format!("+{line}\n")).collect();
    let path = path.as_ref().display();
    format!("*** Begin Patch\n*** Update File: {path}\n@@\n{old}{new}*** End Patch")
}

/// A patch text that deletes one file.
pub fn patch_delete(path: impl AsRef<Path>) -> String {
    format!("*** Begin Patch\n*** Delete File: {}\n*** End Patch", path.as_ref().display())
}

/// The steps of one turn. `to_string` gives the prompt.
///
/// [`reasoning`](Self::reasoning), [`pause`](Self::pause), [`gate`](Self::gate) and
/// [`flaky`](Self::flaky) describe the *next* step; everything else adds one.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    next: Step,
}

impl Script {
    /// No steps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next step thinks aloud first.
    pub fn reasoning(mut self, text: impl Into<String>) -> Self {
        self.next.reasoning = Some(text.into());
        self
    }

    /// The next step waits before it answers (before each delta, if its text is paced).
    pub fn pause(mut self, pause: Duration) -> Self {
        self.next.delay_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// The next step waits for the gate `name`.
    pub fn gate(mut self, name: impl Into<String>) -> Self {
        self.next.gate = Some(name.into());
        self
    }

    /// The next step fails with `status` at its first `times` attempts.
    pub fn flaky(mut self, status: u16, times: u32) -> Self {
        self.next.fail = Some(status);
        self.next.times = Some(times);
        self
    }

    /// Answers `text` in one delta.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.next.text = Some(text.into());
        self.push()
    }

    /// Answers `text` in `deltas` pieces with `pause` before each.
    pub fn paced(self, text: impl Into<String>, deltas: usize, pause: Duration) -> Self {
        let mut script = self.pause(pause);
        script.next.deltas = deltas;
        script.text(text)
    }

    /// Calls several tools at once.
    pub fn tools(mut self, calls: impl IntoIterator<Item = ToolCall>) -> Self {
        self.next.tools = calls.into_iter().collect();
        self.push()
    }

    /// Calls one tool.
    pub fn tool(self, name: impl Into<String>, args: Value) -> Self {
        self.tools([ToolCall::new(name, args)])
    }

    /// Calls `write`.
    pub fn write(self, path: impl AsRef<Path>, content: impl Into<String>) -> Self {
        self.tools([ToolCall::write(path, content)])
    }

    /// Calls `edit`.
    pub fn edit(
        self,
        path: impl AsRef<Path>,
        old: impl Into<String>,
        new: impl Into<String>,
    ) -> Self {
        self.tools([ToolCall::edit(path, old, new)])
    }

    /// Calls `read`.
    pub fn read(self, path: impl AsRef<Path>) -> Self {
        self.tools([ToolCall::read(path)])
    }

    /// Calls `bash`.
    pub fn bash(self, command: impl Into<String>) -> Self {
        self.tools([ToolCall::bash(command)])
    }

    /// Calls `apply_patch`; only [`PATCH_MODEL`](crate::PATCH_MODEL) has that tool.
    pub fn apply_patch(self, patch: impl Into<String>) -> Self {
        self.tools([ToolCall::apply_patch(patch)])
    }

    /// Starts a subagent that follows `script`.
    pub fn task(self, script: &Script) -> Self {
        self.tools([ToolCall::task(script)])
    }

    /// Fails with this HTTP status, at every attempt. Use a 4xx other than 429 for a failure
    /// OpenCode doesn't retry.
    pub fn fail(mut self, status: u16) -> Self {
        self.next.fail = Some(status);
        self.push()
    }

    /// Never answers.
    pub fn hang(mut self) -> Self {
        self.next.hang = true;
        self.push()
    }

    /// Drops the connection after half of `text`, at every attempt.
    pub fn cut(mut self, text: impl Into<String>) -> Self {
        self.next.cut = true;
        self.text(text)
    }

    /// Any step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn push(mut self) -> Self {
        self.steps.push(std::mem::take(&mut self.next));
        self
    }

    /// The prompt: `words` for people to read, then the script's line.
    pub fn prompt(&self, words: &str) -> String {
        format!("{words}\n{self}")
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = self.steps.clone();
        if self.next != Step::default() {
            steps.push(self.next.clone());
        }
        write!(f, "{MARK} {}", json!(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_line_of_the_prompt() {
        let script = Script::new().reasoning("hm").write("/r/a", "x\ny\n").text("done");
        let prompt = script.prompt("please");
        let (words, line) = prompt.split_once('\n').unwrap();
        assert_eq!(words, "please");
        let steps: Vec<Step> = serde_json::from_str(line.strip_prefix(MARK).unwrap()).unwrap();
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].reasoning.as_deref(), Some("hm"));
        assert_eq!(steps[0].tools[0].args["content"], "x\ny\n");
        assert_eq!(steps[1], Step { text: Some("done".into()), ..Step::default() });
    }

    #[test]
    fn a_misspelt_step_is_an_error() {
        assert!(serde_json::from_str::<Step>(r#"{"txet":"x"}"#).is_err());
    }
}

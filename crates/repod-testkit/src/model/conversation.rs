//! Reads a chat request: who asks for what, and which step of which script is next.

use crate::script::{MARK, Step};
use serde::Deserialize;
use serde_json::Value;

/// The part of an OpenAI chat request that matters here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ChatRequest {
    #[serde(default)]
    pub(super) model: String,
    pub(super) messages: Vec<Value>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) tools: Vec<Value>,
}

/// What OpenCode wants from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step of a turn.
    Turn,
    /// A session's title, asked of the small model.
    Title,
}

/// A tool's result as the model received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// Id of the call it answers.
    pub call_id: String,
    /// Name of the tool, when the call is still in the conversation.
    pub tool: Option<String>,
    /// The text.
    pub text: String,
}

/// What the model shall do, as found in the conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    Title,
    /// No script: answer with the user's own words.
    Echo(String),
    /// A step of a script; the line identifies the script.
    Step {
        step: Box<Step>,
        line: String,
    },
    /// The script has fewer steps than the turn has requests.
    PastTheEnd,
    /// The script's line isn't what [`Step`] says.
    Malformed(String),
}

/// The text of a message, its parts joined by newlines.
pub(super) fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn role(message: &Value) -> &str {
    message["role"].as_str().unwrap_or_default()
}

/// Titles are asked with a system prompt of their own and without tools (OpenCode 1.18.33).
pub(super) fn kind(request: &ChatRequest) -> Kind {
    let system = request.messages.iter().find(|m| role(m) == "system").map(text_of);
    let wants_title = system.is_some_and(|text| text.contains("title generator"));
    if wants_title && request.tools.is_empty() { Kind::Title } else { Kind::Turn }
}

/// The last user message and the number of answers since.
pub(super) fn last_user(messages: &[Value]) -> (String, usize) {
    let at = messages.iter().rposition(|m| role(m) == "user");
    let text = at.map(|at| text_of(&messages[at])).unwrap_or_default();
    let since = messages.iter().skip(at.map_or(0, |at| at + 1));
    (text, since.filter(|m| role(m) == "assistant").count())
}

/// Results of the tools called since the last user message.
pub(super) fn tool_results(messages: &[Value]) -> Vec<ToolResult> {
    let start = messages.iter().rposition(|m| role(m) == "user").map_or(0, |at| at + 1);
    let turn = &messages[start..];
    let calls: Vec<&Value> =
        turn.iter().filter_map(|m| m["tool_calls"].as_array()).flatten().collect();
    let name_of = |id: &str| {
        let call = calls.iter().find(|call| call["id"] == id)?;
        call["function"]["name"].as_str().map(str::to_owned)
    };
    let results = turn.iter().filter(|m| role(m) == "tool").map(|m| {
        let call_id = m["tool_call_id"].as_str().unwrap_or_default().to_owned();
        ToolResult { tool: name_of(&call_id), call_id, text: text_of(m) }
    });
    results.collect()
}

/// What follows the mark: of the last line that begins with it, because a script may hold another
/// one in a string (a subagent's prompt); else of its first place in the text.
fn script_in(text: &str) -> Option<&str> {
    let begins = |line: &&str| line.trim_start_matches([' ', '"']).starts_with(MARK);
    let at_line = text.lines().rfind(begins).and_then(|line| line.split_once(MARK));
    at_line.or_else(|| text.split_once(MARK)).map(|(_, script)| script)
}

/// Decides what to do next.
pub(super) fn next(request: &ChatRequest) -> Next {
    if kind(request) == Kind::Title {
        return Next::Title;
    }
    let (text, index) = last_user(&request.messages);
    let Some(line) = script_in(&text) else {
        return Next::Echo(text);
    };
    // `opencode run` puts a prompt with spaces in quotation marks and a backslash before those within.
    let steps =
        steps_of(line).or_else(|why| steps_of(&line.replace("\\\"", "\"")).map_err(|_| why));
    match steps {
        Ok(mut steps) if index < steps.len() => {
            Next::Step { step: Box::new(steps.swap_remove(index)), line: line.to_owned() }
        }
        Ok(_) => Next::PastTheEnd,
        Err(why) => Next::Malformed(why),
    }
}

/// Reads the first JSON value and leaves what stands after it.
fn steps_of(line: &str) -> Result<Vec<Step>, String> {
    let mut values = serde_json::Deserializer::from_str(line).into_iter::<Vec<Step>>();
    let first = values.next().ok_or("no steps")?;
    first.map_err(|source| source.to_string())
}

//! A whole turn: the prompt in, everything the agent did out.

use super::http::{Oc, OcError};
use crate::Script;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// How long a scripted turn may take, the first one of a cold process on a busy machine included.
const TURN_BOUND: Duration = Duration::from_mins(5);

/// What is sent to a session.
#[derive(Clone, Debug)]
pub struct Prompt {
    text: String,
    model: Option<String>,
    agent: Option<String>,
}

impl Prompt {
    /// A text for the default model and agent.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), model: None, agent: None }
    }

    /// For this model, as `provider/model`.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// For this agent.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({ "parts": [{ "type": "text", "text": self.text }] });
        if let Some((provider, model)) = self.model.as_deref().and_then(|m| m.split_once('/')) {
            body["model"] = json!({ "providerID": provider, "modelID": model });
        }
        if let Some(agent) = &self.agent {
            body["agent"] = json!(agent);
        }
        body
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Script> for Prompt {
    fn from(script: Script) -> Self {
        Self::new(script.to_string())
    }
}

impl From<&Script> for Prompt {
    fn from(script: &Script) -> Self {
        Self::new(script.to_string())
    }
}

/// One tool call as OpenCode recorded it.
#[derive(Clone, Debug)]
pub struct ToolPart {
    /// The tool's name.
    pub tool: String,
    /// Id of the call.
    pub call_id: String,
    /// `pending`, `running`, `completed` or `error`.
    pub status: String,
    /// Its arguments.
    pub input: Value,
    /// Its output, when completed.
    pub output: Option<String>,
    /// Its error, when failed: the text the model received.
    pub error: Option<String>,
    /// The line a person sees.
    pub title: Option<String>,
    /// The whole part.
    pub raw: Value,
}

/// Everything since the turn's user message.
#[derive(Clone, Debug, Default)]
pub struct TurnOutcome {
    /// The session.
    pub session: String,
    /// The texts of all answers, joined by newlines.
    pub text: String,
    /// What was thought aloud, joined by newlines.
    pub reasoning: String,
    /// Tool calls in their order.
    pub tools: Vec<ToolPart>,
    /// `finish` of the last answer: `stop`, `tool-calls`, ….
    pub finish: Option<String>,
    /// Error of the last answer, `{name, data}`.
    pub error: Option<Value>,
}

impl TurnOutcome {
    /// Reads what came after the last user message of `messages`.
    pub fn of(session: &str, messages: &[Value]) -> Self {
        let start = messages.iter().rposition(|m| m["info"]["role"] == "user");
        let turn = &messages[start.map_or(0, |at| at + 1)..];
        let parts: Vec<&Value> =
            turn.iter().filter_map(|m| m["parts"].as_array()).flatten().collect();
        let joined = |kind: &str| {
            let of_kind = parts.iter().filter(|p| p["type"] == kind);
            of_kind.filter_map(|p| p["text"].as_str()).collect::<Vec<_>>().join("\n")
        };
        let info = turn.last().map(|m| &m["info"]);
        Self {
            session: session.to_owned(),
            text: joined("text"),
            reasoning: joined("reasoning"),
            tools: parts.iter().filter(|p| p["type"] == "tool").map(|p| tool_part(p)).collect(),
            finish: info.and_then(|i| i["finish"].as_str()).map(str::to_owned),
            error: info.map(|i| i["error"].clone()).filter(|error| !error.is_null()),
        }
    }

    /// Name of the error (`APIError`, `MessageAbortedError`, …).
    pub fn error_name(&self) -> Option<&str> {
        self.error.as_ref().and_then(|error| error["name"].as_str())
    }

    /// The turn, after making sure that it and all its tool calls succeeded.
    ///
    /// # Panics
    /// With the error when they did not.
    #[must_use]
    pub fn succeeded(self) -> Self {
        assert!(self.error.is_none(), "the turn failed: {:?}", self.error);
        let failed: Vec<_> = self.tools.iter().filter(|t| t.status != "completed").collect();
        assert!(failed.is_empty(), "tool calls failed: {failed:#?}");
        self
    }
}

fn tool_part(part: &Value) -> ToolPart {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let state = &part["state"];
    ToolPart {
        tool: text(&part["tool"]).unwrap_or_default(),
        call_id: text(&part["callID"]).unwrap_or_default(),
        status: text(&state["status"]).unwrap_or_default(),
        input: state["input"].clone(),
        output: text(&state["output"]),
        error: text(&state["error"]),
        title: text(&state["title"]),
        raw: part.clone(),
    }
}

impl Oc {
    /// One turn in a new session of `directory`, waited for up to two minutes. A turn that fails is
    /// an outcome with an error, not an `Err`.
    ///
    /// # Errors
    /// When a call has no answer or not a 2xx.
    pub async fn turn(
        &self,
        directory: &Path,
        prompt: impl Into<Prompt>,
    ) -> Result<TurnOutcome, OcError> {
        let session = self.create_session(directory).await?;
        self.turn_in(&session, prompt).await
    }

    /// One turn in an existing session.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub async fn turn_in(
        &self,
        session: &str,
        prompt: impl Into<Prompt>,
    ) -> Result<TurnOutcome, OcError> {
        self.prompt(session, prompt, TURN_BOUND).await?;
        self.last_turn(session).await
    }

    /// What the session's last turn has done so far.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub async fn last_turn(&self, session: &str) -> Result<TurnOutcome, OcError> {
        Ok(TurnOutcome::of(session, &self.messages(session).await?))
    }
}

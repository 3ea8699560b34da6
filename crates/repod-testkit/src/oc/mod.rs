//! A small OpenCode client for tests: typed where a test looks, raw JSON everywhere else.
//!
//! One connection per request, so that a test never sees what a pool hides.

mod events;
mod http;
mod turn;

pub use events::EventStream;
pub use http::{Oc, OcError, Reply};
pub use turn::{Prompt, ToolPart, TurnOutcome};

use http::BOUND;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

impl Oc {
    /// `GET /global/health`.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn health(&self) -> Result<Value, OcError> {
        self.get("/global/health", None).await
    }

    /// A JSON document.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn get(&self, path: &str, directory: Option<&Path>) -> Result<Value, OcError> {
        self.call("GET", path, directory, None, BOUND).await?.ok()
    }

    /// Sends a JSON document.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn post(
        &self,
        path: &str,
        directory: Option<&Path>,
        body: Value,
    ) -> Result<Value, OcError> {
        self.call("POST", path, directory, Some(body), BOUND).await?.ok()
    }

    /// Makes a session in `directory` and returns its id.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn create_session(&self, directory: &Path) -> Result<String, OcError> {
        let session = self.post("/session", Some(directory), json!({})).await?;
        Ok(session["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Prompts and waits for the turn's last message; the answer is that message.
    ///
    /// # Errors
    /// When there is no answer within `bound`, or not a 2xx.
    pub async fn prompt(
        &self,
        session: &str,
        prompt: impl Into<Prompt>,
        bound: Duration,
    ) -> Result<Value, OcError> {
        let path = format!("/session/{session}/message");
        self.call("POST", &path, None, Some(prompt.into().body()), bound).await?.ok()
    }

    /// Prompts without waiting. OpenCode 1.18.33 answers *before* the session is busy; to wait for
    /// the end use [`start_turn`](Self::start_turn) instead.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn prompt_async(
        &self,
        session: &str,
        prompt: impl Into<Prompt>,
    ) -> Result<(), OcError> {
        let path = format!("/session/{session}/prompt_async");
        self.post(&path, None, prompt.into().body()).await.map(drop)
    }

    /// Prompts and returns once the turn runs (or has failed already), so that
    /// [`wait_idle`](Self::wait_idle) afterwards means this turn's end.
    ///
    /// # Errors
    /// When there is no answer within 60 s, or not a 2xx.
    pub async fn start_turn(
        &self,
        session: &str,
        prompt: impl Into<Prompt>,
    ) -> Result<(), OcError> {
        let mut events = self.global_events().await?;
        self.prompt_async(session, prompt).await?;
        let begins = ["session.status", "session.error", "session.idle"];
        events
            .next_where("the turn's begin", BOUND, |event| {
                let kind = event["type"].as_str().unwrap_or_default();
                event["properties"]["sessionID"] == session && begins.contains(&kind)
            })
            .await
            .map(drop)
    }

    /// The session's messages, `[{info, parts}]`.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn messages(&self, session: &str) -> Result<Vec<Value>, OcError> {
        let messages = self.get(&format!("/session/{session}/message"), None).await?;
        Ok(messages.as_array().cloned().unwrap_or_default())
    }

    /// Status of every session of `directory` that isn't idle.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn status(&self, directory: &Path) -> Result<Value, OcError> {
        self.get("/session/status", Some(directory)).await
    }

    /// Whether the session is busy or waits for a retry.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn is_busy(&self, session: &str, directory: &Path) -> Result<bool, OcError> {
        let status = self.status(directory).await?;
        Ok(status.get(session).is_some_and(|s| s["type"] != "idle"))
    }

    /// Ends the session's turn.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn abort(&self, session: &str) -> Result<(), OcError> {
        self.post(&format!("/session/{session}/abort"), None, json!({})).await.map(drop)
    }

    /// Runs a command as the user, without the model; the answer is the message it made.
    ///
    /// # Errors
    /// When there is no answer within `bound`, or not a 2xx.
    pub async fn shell(
        &self,
        session: &str,
        command: &str,
        bound: Duration,
    ) -> Result<Value, OcError> {
        let body = json!({ "agent": "build", "command": command });
        let path = format!("/session/{session}/shell");
        self.call("POST", &path, None, Some(body), bound).await?.ok()
    }

    /// Permission requests that wait for an answer in `directory`.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn permissions(&self, directory: &Path) -> Result<Vec<Value>, OcError> {
        let pending = self.get("/permission", Some(directory)).await?;
        Ok(pending.as_array().cloned().unwrap_or_default())
    }

    /// Answers a permission request: `once`, `always` or `reject`.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn reply_permission(
        &self,
        id: &str,
        directory: &Path,
        reply: &str,
    ) -> Result<(), OcError> {
        let path = format!("/permission/{id}/reply");
        self.post(&path, Some(directory), json!({ "reply": reply })).await.map(drop)
    }

    /// Waits until the session is neither busy nor retrying.
    ///
    /// # Panics
    /// At the bound.
    pub async fn wait_idle(&self, session: &str, directory: &Path, bound: Duration) {
        let what = format!("session {session} to be idle");
        crate::wait_until(&what, bound, async || {
            matches!(self.is_busy(session, directory).await, Ok(false)).then_some(())
        })
        .await;
    }

    /// Events of one directory. The stream has begun when this returns.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn events(&self, directory: &Path) -> Result<EventStream, OcError> {
        EventStream::open(self, "/event", Some(directory)).await
    }

    /// Events of all directories. Each is unwrapped to its `payload`, with `directory` added.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx.
    pub async fn global_events(&self) -> Result<EventStream, OcError> {
        EventStream::open(self, "/global/event", None).await
    }
}

//! Commands and sessions that repod runs in a backend for somebody else.

use super::{BackendClient, CALL_LIMIT, OPEN_LIMIT, ProbeError, escape, parse};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Longest a command may run.
const SHELL_LIMIT: Duration = Duration::from_hours(1);

impl BackendClient {
    /// Makes a session in a directory; its id.
    ///
    /// # Errors
    /// When it is refused, or not answered within [`OPEN_LIMIT`].
    pub async fn create_session(&self, directory: &str, title: &str) -> Result<String, ProbeError> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
        }
        let route = format!("/session?directory={}", escape(directory));
        let document = Bytes::from(json!({ "title": title }).to_string());
        let made = self.call_with(&Method::POST, &route, Some(document), OPEN_LIMIT).await?;
        Ok(parse::<Made>(&made)?.id)
    }

    /// Removes a session.
    ///
    /// # Errors
    /// When it is not answered within 10 s.
    pub async fn delete_session(&self, session: &str) -> Result<(), ProbeError> {
        let route = format!("/session/{}", escape(session));
        self.call_with(&Method::DELETE, &route, None, CALL_LIMIT).await.map(drop)
    }

    /// Runs a command in a session's directory, without a model; what it printed. OpenCode doesn't
    /// tell its exit code.
    ///
    /// # Errors
    /// When it is refused, or takes longer than an hour.
    pub async fn shell(&self, session: &str, command: &str) -> Result<String, ProbeError> {
        #[derive(Deserialize)]
        struct Message {
            parts: Vec<Part>,
        }
        #[derive(Deserialize)]
        struct Part {
            state: Option<State>,
        }
        #[derive(Deserialize)]
        struct State {
            output: Option<String>,
        }
        let agent = self.primary_agent().await?;
        let route = format!("/session/{}/shell", escape(session));
        let document = Bytes::from(json!({ "agent": agent, "command": command }).to_string());
        let ran = self.call_with(&Method::POST, &route, Some(document), SHELL_LIMIT).await?;
        let message: Message = parse(&ran)?;
        let output = message.parts.into_iter().find_map(|part| part.state?.output);
        output.ok_or_else(|| ProbeError::NotOpencode("a command without an output".to_owned()))
    }

    /// Ends what a session is doing.
    ///
    /// # Errors
    /// When it is not answered within 10 s.
    pub async fn abort(&self, session: &str) -> Result<(), ProbeError> {
        let route = format!("/session/{}/abort", escape(session));
        self.call_with(&Method::POST, &route, None, CALL_LIMIT).await.map(drop)
    }

    /// An agent a person could choose; every session's command names one.
    async fn primary_agent(&self) -> Result<String, ProbeError> {
        #[derive(Deserialize)]
        struct Agent {
            name: String,
            #[serde(default)]
            mode: String,
            #[serde(default)]
            hidden: bool,
        }
        let agents: Vec<Agent> = parse(&self.call(&Method::GET, "/agent", CALL_LIMIT).await?)?;
        let usable = |agent: &&Agent| !agent.hidden && agent.mode != "subagent";
        let found = agents.iter().find(usable).or(agents.first());
        found.map(|agent| agent.name.clone()).ok_or_else(|| ProbeError::Failed {
            status: 200,
            message: "it has no agent".to_owned(),
        })
    }
}

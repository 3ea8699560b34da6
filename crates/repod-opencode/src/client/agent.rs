//! The calls a turn is made of: its session, its prompt, its end, and what people answer.

use super::{BackendClient, CALL_LIMIT, OPEN_LIMIT, ProbeError, SessionInfo, escape, parse};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long closing an instance may take: it waits for tools to die.
const DISPOSE_LIMIT: Duration = Duration::from_secs(30);

/// What is prompted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptSpec {
    /// The id its message gets.
    pub message_id: String,
    /// The text.
    pub text: String,
    /// `provider` and `model`; the session's own where absent.
    pub model: Option<(String, String)>,
    /// The agent; the default one where absent.
    pub agent: Option<String>,
    /// Files that come with it.
    pub files: Vec<PromptFile>,
}

/// A file that comes with a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptFile {
    /// Its media type.
    pub mime: String,
    /// Where it is: `file:` or `data:`.
    pub url: String,
    /// What it is called.
    pub filename: Option<String>,
}

/// The project of a directory.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ProjectInfo {
    /// Its id.
    pub id: String,
    /// Its worktree; `/` without version control.
    #[serde(default)]
    pub worktree: String,
}

/// A person's answer to a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionReply {
    /// This time.
    Once,
    /// From now on.
    Always,
    /// No; the session's other open requests are rejected with it.
    Reject,
}

impl PermissionReply {
    fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Always => "always",
            Self::Reject => "reject",
        }
    }
}

impl BackendClient {
    /// The project of a directory. Opens an instance of it, plugins and all.
    ///
    /// # Errors
    /// When it doesn't answer within `limit`.
    pub async fn project(
        &self,
        directory: &str,
        limit: Duration,
    ) -> Result<ProjectInfo, ProbeError> {
        let route = format!("/project/current?directory={}", escape(directory));
        parse(&self.call(&Method::GET, &route, limit).await?)
    }

    /// Closes the instance of a directory; turns and terminals in it end.
    ///
    /// # Errors
    /// When it doesn't answer within 30 s.
    pub async fn dispose_instance(&self, directory: &str) -> Result<(), ProbeError> {
        let route = format!("/instance/dispose?directory={}", escape(directory));
        let document = Some(Bytes::from_static(b"{}"));
        self.call_with(&Method::POST, &route, document, DISPOSE_LIMIT).await.map(drop)
    }

    /// Makes a session. Without a title it is given one after its first turn.
    ///
    /// # Errors
    /// When it is refused, or not answered within [`OPEN_LIMIT`].
    pub async fn new_session(
        &self,
        directory: &str,
        title: Option<&str>,
    ) -> Result<SessionInfo, ProbeError> {
        let route = format!("/session?directory={}", escape(directory));
        let document = title.map_or_else(|| json!({}), |title| json!({ "title": title }));
        let document = Bytes::from(document.to_string());
        parse(&self.call_with(&Method::POST, &route, Some(document), OPEN_LIMIT).await?)
    }

    /// Sends a prompt. OpenCode 1.18.33 answers before the turn has begun, and a session that is busy
    /// takes it into the turn it is in.
    ///
    /// # Errors
    /// [`ProbeError::Failed`] when it is refused; when it isn't answered within 10 s, it may have been
    /// taken.
    pub async fn prompt_async(&self, session: &str, prompt: &PromptSpec) -> Result<(), ProbeError> {
        let mut parts = vec![json!({ "type": "text", "text": prompt.text })];
        for PromptFile { mime, url, filename } in &prompt.files {
            let mut part = json!({ "type": "file", "mime": mime, "url": url });
            if let Some(filename) = filename {
                part["filename"] = json!(filename);
            }
            parts.push(part);
        }
        let mut document = json!({ "messageID": prompt.message_id, "parts": parts });
        if let Some((provider, model)) = &prompt.model {
            document["model"] = json!({ "providerID": provider, "modelID": model });
        }
        if let Some(agent) = &prompt.agent {
            document["agent"] = json!(agent);
        }
        self.send(&Method::POST, &format!("/session/{}/prompt_async", escape(session)), &document)
            .await
            .map(drop)
    }

    /// Subagents of a session, of the first degree.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn children(&self, session: &str) -> Result<Vec<SessionInfo>, ProbeError> {
        let route = format!("/session/{}/children", escape(session));
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    /// Answers a permission; `message` is shown to the model.
    ///
    /// # Errors
    /// When there is no such request, or it isn't answered within 10 s.
    pub async fn reply_permission(
        &self,
        directory: &str,
        request: &str,
        reply: PermissionReply,
        message: Option<&str>,
    ) -> Result<(), ProbeError> {
        let route =
            format!("/permission/{}/reply?directory={}", escape(request), escape(directory));
        let mut document = json!({ "reply": reply.as_str() });
        if let Some(message) = message {
            document["message"] = json!(message);
        }
        self.send(&Method::POST, &route, &document).await.map(drop)
    }

    /// Answers a question: for each of it one list of labels.
    ///
    /// # Errors
    /// When there is no such request, or it isn't answered within 10 s.
    pub async fn reply_question(
        &self,
        directory: &str,
        request: &str,
        answers: &[Vec<String>],
    ) -> Result<(), ProbeError> {
        let route = format!("/question/{}/reply?directory={}", escape(request), escape(directory));
        self.send(&Method::POST, &route, &json!({ "answers": answers })).await.map(drop)
    }

    /// Refuses to answer a question.
    ///
    /// # Errors
    /// When there is no such request, or it isn't answered within 10 s.
    pub async fn reject_question(&self, directory: &str, request: &str) -> Result<(), ProbeError> {
        let route = format!("/question/{}/reject?directory={}", escape(request), escape(directory));
        self.send(&Method::POST, &route, &json!({})).await.map(drop)
    }

    /// Permissions and questions that wait in a directory, as they come.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s each.
    pub async fn asked(&self, directory: &str) -> Result<[Vec<Value>; 2], ProbeError> {
        let directory = escape(directory);
        let permissions = format!("/permission?directory={directory}");
        let questions = format!("/question?directory={directory}");
        Ok([
            parse(&self.call(&Method::GET, &permissions, CALL_LIMIT).await?)?,
            parse(&self.call(&Method::GET, &questions, CALL_LIMIT).await?)?,
        ])
    }

    /// Agents and whether each can begin a turn; providers with the models of each.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s each.
    pub async fn choices(&self, directory: &str) -> Result<Choices, ProbeError> {
        #[derive(Deserialize)]
        struct Providers {
            providers: Vec<Provider>,
            #[serde(default)]
            default: BTreeMap<String, String>,
        }
        #[derive(Deserialize)]
        struct Provider {
            id: String,
            #[serde(default)]
            models: BTreeMap<String, Value>,
        }
        let directory = escape(directory);
        let agents =
            self.call(&Method::GET, &format!("/agent?directory={directory}"), CALL_LIMIT).await?;
        let providers = format!("/config/providers?directory={directory}");
        let providers: Providers = parse(&self.call(&Method::GET, &providers, CALL_LIMIT).await?)?;
        let name = |model: &Value| model["name"].as_str().unwrap_or_default().to_owned();
        let models = providers.providers.iter().flat_map(|provider| {
            let of =
                |(id, model): (&String, &Value)| (format!("{}/{id}", provider.id), name(model));
            provider.models.iter().map(of)
        });
        Ok(Choices {
            agents: parse(&agents)?,
            models: models.collect(),
            default_models: providers.default,
        })
    }
}

/// What can be chosen for a session.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Choices {
    /// The agents.
    pub agents: Vec<AgentChoice>,
    /// The models: `provider/model` and what people call it.
    pub models: Vec<(String, String)>,
    /// The default model of each provider.
    pub default_models: BTreeMap<String, String>,
}

/// An agent that can be chosen.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct AgentChoice {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// `primary`, `subagent` or `all`.
    #[serde(default)]
    pub mode: String,
    /// Whether it is kept from people.
    #[serde(default)]
    pub hidden: bool,
}

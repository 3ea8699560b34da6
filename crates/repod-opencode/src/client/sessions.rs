//! The calls that close the gap a dead backend left: what happened, what is open, what to mend.

use super::{BackendClient, CALL_LIMIT, ProbeError, escape, parse};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One durable event of the past.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct HistoryRow {
    /// Its id, the same as that of the live event.
    pub id: String,
    /// The session it belongs to.
    #[serde(rename = "aggregate_id")]
    pub session: String,
    /// Its number within the session, from 0.
    pub seq: u64,
    /// Its type with a version (`message.updated.1`).
    #[serde(rename = "type")]
    pub kind: String,
    /// What the live event has as properties.
    pub data: Box<RawValue>,
}

/// A session as lists have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// The directory it works in.
    pub directory: String,
    /// What people know it by.
    #[serde(default)]
    pub title: String,
    /// The session that started it as a subagent.
    #[serde(default, rename = "parentID")]
    pub parent: Option<String>,
    /// Its project.
    #[serde(default, rename = "projectID")]
    pub project: Option<String>,
    /// When it was made and last changed.
    pub time: SessionTime,
}

impl SessionInfo {
    /// The session it belongs to as a subagent of the first degree; itself where it is none.
    pub fn root(&self) -> &str {
        self.parent.as_deref().unwrap_or(&self.id)
    }
}

/// Times of a session, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct SessionTime {
    /// Last change of the session itself; tool output doesn't count.
    pub updated: u64,
}

/// A permission or a question that waits for a person.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Request {
    /// Its id.
    pub id: String,
    /// The session that asks.
    #[serde(rename = "sessionID")]
    pub session: String,
}

impl BackendClient {
    /// Durable events after those that are known: `known` maps a session to its last number.
    /// Sessions not in `known` come with all they have, and OpenCode 1.18.33 answers 500 from
    /// somewhere between 500 and 2,000 entries on.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn sync_history(
        &self,
        known: &BTreeMap<String, u64>,
    ) -> Result<Vec<HistoryRow>, ProbeError> {
        parse(&self.send(&Method::POST, "/sync/history", &json!(known)).await?)
    }

    /// Writes one durable event. OpenCode tells nobody of it. It is refused when `seq` is not the
    /// session's next number.
    ///
    /// # Errors
    /// When it is refused, or not answered within 10 s.
    pub async fn sync_replay(&self, directory: &str, event: &Value) -> Result<(), ProbeError> {
        let document = json!({ "directory": directory, "events": [event] });
        self.send(&Method::POST, "/sync/replay", &document).await.map(drop)
    }

    /// Sessions of all directories, those changed last first.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn recent_sessions(&self, limit: usize) -> Result<Vec<SessionInfo>, ProbeError> {
        let route = format!("/experimental/session?limit={limit}&archived=true");
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    /// One session.
    ///
    /// # Errors
    /// [`ProbeError::Failed`] with 404 when there is none; when it doesn't answer within 10 s.
    pub async fn session(&self, session: &str) -> Result<SessionInfo, ProbeError> {
        let route = format!("/session/{}", escape(session));
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    /// The last messages of a session, `[{info, parts}]`.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn last_messages(&self, session: &str, limit: u32) -> Result<Vec<Value>, ProbeError> {
        let route = format!("/session/{}/message?limit={limit}", escape(session));
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    /// Replaces a part of a message.
    ///
    /// # Errors
    /// When it is refused, or not answered within 10 s.
    pub async fn patch_part(&self, part: &Value) -> Result<(), ProbeError> {
        let id = |key: &str| escape(part[key].as_str().unwrap_or_default());
        let (session, message, part_id) = (id("sessionID"), id("messageID"), id("id"));
        let route = format!("/session/{session}/message/{message}/part/{part_id}");
        self.send(&Method::PATCH, &route, part).await.map(drop)
    }

    /// Permissions that wait for an answer in a directory. Opens an instance of it.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn pending_permissions(&self, directory: &str) -> Result<Vec<Request>, ProbeError> {
        let route = format!("/permission?directory={}", escape(directory));
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    /// What a person is asked in a directory, permissions and questions, with all there is to know of
    /// them. Opens an instance of it.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn pending_asks(
        &self,
        directory: &str,
    ) -> Result<(Vec<Value>, Vec<Value>), ProbeError> {
        let directory = escape(directory);
        let permissions = format!("/permission?directory={directory}");
        let permissions = parse(&self.call(&Method::GET, &permissions, CALL_LIMIT).await?)?;
        let questions = format!("/question?directory={directory}");
        let questions = parse(&self.call(&Method::GET, &questions, CALL_LIMIT).await?)?;
        Ok((permissions, questions))
    }

    /// Ids of the terminals (PTY) that run in a directory. Opens an instance of it.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn terminals(&self, directory: &str) -> Result<Vec<String>, ProbeError> {
        #[derive(Deserialize)]
        struct Terminal {
            id: String,
        }
        let route = format!("/pty?directory={}", escape(directory));
        let all: Vec<Terminal> = parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)?;
        Ok(all.into_iter().map(|terminal| terminal.id).collect())
    }

    /// Questions that wait for an answer in a directory. Opens an instance of it.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn pending_questions(&self, directory: &str) -> Result<Vec<Request>, ProbeError> {
        let route = format!("/question?directory={}", escape(directory));
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    pub(super) async fn send(
        &self,
        method: &Method,
        route: &str,
        doc: &Value,
    ) -> Result<Bytes, ProbeError> {
        self.call_with(method, route, Some(Bytes::from(doc.to_string())), CALL_LIMIT).await
    }
}

//! What OpenCode has of a turn, for a comparison with what was told.

use repod_opencode::{BackendClient, ProbeError, SessionState};
use serde_json::Value;
use std::time::Duration;

/// Messages asked for; more when the turn's own isn't among them.
const MESSAGES: [u32; 3] = [30, 300, 3000];
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(15);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) messages: Vec<Value>,
    pub(super) busy: bool,
    pub(super) permissions: Vec<Value>,
    pub(super) questions: Vec<Value>,
    /// Subagents, with the session that began each.
    pub(super) children: Vec<(String, String)>,
    /// Whether it is the process in which the turn began.
    pub(super) same_backend: bool,
}

/// Whose turn is looked at.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) backend: BackendClient,
    pub(super) directory: String,
    pub(super) session: String,
    pub(super) prompt: String,
    pub(super) same_backend: bool,
}

impl Wanted {
    /// Looks, after a pause.
    pub(super) async fn look(self, pause: Duration) -> Result<Found, ProbeError> {
        tokio::time::sleep(pause).await;
        tokio::time::timeout(LIMIT, self.look_now())
            .await
            .map_err(|_| ProbeError::TimedOut(LIMIT))?
    }

    async fn look_now(self) -> Result<Found, ProbeError> {
        // The state first: a turn that ends meanwhile is taken for busy then, and its end is heard.
        let states = self.backend.session_status(&self.directory).await?;
        let state = states.get(&self.session);
        let [permissions, questions] = self.backend.asked(&self.directory).await?;
        let mut children = Vec::new();
        if !permissions.is_empty() || !questions.is_empty() {
            self.add_children(&mut children).await?;
        }
        let mut messages = Vec::new();
        for limit in MESSAGES {
            messages = self.backend.last_messages(&self.session, limit).await?;
            let is_there = |message: &Value| message["info"]["id"] == *self.prompt;
            if messages.iter().any(is_there) || messages.len() < limit as usize {
                break;
            }
        }
        Ok(Found {
            messages,
            busy: state.is_some_and(|state| *state != SessionState::Idle),
            permissions,
            questions,
            children,
            same_backend: self.same_backend,
        })
    }

    /// Subagents of subagents, too; they are few.
    async fn add_children(&self, all: &mut Vec<(String, String)>) -> Result<(), ProbeError> {
        let mut parents = vec![self.session.clone()];
        while let Some(parent) = parents.pop() {
            for child in self.backend.children(&parent).await? {
                if all.len() < 1000 {
                    parents.push(child.id.clone());
                    all.push((child.id, parent.clone()));
                }
            }
        }
        Ok(())
    }
}

//! What the engine asks of an agent, whatever agent it is.

use super::log::TurnLog;
use super::turn::Settled;
use crate::scope::InstanceLease;
use repod_proto::{ApiError, Home, RequestId, SessionAnswer, TurnFile};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A way to run sessions.
#[async_trait::async_trait]
pub(crate) trait AgentBackend: Send + Sync {
    /// Its name, as it stands on record.
    fn name(&self) -> &'static str;

    /// An id for a prompt that is about to be sent, by which it is found afterwards.
    fn prompt_id(&self) -> String;

    /// Resumes the conversation of this id, if the agent still has it; begins one otherwise.
    async fn ensure_session(
        &self,
        known: Option<&str>,
        options: &SessionOptions,
        scope: &InstanceLease,
    ) -> Result<Bound, ApiError>;

    /// Runs one turn to its end, which it always has. Its events go to the log as they come; what the
    /// turn came to does not.
    async fn prompt(&self, handle: &Bound, input: &TurnInput, turn: &TurnContext<'_>)
    -> TurnResult;

    /// What people know the conversation by, once the agent has named it.
    async fn title(&self, id: &str, scope: &InstanceLease) -> Option<String>;

    /// Gives a person's answer to what a turn of this conversation asks.
    async fn answer(
        &self,
        handle: &Bound,
        answer: &SessionAnswer,
        scope: &InstanceLease,
    ) -> Result<(), ApiError>;

    /// Ends what the conversation is doing. It can be resumed later.
    async fn close_session(&self, handle: &Bound, scope: &InstanceLease) -> Result<(), ApiError>;
}

/// What a conversation is begun with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionOptions {
    pub(crate) title: String,
    /// `provider/model`, or empty.
    pub(crate) model: String,
    /// The agent's name, or empty.
    pub(crate) agent: String,
}

/// A conversation at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The agent's own id of it.
    pub(crate) id: String,
    /// It was begun just now.
    pub(crate) is_new: bool,
    /// Why it was begun.
    pub(crate) reason: &'static str,
    pub(crate) options: SessionOptions,
}

/// What is prompted, as it is kept until the turn is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnInput {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) files: Vec<TurnFile>,
}

/// What a turn runs in.
pub(crate) struct TurnContext<'a> {
    pub(crate) home: &'a Home,
    pub(crate) scope: &'a InstanceLease,
    pub(crate) log: &'a Arc<TurnLog>,
    /// The prompt's id.
    pub(crate) prompt: &'a str,
    /// What began the turn.
    pub(crate) request: Option<&'a RequestId>,
    /// Becomes true when somebody wants it to end.
    pub(crate) abort: watch::Receiver<bool>,
    /// How long the agent may be silent.
    pub(crate) watchdog: Duration,
    pub(crate) start: Start,
}

/// How a turn is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// From its prompt.
    Prompt,
    /// An earlier daemon has sent the prompt; what of it runs is gone on with, or ended.
    Recover { go_on: bool },
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnResult {
    pub(crate) settled: Settled,
    /// The agent didn't know the conversation, and has done nothing.
    pub(crate) forgotten: bool,
}

//! What the model was asked, kept for the test to look at. Bounded: the oldest fall out.

use super::conversation::{ChatRequest, Kind, ToolResult, kind, last_user, tool_results};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests kept.
const KEPT: usize = 512;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Still at it.
    Open,
    /// Answered to the end.
    Answered,
    /// Answered with this HTTP status, as the script wanted (400 also for a malformed script).
    Failed(u16),
    /// The connection was dropped in the middle, as the script wanted.
    Cut,
    /// The client left before the answer's end, as an abort makes it do.
    ClientLeft,
}

/// One chat request.
#[derive(Debug)]
pub struct Request {
    /// Position since the server's start.
    pub number: u64,
    /// OpenCode's session, from the `x-session-id` header.
    pub session: Option<String>,
    /// The model's id.
    pub model: String,
    /// A turn's step or a title.
    pub kind: Kind,
    /// Index of the step in the turn.
    pub step: usize,
    /// The last user message.
    pub prompt: String,
    /// Results of the tools called in this turn so far, as the model received them.
    pub tool_results: Vec<ToolResult>,
    /// Names of the tools offered.
    pub tools: Vec<String>,
    /// The conversation as sent, the system prompt included.
    pub messages: Vec<Value>,
    outcome: Mutex<Outcome>,
}

impl Request {
    /// How it ended, or [`Outcome::Open`].
    pub fn outcome(&self) -> Outcome {
        *lock(&self.outcome)
    }

    /// The first outcome stands.
    pub(super) fn end(&self, outcome: Outcome) {
        let mut current = lock(&self.outcome);
        if *current == Outcome::Open {
            *current = outcome;
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    count: u64,
    requests: VecDeque<Arc<Request>>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    kept: Mutex<Kept>,
}

/// A test that panicked while it held the lock has failed already; the data are still good.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub(super) fn add(&self, session: Option<String>, request: ChatRequest) -> Arc<Request> {
        let (prompt, step) = last_user(&request.messages);
        let names = request.tools.iter().filter_map(|t| t["function"]["name"].as_str());
        let mut kept = lock(&self.kept);
        let entry = Arc::new(Request {
            number: kept.count,
            session,
            kind: kind(&request),
            step,
            prompt,
            tool_results: tool_results(&request.messages),
            tools: names.map(str::to_owned).collect(),
            model: request.model,
            messages: request.messages,
            outcome: Mutex::new(Outcome::Open),
        });
        kept.count += 1;
        if kept.requests.len() == KEPT {
            kept.requests.pop_front();
        }
        kept.requests.push_back(Arc::clone(&entry));
        entry
    }

    pub(super) fn count(&self) -> u64 {
        lock(&self.kept).count
    }

    pub(super) fn all(&self) -> Vec<Arc<Request>> {
        lock(&self.kept).requests.iter().cloned().collect()
    }
}

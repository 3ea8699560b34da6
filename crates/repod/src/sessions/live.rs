//! Sessions at hand: what is known of each without asking the store, and its line of turns.

use super::backend::TurnInput;
use super::log::TurnLog;
use crate::scope::Place;
use repod_proto::{Generation, RequestId};
use repod_store::{Session, SessionKey};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Turns whose end somebody may still want to hear without a look at the record.
const RECENT_MAX: usize = 2;

/// One session.
pub(super) struct Live {
    pub(super) key: SessionKey,
    line: Mutex<Line>,
    /// One at a time binds it to the agent's conversation.
    pub(super) binding: tokio::sync::Mutex<()>,
    /// Who puts a turn on record puts it in line before the next does.
    pub(super) lining: Arc<tokio::sync::Mutex<()>>,
}

/// One turn of it, from its place in line to its end.
pub(super) struct TurnRun {
    pub(super) turn: u64,
    pub(super) turn_id: String,
    pub(super) place: Place,
    pub(super) input: TurnInput,
    pub(super) log: Arc<TurnLog>,
    /// What an earlier daemon had begun of it.
    pub(super) left: Option<LeftOver>,
    /// What began it; not known any more of one that an earlier daemon had.
    pub(super) request: Option<RequestId>,
    pub(super) abort: watch::Sender<bool>,
}

/// A turn that an earlier daemon had started.
#[derive(Clone, Debug)]
pub(super) struct LeftOver {
    pub(super) message_id: Option<String>,
    pub(super) generation: u64,
    /// It has been resumed once already.
    pub(super) is_resumed: bool,
}

#[derive(Default)]
struct Line {
    session: Option<Session>,
    /// The generation in which the agent is known to have its conversation.
    verified: Option<Generation>,
    waiting: VecDeque<Arc<TurnRun>>,
    running: Option<Arc<TurnRun>>,
    recent: VecDeque<Arc<TurnRun>>,
    /// A task goes through the line.
    is_served: bool,
}

impl Live {
    pub(super) fn new(key: SessionKey) -> Self {
        Self {
            key,
            line: Mutex::default(),
            binding: tokio::sync::Mutex::default(),
            lining: Arc::default(),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its record, as last seen.
    pub(super) fn session(&self) -> Option<Session> {
        self.line().session.clone()
    }

    pub(super) fn note(&self, session: Session) {
        self.line().session = Some(session);
    }

    /// It is a new session of this name: nothing of the one before holds.
    pub(super) fn renew(&self, session: Session) {
        let mut line = self.line();
        (line.session, line.verified) = (Some(session), None);
        line.recent.clear();
    }

    pub(super) fn verified(&self) -> Option<Generation> {
        self.line().verified
    }

    pub(super) fn verify(&self, generation: Option<Generation>) {
        self.line().verified = generation;
    }

    /// Puts a turn in line; whether a task has to be started for it. A turn that is there already stays
    /// where it is.
    pub(super) fn enqueue(&self, run: Arc<TurnRun>) -> bool {
        let mut line = self.line();
        let is_known = line.waiting.iter().chain(&line.running).chain(&line.recent);
        if is_known.into_iter().any(|known| known.turn == run.turn) {
            return false;
        }
        // Two that came at once may come in either order; on record they have theirs.
        let at = line.waiting.iter().position(|other| other.turn > run.turn);
        let at = at.unwrap_or(line.waiting.len());
        line.waiting.insert(at, run);
        !std::mem::replace(&mut line.is_served, true)
    }

    /// The next in line, which runs from now on; `None` ends the task that serves the line.
    pub(super) fn advance(&self) -> Option<Arc<TurnRun>> {
        let mut line = self.line();
        if let Some(done) = line.running.take() {
            line.recent.push_back(done);
            if line.recent.len() > RECENT_MAX {
                line.recent.pop_front();
            }
        }
        line.running = line.waiting.pop_front();
        line.is_served = line.running.is_some();
        line.running.clone()
    }

    /// Takes a turn out of the line, unless it has begun.
    pub(super) fn leave_line(&self, turn: u64) -> bool {
        let mut line = self.line();
        let Some(at) = line.waiting.iter().position(|run| run.turn == turn) else { return false };
        let gone = line.waiting.remove(at);
        line.recent.extend(gone);
        true
    }

    /// A turn at hand.
    pub(super) fn find(&self, turn: u64) -> Option<Arc<TurnRun>> {
        let line = self.line();
        let all = line.running.iter().chain(&line.waiting).chain(&line.recent);
        all.into_iter().find(|run| run.turn == turn).cloned()
    }

    /// Turns that aren't over, in order.
    pub(super) fn open(&self) -> Vec<Arc<TurnRun>> {
        let line = self.line();
        line.running.iter().chain(&line.waiting).cloned().collect()
    }

    pub(super) fn running(&self) -> Option<Arc<TurnRun>> {
        self.line().running.clone()
    }

    pub(super) fn queued(&self) -> usize {
        self.line().waiting.len()
    }

    /// Nothing is going on, and nothing at hand would be missed.
    pub(super) fn is_idle(&self) -> bool {
        let line = self.line();
        line.running.is_none() && line.waiting.is_empty()
    }

    /// Lets go of ended turns.
    pub(super) fn forget_recent(&self) {
        self.line().recent = VecDeque::new();
    }
}

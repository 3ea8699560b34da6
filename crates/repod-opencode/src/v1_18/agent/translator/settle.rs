//! The course of a turn: begun, failed, idle, over.

use super::Progress;
use crate::v1_18::agent::ids;
use crate::v1_18::agent::wire::Failure;
use repod_proto::agent::{TurnEnd, TurnError, TurnOutcome};

/// The error of a turn that was ended from outside.
const ABORTED: &str = "MessageAbortedError";
/// After this one OpenCode shortens the conversation and goes on, unless it says that it is idle.
const OVERFLOW: &str = "ContextOverflowError";

/// How far the turn is.
#[derive(Debug, Default)]
pub(in crate::v1_18::agent) struct Course {
    /// Something of this turn was heard.
    has_begun: bool,
    /// What was made no later says something of the turn before.
    since: Option<u64>,
    /// When it was last said to work, and to be idle. By these, and not by the order in which they
    /// come, an idle that was made before the work doesn't end it.
    worked: Option<u64>,
    idle: Option<u64>,
    is_over: bool,
    error: Option<TurnError>,
}

impl Course {
    pub(in crate::v1_18::agent) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The course of the turn after this one, whose prompt was made at this time.
    pub(super) fn next_turn(&self, prompt: Option<u64>) -> Self {
        let since = prompt.or(self.idle).or(self.worked).or(self.since);
        Self { since, ..Self::default() }
    }

    /// Whether an event made at this time is of an earlier turn.
    pub(super) fn is_old(&self, made: Option<u64>) -> bool {
        made.zip(self.since).is_some_and(|(made, since)| !ids::is_later(made, since))
    }

    /// Something of it was heard.
    pub(super) fn begun(&mut self) {
        self.has_begun = true;
    }

    /// It is said to work, by an event made at this time.
    pub(super) fn works(&mut self, made: Option<u64>) {
        self.has_begun = true;
        match made {
            Some(made) if self.worked.is_none_or(|before| ids::is_later(made, before)) => {
                self.worked = Some(made);
            }
            Some(_) => {}
            None => self.idle = None,
        }
    }

    /// An answer has begun: what failed before was mended.
    pub(super) fn goes_on(&mut self) {
        if self.error.as_ref().is_some_and(|error| error.name == OVERFLOW) {
            self.error = None;
        }
    }

    pub(super) fn idle(&mut self, made: Option<u64>) {
        if self.has_begun {
            self.idle = made.or(self.worked.map(|worked| worked + 1)).or(Some(0));
        }
    }

    fn is_idle(&self) -> bool {
        self.has_begun
            && match (self.idle, self.worked) {
                (Some(idle), Some(worked)) => ids::is_later(idle, worked),
                (idle, _) => idle.is_some(),
            }
    }

    /// An abort that is said before the turn has begun is that of the turn before.
    pub(super) fn failed(&mut self, error: TurnError, made: Option<u64>) {
        let is_old = || match (made, self.worked) {
            (Some(made), Some(worked)) => !ids::is_later(made, worked),
            _ => false,
        };
        if error.name == ABORTED && (!self.has_begun || is_old()) {
            return;
        }
        // The first is the reason; what follows are its consequences.
        if self.error.as_ref().is_none_or(|error| error.name == OVERFLOW) {
            self.error = Some(error);
        }
        self.has_begun = true;
    }

    /// Nothing more can come.
    pub(super) fn deleted(&mut self) -> Progress {
        self.is_over = true;
        let message = "the session was deleted".to_owned();
        Progress::Settled(end(Some(TurnError { name: ABORTED.to_owned(), message })))
    }

    /// How far it is, when messages or parts of it are open or not and the last message has failed or
    /// not.
    pub(super) fn progress(
        &mut self,
        is_open: impl FnOnce() -> bool,
        last: Option<&TurnError>,
    ) -> Progress {
        let failed = self.error.as_ref().is_some_and(|error| error.name != OVERFLOW);
        if !(failed || self.is_idle()) {
            return Progress::Open;
        }
        let end = end(self.error.as_ref().or(last).cloned());
        if is_open() {
            return Progress::Ending(end);
        }
        self.is_over = true;
        Progress::Settled(end)
    }

    /// The turn is over by what the server said.
    pub(in crate::v1_18::agent) fn close(&mut self) {
        self.is_over = true;
    }

    pub(in crate::v1_18::agent) fn error(&self) -> Option<&TurnError> {
        self.error.as_ref()
    }
}

/// How a turn with this error, or without one, has ended.
pub(in crate::v1_18::agent) fn end(error: Option<TurnError>) -> TurnEnd {
    let outcome = match &error {
        None => TurnOutcome::Completed,
        Some(error) if error.name == ABORTED => TurnOutcome::Interrupted,
        Some(_) => TurnOutcome::Failed,
    };
    TurnEnd { outcome, error }
}

/// An error in OpenCode's words.
pub(in crate::v1_18::agent) fn error(failure: Failure<'_>) -> TurnError {
    let message = failure.data.and_then(|data| data.message).or(failure.message);
    TurnError {
        name: failure.name.map_or_else(|| "UnknownError".to_owned(), Into::into),
        message: message.map(Into::into).unwrap_or_default(),
    }
}

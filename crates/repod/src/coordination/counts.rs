//! What writes have asked for, what they were answered, and how long they waited.

use super::Granted;
use crate::tally::{Timing, Timings, label};
use prometheus_client::metrics::counter::Counter;
use repod_proto::{ApiError, ErrorCode};

label! {
    /// How a write that asked for a branch was answered.
    Answered, "outcome":
    /// It may write.
    Granted = "granted";
    /// Another has the branch, and waiting was not wanted.
    Busy = "busy";
    /// It did not come free in time.
    TimedOut = "timed_out";
    /// Waiting would have closed a circle.
    Deadlock = "deadlock";
    /// Taken away, or given on, before it wrote.
    Lost = "lost";
    /// Aborted, or whoever asked has left.
    Left = "left";
    /// For another reason.
    Failed = "failed";
}

/// See the module.
#[derive(Default)]
pub(crate) struct Counts {
    waits: Timings<Answered>,
    tickets: Counter,
}

impl Counts {
    pub(crate) fn waits(&self) -> &Timings<Answered> {
        &self.waits
    }

    /// Tickets of worktrees that were given out.
    pub(crate) fn tickets(&self) -> u64 {
        self.tickets.get()
    }

    pub(super) fn asked(&self, ticket: bool) -> Asked<'_> {
        let tickets = ticket.then_some(&self.tickets);
        Asked { timing: self.waits.begin(Answered::Left), tickets }
    }
}

/// A write that waits for its answer.
pub(super) struct Asked<'a> {
    timing: Timing<'a, Answered>,
    tickets: Option<&'a Counter>,
}

impl Asked<'_> {
    pub(super) fn answered(self, answer: &Result<Granted, ApiError>) {
        let how = match answer {
            Ok(_) => Answered::Granted,
            Err(error) => of(error.code),
        };
        if how == Answered::Granted {
            self.tickets.map(Counter::inc);
        }
        self.timing.end(how);
    }
}

fn of(code: ErrorCode) -> Answered {
    match code {
        ErrorCode::LeaseBusy => Answered::Busy,
        ErrorCode::LeaseTimeout => Answered::TimedOut,
        ErrorCode::LeaseDeadlock => Answered::Deadlock,
        ErrorCode::LeaseStale | ErrorCode::LeaseRevoked => Answered::Lost,
        ErrorCode::Stopped => Answered::Left,
        _ => Answered::Failed,
    }
}

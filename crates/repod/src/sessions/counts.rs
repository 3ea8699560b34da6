//! How the turns of this daemon have ended, and how many are open.

use super::Sessions;
use crate::tally::{Tally, label};
use repod_store::Outcome;

label! {
    /// How a turn has ended.
    Ended, "outcome":
    /// The agent has said what it had to say.
    Completed = "completed";
    /// It could not go on.
    Failed = "failed";
    /// It was ended from outside.
    Interrupted = "interrupted";
}

impl Ended {
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Failed => Self::Failed,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

impl Sessions {
    /// A turn has ended.
    pub(super) fn turn_ended(&self, outcome: Outcome) {
        self.0.turns.count(Ended::of(outcome));
    }

    pub(crate) fn turns_by_outcome(&self) -> &Tally<Ended> {
        &self.0.turns
    }

    /// Turns that run, and turns that wait in a line.
    pub(crate) fn open_turns(&self) -> (usize, usize) {
        let all = self.live_mut();
        let running = all.values().filter(|live| live.running().is_some()).count();
        (running, all.values().map(|live| live.queued()).sum())
    }
}

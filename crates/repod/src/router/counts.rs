//! What has come of the operations of this daemon, counted where each is settled.

use super::Router;
use crate::tally::label;
use repod_store::journal::State;

label! {
    /// Where an operation has come to; `MutationOutcome` says what each means.
    Outcome, "outcome":
    /// Done.
    Applied = "applied";
    /// Nothing had to be done.
    Unchanged = "unchanged";
    /// Not done.
    Refused = "refused";
    /// Undone.
    RolledBack = "rolled_back";
    /// A person has to look.
    Conflict = "conflict";
    /// Done without being routed.
    Bypass = "bypass";
}

impl Router {
    /// An operation has come to its end, and that is on record.
    pub(super) fn settled_as(&self, state: State) {
        let outcome = match state {
            State::Pending => return,
            State::Applied => Outcome::Applied,
            State::Unchanged => Outcome::Unchanged,
            State::Refused => Outcome::Refused,
            State::RolledBack => Outcome::RolledBack,
            State::Conflict => Outcome::Conflict,
            State::Bypass => Outcome::Bypass,
        };
        self.0.mutations.count(outcome);
    }
}

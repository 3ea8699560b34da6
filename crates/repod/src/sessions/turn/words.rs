//! What can happen to a turn, what is to be done then, and how it ends.

use repod_proto::agent::{TurnEnd, TurnError, TurnOutcome};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The agent has taken the prompt.
    Sent,
    /// It has refused it: nothing of it was done.
    Refused(TurnError),
    /// Whether it has taken the prompt isn't known.
    SendLost,
    /// The agent told something.
    Heard { says: Says, waiting: bool },
    /// The timer has run out.
    Elapsed,
    /// Something it told may have been missed.
    Missed,
    /// The process that ran the turn has ended.
    Gone,
    /// What the agent has was looked at.
    Looked(Look),
    /// Somebody wants it to end.
    Abort,
}

/// What the agent says of the turn's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// Nothing: it goes on.
    Open,
    /// It is over, and its last parts are still to come.
    Ending(TurnEnd),
    /// It is over, and all of it was told.
    Over(TurnEnd),
}

/// What a look at the agent has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The turn is over.
    Finished(TurnEnd),
    /// It waits for a person.
    Waiting,
    /// It runs.
    Running,
    /// Nobody works on it, and it has no end.
    Crashed,
    /// The agent doesn't know its prompt.
    Absent,
    /// The agent did not answer.
    Unanswered,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Let the timer run: from now on, for so long.
    Wait(Patience),
    /// Look at what the agent has.
    Look,
    /// Have the agent end it.
    Abort,
    /// Say that it stands still until a person answers.
    TellWaiting,
    /// It is over.
    Settle(Settled),
}

/// How long the timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as an agent may be silent.
    Silence,
    /// As long as something takes that is under way.
    Moment,
}

/// How a turn has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) end: TurnEnd,
    /// The agent's session is not to be gone on with.
    pub(crate) crashed: bool,
    /// It ended with the process that ran it.
    pub(crate) lost: bool,
}

/// How a turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Its prompt is being sent.
    Send,
    /// It was begun by an earlier daemon. If it still runs, it is gone on with, or ended.
    Recover { go_on: bool },
}

/// The end of a turn whose process is gone, or that nobody lets go on.
pub(crate) fn interrupted() -> TurnEnd {
    let error = error("Interrupted", "it was in flight when what ran it ended");
    TurnEnd { outcome: TurnOutcome::Interrupted, error: Some(error) }
}

/// The end of a turn that somebody wanted to end.
pub(crate) fn aborted() -> TurnEnd {
    let error = error("Aborted", "it was aborted");
    TurnEnd { outcome: TurnOutcome::Interrupted, error: Some(error) }
}

pub(crate) fn error(name: &str, message: &str) -> TurnError {
    TurnError { name: name.to_owned(), message: message.to_owned() }
}

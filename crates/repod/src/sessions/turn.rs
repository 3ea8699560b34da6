//! The course of one turn: a pure function of what it was and what happened, to what it is and what is
//! to be done. No clock, no I/O; `drive` carries it out.
//!
//! ```text
//!  sending ──sent──► running ⇄ waiting (for a person)
//!     │                 │  the agent says that it is over
//!     │ refused         ▼
//!     │              ending ──its last parts──► settled, once
//!     ▼                 ▲                          ▲
//!  settled   dying ─────┴── the backend is gone ───┘
//! ```
//!
//! Whatever is doubtful is looked up at the agent (`Look`): after a silence, a gap in the stream, an end
//! whose last parts don't come. What a look says against a turn counts when a second one says it too,
//! because the agent writes in more than one step (an aborted turn, for one, is idle before it is closed),
//! and only after a silence: a turn that was just taken may not have begun.
//! Until it is settled, a turn always has something under way that will bring its next event: its prompt,
//! a look, or the timer.

#[cfg(test)]
mod tests;
mod words;

pub(crate) use words::{
    Begin, Effect, Event, Look, Patience, Says, Settled, aborted, error, interrupted,
};

use repod_proto::agent::{TurnEnd, TurnOutcome};

/// How often an agent is told to abort before it is given up.
const ABORTS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Sending,
    Running,
    Waiting,
    Ending(TurnEnd),
    /// It is over, and what was missed of it is still being looked up.
    Over(TurnEnd),
    /// Its process is gone.
    Dying,
    Settled,
}

/// Why a look is under way; the worst reason there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Missed,
    Doubt,
    Silence,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    phase: Phase,
    /// A look is under way.
    looking: Option<Why>,
    /// Something was missed meanwhile.
    look_again: bool,
    /// A look has already spoken against it.
    doubted: bool,
    /// Why it is being looked at a second time.
    doubt: Why,
    /// Whether the prompt is known to have been taken.
    taken: bool,
    /// How often the agent was told to end it; `None` while nobody wants that.
    aborts: Option<u32>,
    /// An earlier daemon began it, and it must not go on.
    is_left_over: bool,
}

impl Turn {
    /// A turn, and what is to be done first. For [`Begin::Send`] that is to send the prompt.
    pub(crate) fn begin(how: Begin) -> (Self, Vec<Effect>) {
        let turn = Self {
            phase: Phase::Sending,
            looking: None,
            look_again: false,
            doubted: false,
            doubt: Why::Missed,
            taken: false,
            aborts: None,
            is_left_over: how == Begin::Recover { go_on: false },
        };
        match how {
            Begin::Send => (turn, Vec::new()),
            Begin::Recover { .. } => {
                let looking = Some(Why::Doubt);
                (Self { phase: Phase::Running, taken: true, looking, ..turn }, vec![Effect::Look])
            }
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// Takes in what happened; what is to be done now.
    pub(crate) fn on(&mut self, event: Event) -> Vec<Effect> {
        if self.is_settled() {
            return Vec::new();
        }
        match event {
            Event::Sent => self.sent(),
            Event::Refused(_) | Event::SendLost if self.phase != Phase::Sending => Vec::new(),
            Event::Refused(error) => {
                self.settle(TurnEnd { outcome: TurnOutcome::Failed, error: Some(error) })
            }
            Event::SendLost => {
                self.phase = Phase::Running;
                self.look(Why::Missed)
            }
            Event::Heard { says, waiting } => self.heard(says, waiting),
            Event::Elapsed => self.elapsed(),
            Event::Missed if self.looking.is_some() => {
                self.look_again = true;
                Vec::new()
            }
            // Its first event is the answer to its prompt, or that this is lost too.
            Event::Missed if self.phase == Phase::Sending => {
                self.look_again = true;
                Vec::new()
            }
            Event::Missed if self.phase == Phase::Dying => Vec::new(),
            Event::Missed => self.look(Why::Missed),
            Event::Gone => self.gone(),
            Event::Looked(look) => self.looked(look),
            Event::Abort => self.abort(),
        }
    }

    fn sent(&mut self) -> Vec<Effect> {
        self.taken = true;
        if self.phase != Phase::Sending {
            return Vec::new();
        }
        self.phase = Phase::Running;
        if self.aborts.is_some() {
            return self.send_abort();
        }
        if std::mem::take(&mut self.look_again) {
            return self.look(Why::Missed);
        }
        wait(Patience::Silence)
    }

    fn heard(&mut self, says: Says, waiting: bool) -> Vec<Effect> {
        if matches!(self.phase, Phase::Over(_)) {
            return Vec::new();
        }
        self.doubted = false;
        let was_waiting = self.phase == Phase::Waiting;
        match says {
            Says::Over(end) => return self.over(end),
            // What is gone says no more than its end.
            _ if self.phase == Phase::Dying => return Vec::new(),
            // It may be of the turn before. The answer to the prompt is still to come, and with it
            // the timer.
            Says::Open if self.phase == Phase::Sending && !waiting => return Vec::new(),
            Says::Ending(end) => {
                self.taken = true;
                self.phase = Phase::Ending(end);
                return self.unless_looking(Patience::Moment);
            }
            Says::Open => {
                self.taken = true;
                self.phase = if waiting { Phase::Waiting } else { Phase::Running };
            }
        }
        if self.aborts == Some(0) {
            return self.send_abort();
        }
        let is_wanted = self.aborts.is_none();
        let patience = if is_wanted { Patience::Silence } else { Patience::Moment };
        let mut effects = self.unless_looking(patience);
        if waiting && !was_waiting && is_wanted && !self.is_left_over {
            effects.push(Effect::TellWaiting);
        }
        effects
    }

    fn elapsed(&mut self) -> Vec<Effect> {
        if self.looking.is_some() || self.phase == Phase::Sending {
            return Vec::new();
        }
        let is_silence = matches!(self.phase, Phase::Running | Phase::Waiting) && !self.doubted;
        let why = if is_silence && self.aborts.is_none() { Why::Silence } else { self.doubt };
        self.look(why)
    }

    fn gone(&mut self) -> Vec<Effect> {
        if self.phase == Phase::Dying {
            return Vec::new();
        }
        if let Phase::Over(end) = &self.phase {
            let end = end.clone();
            return self.settle(end);
        }
        // Those who saw it die tell its last parts in a moment.
        self.phase = Phase::Dying;
        self.looking = None;
        wait(Patience::Moment)
    }

    fn abort(&mut self) -> Vec<Effect> {
        if self.aborts.is_some() {
            return Vec::new();
        }
        self.aborts = Some(0);
        match self.phase {
            Phase::Running | Phase::Waiting => self.send_abort(),
            // Sent first, and ended then; or ending anyway.
            _ => Vec::new(),
        }
    }

    fn send_abort(&mut self) -> Vec<Effect> {
        let aborts = self.aborts.get_or_insert(0);
        *aborts += 1;
        let mut effects = vec![Effect::Abort];
        effects.extend(self.unless_looking(Patience::Moment));
        effects
    }

    fn looked(&mut self, look: Look) -> Vec<Effect> {
        let Some(why) = self.looking.take() else { return Vec::new() };
        if self.phase == Phase::Dying {
            return match look {
                Look::Finished(end) => self.over(end),
                _ => self.lose(interrupted()),
            };
        }
        if let Phase::Over(over) = &self.phase {
            return match look {
                Look::Finished(end) => self.settle(end),
                // Begun before the end came; or there is no better word of it.
                _ if !self.doubted => self.look_twice(Why::Doubt),
                _ => {
                    let over = over.clone();
                    self.settle(over)
                }
            };
        }
        let again = std::mem::take(&mut self.look_again);
        match look {
            Look::Finished(end) => self.settle(end),
            Look::Waiting | Look::Running if self.is_left_over && self.aborts.is_none() => {
                self.phase = Phase::Running;
                self.abort()
            }
            Look::Waiting | Look::Running if self.aborts.is_some_and(|sent| sent >= ABORTS) => {
                self.give_up("it did not end when it was told to")
            }
            Look::Waiting | Look::Running if self.aborts.is_some() => {
                self.phase = Phase::Running;
                self.doubted = false;
                self.send_abort()
            }
            Look::Waiting | Look::Running => {
                self.doubted = false;
                let was_waiting = self.phase == Phase::Waiting;
                let waits = look == Look::Waiting;
                self.phase = if waits { Phase::Waiting } else { Phase::Running };
                if again {
                    return self.look(Why::Missed);
                }
                let mut effects = wait(Patience::Silence);
                if waits && !was_waiting {
                    effects.push(Effect::TellWaiting);
                }
                effects
            }
            Look::Crashed | Look::Absent if !self.doubted => self.look_twice(why),
            Look::Crashed | Look::Absent => self.condemn(why, &look),
            Look::Unanswered => self.unanswered(why, again),
        }
    }

    /// Twice the same.
    fn condemn(&mut self, why: Why, look: &Look) -> Vec<Effect> {
        if let Phase::Ending(end) = &self.phase {
            let end = end.clone();
            return self.settle(end);
        }
        if self.is_left_over {
            return self.settle(interrupted());
        }
        if self.aborts.is_some() {
            return self.settle(aborted());
        }
        if why == Why::Missed {
            // A busy agent takes its time to begin what it has taken. Only silence speaks against a turn.
            self.doubted = false;
            return wait(Patience::Silence);
        }
        match look {
            Look::Absent if !self.taken => {
                self.phase = Phase::Settled;
                let error =
                    error("NotSent", "the prompt did not reach the agent, and was not sent again");
                let end = TurnEnd { outcome: TurnOutcome::Failed, error: Some(error) };
                let settled = Settled { end, crashed: false, lost: false };
                // Should it arrive after all, it must not run unseen.
                vec![Effect::Abort, Effect::Settle(settled)]
            }
            Look::Absent => self.give_up("the agent has forgotten the prompt"),
            _ => self.give_up("nobody works on it any more, and it has no end"),
        }
    }

    fn unanswered(&mut self, why: Why, again: bool) -> Vec<Effect> {
        if let Phase::Ending(end) = &self.phase {
            let end = end.clone();
            return self.settle(end);
        }
        match why {
            // The stream goes on, or its silence will be noticed.
            Why::Missed if !again && self.aborts.is_none() => {
                self.doubted = false;
                wait(Patience::Silence)
            }
            Why::Missed | Why::Doubt if !self.doubted => self.look_twice(why),
            _ => {
                let mut effects = self.give_up("the agent does not answer");
                // When it comes round, it must not go on with what was told to have failed.
                effects.insert(0, Effect::Abort);
                effects
            }
        }
    }

    fn look_twice(&mut self, why: Why) -> Vec<Effect> {
        self.doubted = true;
        self.doubt = why;
        wait(Patience::Moment)
    }

    fn look(&mut self, why: Why) -> Vec<Effect> {
        self.looking = Some(why);
        vec![Effect::Look]
    }

    fn unless_looking(&self, patience: Patience) -> Vec<Effect> {
        if self.looking.is_some() { Vec::new() } else { wait(patience) }
    }

    fn settle(&mut self, end: TurnEnd) -> Vec<Effect> {
        self.phase = Phase::Settled;
        vec![Effect::Settle(Settled { end, crashed: false, lost: false })]
    }

    fn over(&mut self, end: TurnEnd) -> Vec<Effect> {
        // Its last words may be among what was missed: its end is told after them.
        let is_missing = self.looking.is_some() || std::mem::take(&mut self.look_again);
        if is_missing && self.phase != Phase::Dying {
            self.phase = Phase::Over(end);
            self.look_again = false;
            return if self.looking.is_some() { Vec::new() } else { self.look(Why::Missed) };
        }
        // The end of what died with its process is made up by those who saw that: nobody wanted it.
        let is_made_up = self.phase == Phase::Dying && end.outcome == TurnOutcome::Interrupted;
        if is_made_up && self.aborts.is_none() { self.lose(end) } else { self.settle(end) }
    }

    fn lose(&mut self, end: TurnEnd) -> Vec<Effect> {
        self.phase = Phase::Settled;
        vec![Effect::Settle(Settled { end, crashed: false, lost: true })]
    }

    /// Fails closed: what its session is in is not known.
    fn give_up(&mut self, reason: &str) -> Vec<Effect> {
        self.phase = Phase::Settled;
        let outcome = match self.aborts {
            Some(_) => TurnOutcome::Interrupted,
            None => TurnOutcome::Failed,
        };
        let end = TurnEnd { outcome, error: Some(error("Crashed", reason)) };
        vec![Effect::Settle(Settled { end, crashed: true, lost: false })]
    }
}

fn wait(patience: Patience) -> Vec<Effect> {
    vec![Effect::Wait(patience)]
}

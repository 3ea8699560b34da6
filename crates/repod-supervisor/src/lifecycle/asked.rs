//! What callers ask for: ensure, restart, stop, hibernate.
//!
//! Nothing here waits. A wish is met at once, joins what is already under way, or changes what comes
//! after it.

use super::starts::Starts;
use super::{Effect, Failure, Lifecycle, Next, Phase, START};

impl Lifecycle {
    pub(super) fn ensure(&mut self, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Ready => return effects.push(Effect::AnswerReady),
            Phase::Failed { failure, parked: true, .. }
            | Phase::Ending { next: Next::Fail { failure, parked: true }, .. } => {
                return effects
                    .push(Effect::AnswerFailed { failure: failure.clone(), parked: true });
            }
            _ => self.ready_wanted = true,
        }
        match &mut self.phase {
            Phase::Stopped | Phase::Hibernated | Phase::Failed { remains: false, .. } => {
                self.begin(effects);
            }
            Phase::Failed { .. } => self.end(START, effects),
            Phase::Ending { next, .. } => {
                if matches!(next, Next::Stop | Next::Hibernate | Next::Fail { .. }) {
                    *next = START;
                }
            }
            _ => {}
        }
    }

    pub(super) fn restart(&mut self, effects: &mut Vec<Effect>) {
        self.starts = Starts::default();
        self.ready_wanted = true;
        match &mut self.phase {
            Phase::Queued => {}
            Phase::Ending { next, .. } => {
                *next = START;
                self.release_slot(effects);
            }
            Phase::Stopped
            | Phase::Hibernated
            | Phase::BackingOff { .. }
            | Phase::Failed { remains: false, .. } => self.begin(effects),
            _ => {
                self.release_slot(effects);
                self.end_as_asked(START, effects);
            }
        }
    }

    pub(super) fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.starts = Starts::default();
        self.answer_failed(&Failure::Stopped, false, effects);
        self.release_slot(effects);
        match &mut self.phase {
            Phase::Ending { next, .. } => {
                *next = Next::Stop;
                self.stop_wanted = true;
            }
            Phase::Stopped
            | Phase::Hibernated
            | Phase::Queued
            | Phase::BackingOff { .. }
            | Phase::Failed { remains: false, .. } => {
                self.phase = Phase::Stopped;
                effects.push(Effect::AnswerStopped);
            }
            _ => {
                self.stop_wanted = true;
                self.end_as_asked(Next::Stop, effects);
            }
        }
    }

    /// Only what is known to be idle may be put to sleep, and of a backend that does not answer
    /// nothing is known.
    pub(super) fn hibernate(&mut self, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Ready) {
            return effects.push(Effect::RefuseHibernate);
        }
        self.starts = Starts::default();
        self.stop_wanted = true;
        self.end(Next::Hibernate, effects);
    }
}

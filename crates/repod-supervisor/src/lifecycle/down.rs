//! The way down, and what follows it.

use super::{Effect, Failure, Lifecycle, Next, Phase};

impl Lifecycle {
    /// It failed to start, or (`crashed`) it ended by itself after it had been up.
    pub(super) fn came_down(&mut self, failure: Failure, crashed: bool, effects: &mut Vec<Effect>) {
        self.release_slot(effects);
        let after_ms = self.starts.came_down();
        let parked = self.starts.are_used_up();
        let next = if parked || (self.ready_wanted && !crashed) {
            self.answer_failed(&failure, parked, effects);
            Next::Fail { failure, parked }
        } else {
            Next::Start { after_ms }
        };
        self.end(next, effects);
    }

    pub(super) fn end(&mut self, next: Next, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ending { next, spawning: false };
        effects.push(Effect::Terminate { generation: self.generation });
    }

    /// Ends it because somebody asked, also in the middle of a spawn, which has to be let finish.
    pub(super) fn end_as_asked(&mut self, next: Next, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Spawning) {
            self.phase = Phase::Ending { next, spawning: true };
        } else {
            self.end(next, effects);
        }
    }

    /// The spawn that had to be waited for is done, one way or the other.
    pub(super) fn terminate_at_last(&mut self, effects: &mut Vec<Effect>) {
        if let Phase::Ending { spawning, .. } = &mut self.phase {
            *spawning = false;
            effects.push(Effect::Terminate { generation: self.generation });
        }
    }

    pub(super) fn ended(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let Phase::Ending { next, spawning: false } = &self.phase else {
            return;
        };
        let next = next.clone();
        (self.process, self.version) = (None, None);
        if std::mem::take(&mut self.stop_wanted) {
            effects.push(Effect::AnswerStopped);
        }
        match next {
            Next::Stop => self.phase = Phase::Stopped,
            Next::Hibernate => self.phase = Phase::Hibernated,
            Next::Fail { failure, parked } => {
                self.phase = Phase::Failed { failure, parked, remains: false };
            }
            Next::Start { after_ms: 0 } => self.begin(effects),
            Next::Start { after_ms } => {
                let token = self.next_token();
                self.phase = Phase::BackingOff { token };
                effects.push(Effect::ScheduleRestart { token, after_ms });
            }
            // An adopted start has no slot of its own.
            Next::RetryPort if self.slot.is_none() => self.queue(effects),
            Next::RetryPort => self.spawn(now, effects),
        }
    }

    pub(super) fn end_failed(&mut self, survivors: Vec<u32>, effects: &mut Vec<Effect>) {
        let Phase::Ending { next, spawning: false } = &self.phase else {
            return;
        };
        let parked = matches!(next, Next::Fail { parked: true, .. });
        let failure = Failure::NotEnded { survivors };
        self.release_slot(effects);
        self.answer_failed(&failure, parked, effects);
        if std::mem::take(&mut self.stop_wanted) {
            effects.push(Effect::AnswerStopFailed { failure: failure.clone() });
        }
        self.phase = Phase::Failed { failure, parked, remains: true };
    }

    pub(super) fn answer_failed(
        &mut self,
        failure: &Failure,
        parked: bool,
        effects: &mut Vec<Effect>,
    ) {
        if std::mem::take(&mut self.ready_wanted) {
            effects.push(Effect::AnswerFailed { failure: failure.clone(), parked });
        }
    }

    pub(super) fn release_slot(&mut self, effects: &mut Vec<Effect>) {
        if let Some(token) = self.slot.take() {
            effects.push(Effect::ReleaseSlot { token });
        }
    }
}

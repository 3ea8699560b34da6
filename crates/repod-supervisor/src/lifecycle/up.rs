//! The way up: queued, spawning, booting, ready; or adopted.

use super::{Effect, Failure, Found, Lifecycle, Next, PORT_RETRIES, PROBE_STRIKES, Phase, Token};
use crate::identity::ProcessIdentity;

impl Lifecycle {
    pub(super) fn begin(&mut self, effects: &mut Vec<Effect>) {
        self.port_retries = 0;
        self.queue(effects);
    }

    pub(super) fn queue(&mut self, effects: &mut Vec<Effect>) {
        let token = self.next_token();
        self.slot = Some(token);
        self.phase = Phase::Queued;
        effects.push(Effect::AcquireSlot { token });
    }

    pub(super) fn slot_granted(&mut self, token: Token, now: u64, effects: &mut Vec<Effect>) {
        if self.slot != Some(token) {
            effects.push(Effect::ReleaseSlot { token });
        } else if matches!(self.phase, Phase::Queued) {
            self.spawn(now, effects);
        }
    }

    pub(super) fn spawn(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if self.port_retries == 0 {
            self.starts.note(now);
        }
        self.generation = self.generation.next();
        self.phase = Phase::Spawning;
        effects.push(Effect::Spawn { generation: self.generation });
    }

    pub(super) fn spawned(&mut self, process: ProcessIdentity, effects: &mut Vec<Effect>) {
        let generation = self.generation;
        match self.phase {
            Phase::Spawning => {
                (self.process, self.phase) = (Some(process), Phase::Booting);
                effects.push(Effect::Release { generation });
                effects.push(Effect::AwaitReady { generation });
            }
            Phase::Ending { spawning: true, .. } => {
                self.process = Some(process);
                self.terminate_at_last(effects);
            }
            _ => {}
        }
    }

    pub(super) fn adopted(&mut self, found: Found, effects: &mut Vec<Effect>) {
        let generation = self.generation;
        match found {
            Found::Starting => {
                (self.phase, self.port_retries) = (Phase::Booting, 0);
                effects.push(Effect::AwaitReady { generation });
            }
            Found::Ready => self.answers(effects),
            Found::Unresponsive => self.phase = Phase::Unresponsive,
            Found::Stopping => self.end(Next::Stop, effects),
        }
    }

    pub(super) fn port_lost(&mut self, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Booting) {
            return;
        }
        if self.port_retries < PORT_RETRIES {
            self.port_retries += 1;
            self.end(Next::RetryPort, effects);
        } else {
            self.came_down(Failure::PortLost, false, effects);
        }
    }

    pub(super) fn answers(&mut self, effects: &mut Vec<Effect>) {
        (self.phase, self.strikes) = (Phase::Ready, 0);
        self.release_slot(effects);
        if std::mem::take(&mut self.ready_wanted) {
            effects.push(Effect::AnswerReady);
        }
    }

    pub(super) fn probe_failed(&mut self) {
        if matches!(self.phase, Phase::Ready) {
            self.strikes += 1;
            if self.strikes >= PROBE_STRIKES {
                self.phase = Phase::Unresponsive;
            }
        }
    }
}

//! The life of one backend, as a pure function.
//!
//! `(state, event, time) -> (state, effects)`: no I/O, no clock, no tasks. One actor per repo owns a
//! [`Lifecycle`], carries out the effects in their order, and feeds what comes of them back as events.
//! Everything that must never happen (two processes at once, a kill because of a slow answer, a
//! caller who is never answered) is decided, and property-tested, here.
//!
//! ```text
//!              ensure, restart                        slot granted
//!   stopped ─────────────────────► starting(queued) ─────────────► starting(spawning)
//!   hibernated      ▲  ▲                ▲  restart due                    │ spawned
//!   failed          │  │                │                                 ▼
//!      ▲            │  │        starting(backing off)             starting(booting)
//!      │            │  │                ▲                                 │ ready
//!      │ ended      │  │ ended          │ ended            2 probes failed ▼
//!      │            │  │                │           unresponsive ◄───────── ready
//!      └────────────┴──┴── stopping ◄───┴──────────────┴─── answered ──────►┘
//!                          ▲ stop, restart, hibernate; exited; start failed; port lost
//! ```
//!
//! Every way down leads through *stopping* (`Terminate` … `Ended`), a crash and a failed spawn too:
//! only when the whole tree is known to be gone may the next generation be spawned.
//!
//! * A crash is followed by a restart: the first at once, the next after 500 ms, 1 s, 2 s …
//! * A start that fails while callers wait is their answer; nothing is retried behind their back.
//! * The fifth start within 60 s that comes down parks the repo as `failed`. Only `restart` or `stop`
//!   ends that.
//! * A probe that fails changes the state and nothing else. Slow is not dead.

mod asked;
mod down;
mod starts;
mod up;
mod words;

#[cfg(test)]
mod tests;

pub use starts::{MAX_STARTS, STABLE_MS, WINDOW_MS};
pub use words::{Effect, Event, Failure, Found, Token};

use crate::identity::ProcessIdentity;
use repod_proto::{BackendState, EnsureStep, Generation};
use starts::Starts;

/// How often a start whose port was taken by another is tried again with another port.
pub const PORT_RETRIES: u32 = 3;

/// So many probes in a row must fail before a backend counts as unresponsive.
pub const PROBE_STRIKES: u32 = 2;

/// The state machine of one repo's backend.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Phase,
    generation: Generation,
    process: Option<ProcessIdentity>,
    version: Option<String>,
    ready_since: u64,
    strikes: u32,
    starts: Starts,
    port_retries: u32,
    slot: Option<Token>,
    last_token: Token,
    ready_wanted: bool,
    stop_wanted: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Stopped,
    Hibernated,
    Failed {
        failure: Failure,
        parked: bool,
        remains: bool,
    },
    Queued,
    BackingOff {
        token: Token,
    },
    Spawning,
    Booting,
    Ready,
    Unresponsive,
    /// `spawning`: a spawn is still under way, and can be terminated only when it is done.
    Ending {
        next: Next,
        spawning: bool,
    },
}

/// What follows when the tree is gone.
#[derive(Clone, Debug)]
enum Next {
    Stop,
    Hibernate,
    Start { after_ms: u64 },
    RetryPort,
    Fail { failure: Failure, parked: bool },
}

const START: Next = Next::Start { after_ms: 0 };

impl Lifecycle {
    /// A stopped backend whose last generation was this one (0: there has been none).
    pub fn new(generation: Generation) -> Self {
        Self {
            phase: Phase::Stopped,
            generation,
            process: None,
            version: None,
            ready_since: 0,
            strikes: 0,
            starts: Starts::default(),
            port_retries: 0,
            slot: None,
            last_token: Token(0),
            ready_wanted: false,
            stop_wanted: false,
        }
    }

    /// One that an earlier daemon left asleep.
    pub fn hibernated(generation: Generation) -> Self {
        Self { phase: Phase::Hibernated, ..Self::new(generation) }
    }

    /// One that an earlier daemon left `failed`; parked it stays parked.
    pub fn failed(generation: Generation, failure: Failure, parked: bool) -> Self {
        let phase = Phase::Failed { failure, parked, remains: false };
        Self { phase, ..Self::new(generation) }
    }

    /// The public state.
    pub fn state(&self) -> BackendState {
        match self.phase {
            Phase::Stopped => BackendState::Stopped,
            Phase::Hibernated => BackendState::Hibernated,
            Phase::Failed { .. } => BackendState::Failed,
            Phase::Queued | Phase::BackingOff { .. } | Phase::Spawning | Phase::Booting => {
                BackendState::Starting
            }
            Phase::Ready => BackendState::Ready,
            Phase::Unresponsive => BackendState::Unresponsive,
            Phase::Ending { .. } => BackendState::Stopping,
        }
    }

    /// What a waiting caller is waiting for; `None` where there is nothing to wait for.
    pub fn step(&self) -> Option<EnsureStep> {
        Some(match self.phase {
            Phase::Queued => EnsureStep::Queued,
            Phase::BackingOff { .. } => EnsureStep::BackingOff,
            Phase::Spawning => EnsureStep::Spawning,
            Phase::Booting => EnsureStep::Booting,
            Phase::Unresponsive => EnsureStep::Unresponsive,
            Phase::Ending { .. } => EnsureStep::Stopping,
            Phase::Stopped | Phase::Hibernated | Phase::Failed { .. } | Phase::Ready => {
                return None;
            }
        })
    }

    /// Number of the current (or last) backend.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The leader of the current backend, from its spawn until its tree is gone.
    pub fn process(&self) -> Option<&ProcessIdentity> {
        self.process.as_ref()
    }

    /// The version the current backend reported.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Why it is `failed`.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.phase {
            Phase::Failed { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Whether it is `failed` and stays so until somebody restarts or stops it.
    pub fn is_parked(&self) -> bool {
        matches!(self.phase, Phase::Failed { parked: true, .. })
    }

    /// Starts in the last 60 s.
    pub fn recent_starts(&self, now: u64) -> u32 {
        self.starts.recent(now)
    }

    /// The transition. `now` is in milliseconds of any clock that never goes back.
    ///
    /// Events about another generation or an old token change nothing, so late ones may be fed freely.
    #[must_use = "the effects must be carried out"]
    pub fn on(&mut self, event: Event, now: u64) -> Vec<Effect> {
        let before = (self.state(), self.generation, self.process.clone(), self.is_parked());
        let mut effects = Vec::new();
        match event {
            Event::Ensure => self.ensure(&mut effects),
            Event::Restart => self.restart(&mut effects),
            Event::Stop => self.stop(&mut effects),
            Event::Hibernate => self.hibernate(&mut effects),
            Event::SlotGranted { token } => self.slot_granted(token, now, &mut effects),
            Event::RestartDue { token } => {
                if matches!(self.phase, Phase::BackingOff { token: due } if due == token) {
                    self.begin(&mut effects);
                }
            }
            Event::Adopted { generation, process, version, found } => {
                if generation >= self.generation && self.nothing_lives() {
                    (self.generation, self.process) = (generation, Some(process));
                    (self.version, self.ready_since) = (version, now);
                    self.adopted(found, &mut effects);
                }
            }
            Event::Spawned { generation, .. }
            | Event::Ready { generation, .. }
            | Event::StartFailed { generation, .. }
            | Event::PortLost { generation }
            | Event::Exited { generation, .. }
            | Event::ProbeAnswered { generation }
            | Event::ProbeFailed { generation }
            | Event::Ended { generation }
            | Event::EndFailed { generation, .. }
                if generation != self.generation => {}
            Event::Spawned { process, .. } => self.spawned(process, &mut effects),
            Event::Ready { version, .. } => {
                if matches!(self.phase, Phase::Booting) {
                    (self.version, self.ready_since) = (Some(version), now);
                    self.answers(&mut effects);
                }
            }
            Event::StartFailed { error, .. } => match self.phase {
                Phase::Spawning | Phase::Booting => {
                    self.came_down(Failure::Start(error), false, &mut effects);
                }
                Phase::Ending { spawning: true, .. } => self.terminate_at_last(&mut effects),
                _ => {}
            },
            Event::PortLost { .. } => self.port_lost(&mut effects),
            Event::Exited { reason, .. } => match self.phase {
                Phase::Booting => self.came_down(Failure::Exited(reason), false, &mut effects),
                Phase::Ready | Phase::Unresponsive => {
                    if now.saturating_sub(self.ready_since) >= STABLE_MS {
                        self.starts = Starts::default();
                    }
                    self.came_down(Failure::Exited(reason), true, &mut effects);
                }
                _ => {}
            },
            Event::ProbeAnswered { .. } => match self.phase {
                Phase::Ready | Phase::Unresponsive => self.answers(&mut effects),
                _ => {}
            },
            Event::ProbeFailed { .. } => self.probe_failed(),
            Event::Ended { .. } => self.ended(now, &mut effects),
            Event::EndFailed { survivors, .. } => self.end_failed(survivors, &mut effects),
        }
        if before != (self.state(), self.generation, self.process.clone(), self.is_parked()) {
            // First, so that nothing is spawned or released that isn't on record.
            effects.insert(0, Effect::Persist);
        }
        effects
    }

    fn nothing_lives(&self) -> bool {
        match self.phase {
            Phase::Stopped | Phase::Hibernated => true,
            Phase::Failed { remains, .. } => !remains,
            _ => false,
        }
    }

    fn next_token(&mut self) -> Token {
        self.last_token = Token(self.last_token.0 + 1);
        self.last_token
    }
}

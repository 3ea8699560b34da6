//! What a user would notice of the state machine, first as stories, then for any sequence of events.

mod any_order;
mod drawn;

use super::*;
use crate::launcher::ExitReason;
use repod_proto::{ApiError, ErrorCode};

const CRASH: ExitReason = ExitReason::Signal(9);

fn process(pid: u64) -> ProcessIdentity {
    let pid = u32::try_from(pid).unwrap();
    ProcessIdentity { pid, start_ticks: 1, boot_id: "b".to_owned() }
}

fn error() -> ApiError {
    ApiError::new(ErrorCode::StartFailed, "no answer")
}

/// A machine with its clock.
struct Story {
    life: Lifecycle,
    now: u64,
}

impl Story {
    fn new() -> Self {
        Self { life: Lifecycle::new(Generation(0)), now: 1_000_000 }
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        self.life.on(event, self.now)
    }

    /// The generation of the moment, for events about it.
    fn g(&self) -> Generation {
        self.life.generation()
    }

    fn grant(&mut self) -> Vec<Effect> {
        self.on(Event::SlotGranted { token: self.life.last_token })
    }

    fn spawned(&mut self) -> Vec<Effect> {
        self.on(Event::Spawned { generation: self.g(), process: process(self.g().0) })
    }

    fn ready(&mut self) -> Vec<Effect> {
        self.on(Event::Ready { generation: self.g(), version: "1.18.33".to_owned() })
    }

    fn crash(&mut self) -> Vec<Effect> {
        self.on(Event::Exited { generation: self.g(), reason: CRASH })
    }

    fn ended(&mut self) -> Vec<Effect> {
        self.on(Event::Ended { generation: self.g() })
    }

    fn fail(&mut self) -> Vec<Effect> {
        self.on(Event::StartFailed { generation: self.g(), error: error() })
    }

    fn probe_failed(&mut self) -> Vec<Effect> {
        self.on(Event::ProbeFailed { generation: self.g() })
    }

    fn boot(&mut self) {
        let _ = self.grant();
        let _ = self.spawned();
    }

    fn up(&mut self) {
        let _ = self.on(Event::Ensure);
        self.boot();
        let _ = self.ready();
        assert_eq!(self.life.state(), BackendState::Ready);
    }
}

#[test]
fn a_start_is_recorded_before_it_is_spawned_and_again_before_it_runs() {
    let mut s = Story::new();
    let g = Generation(1);
    assert_eq!(s.on(Event::Ensure), [Effect::Persist, Effect::AcquireSlot { token: Token(1) }]);
    assert_eq!(s.on(Event::Ensure), [], "a second caller joins");
    assert_eq!(s.grant(), [Effect::Persist, Effect::Spawn { generation: g }]);
    let release = Effect::Release { generation: g };
    assert_eq!(s.spawned(), [Effect::Persist, release, Effect::AwaitReady { generation: g }]);
    let release = Effect::ReleaseSlot { token: Token(1) };
    assert_eq!(s.ready(), [Effect::Persist, release, Effect::AnswerReady]);
    assert_eq!(s.on(Event::Ensure), [Effect::AnswerReady], "from memory");
    assert_eq!(s.life.version(), Some("1.18.33"));
}

#[test]
fn slow_is_not_dead() {
    let mut s = Story::new();
    s.up();
    assert_eq!(s.probe_failed(), []);
    assert_eq!(s.probe_failed(), [Effect::Persist]);
    assert_eq!(s.life.state(), BackendState::Unresponsive);
    for _ in 0..100 {
        assert_eq!(s.probe_failed(), []);
    }
    assert_eq!(s.on(Event::Ensure), [], "a caller waits for the answer");
    let answered = s.on(Event::ProbeAnswered { generation: s.g() });
    assert_eq!(answered, [Effect::Persist, Effect::AnswerReady]);
    assert_eq!(s.probe_failed(), [], "strikes are counted in a row");
}

#[test]
fn a_crash_sweeps_the_left_overs_and_restarts_at_once() {
    let mut s = Story::new();
    s.up();
    let terminate = Effect::Terminate { generation: Generation(1) };
    assert_eq!(s.crash(), [Effect::Persist, terminate]);
    assert_eq!(s.ended(), [Effect::Persist, Effect::AcquireSlot { token: Token(2) }]);
    assert_eq!(s.grant(), [Effect::Persist, Effect::Spawn { generation: Generation(2) }]);
}

#[test]
fn a_repo_that_keeps_crashing_is_parked_until_somebody_asks_for_a_restart() {
    let mut s = Story::new();
    s.up();
    let mut delays = Vec::new();
    while !s.life.is_parked() {
        let _ = s.crash();
        for effect in s.ended() {
            match effect {
                Effect::ScheduleRestart { token, after_ms } => {
                    delays.push(after_ms);
                    s.now += after_ms;
                    let older = Event::RestartDue { token: Token(token.0 - 1) };
                    assert_eq!(s.on(older), [], "an older timer is void");
                    let _ = s.on(Event::RestartDue { token });
                }
                Effect::AcquireSlot { .. } => delays.push(0),
                _ => {}
            }
        }
        s.boot();
        let _ = s.ready();
    }
    assert_eq!(delays, [0, 500, 1_000, 2_000]);
    assert_eq!(s.g(), Generation(5));
    assert_eq!(s.life.recent_starts(s.now), 5);
    s.now += 3_600_000;
    let parked = Effect::AnswerFailed { failure: Failure::Exited(CRASH), parked: true };
    assert_eq!(s.on(Event::Ensure), [parked], "no further try until asked for");
    assert!(matches!(s.on(Event::Restart)[..], [Effect::Persist, Effect::AcquireSlot { .. }]));
}

#[test]
fn a_backend_that_was_up_for_long_may_crash_without_its_past_being_held_against_it() {
    let mut s = Story::new();
    s.up();
    for _ in 0..20 {
        s.now += STABLE_MS;
        let _ = s.crash();
        assert!(matches!(s.ended()[..], [Effect::Persist, Effect::AcquireSlot { .. }]));
        s.boot();
        let _ = s.ready();
    }
    assert_eq!(s.life.state(), BackendState::Ready);
}

#[test]
fn a_failed_start_is_the_answer_of_those_who_wait_and_nobody_retries_behind_their_back() {
    let mut s = Story::new();
    for start in 1..=5 {
        assert!(matches!(s.on(Event::Ensure)[..], [Effect::Persist, Effect::AcquireSlot { .. }]));
        s.boot();
        let parked = start == 5;
        let failed = Effect::AnswerFailed { failure: Failure::Start(error()), parked };
        assert!(s.fail().contains(&failed));
        assert_eq!(s.ended(), [Effect::Persist]);
        assert_eq!(s.life.state(), BackendState::Failed);
        assert_eq!(s.life.is_parked(), parked, "start {start}");
        s.now += 1_000;
    }
    assert_eq!(s.on(Event::Stop), [Effect::Persist, Effect::AnswerStopped]);
    assert!(matches!(s.on(Event::Ensure)[..], [Effect::Persist, Effect::AcquireSlot { .. }]));
}

#[test]
fn a_lost_port_is_tried_again_at_once_three_times_and_counts_as_one_start() {
    let mut s = Story::new();
    let _ = s.on(Event::Ensure);
    let _ = s.grant();
    for retry in 1..=3 {
        let _ = s.spawned();
        let lost = s.on(Event::PortLost { generation: s.g() });
        assert_eq!(lost, [Effect::Persist, Effect::Terminate { generation: s.g() }]);
        let next = Generation(retry + 1);
        assert_eq!(s.ended(), [Effect::Persist, Effect::Spawn { generation: next }]);
    }
    assert_eq!(s.life.recent_starts(s.now), 1);
    let _ = s.spawned();
    let lost = s.on(Event::PortLost { generation: s.g() });
    assert!(lost.contains(&Effect::AnswerFailed { failure: Failure::PortLost, parked: false }));
}

#[test]
fn a_stop_in_the_middle_of_a_spawn_waits_for_the_spawn_and_never_lets_it_run() {
    let mut s = Story::new();
    let _ = s.on(Event::Ensure);
    let _ = s.grant();
    let stopped = Effect::AnswerFailed { failure: Failure::Stopped, parked: false };
    let release = Effect::ReleaseSlot { token: Token(1) };
    assert_eq!(s.on(Event::Stop), [Effect::Persist, stopped, release]);
    assert_eq!(s.spawned(), [Effect::Persist, Effect::Terminate { generation: s.g() }]);
    assert_eq!(s.ended(), [Effect::Persist, Effect::AnswerStopped]);
    assert_eq!(s.life.state(), BackendState::Stopped);
}

#[test]
fn who_asks_while_it_is_being_stopped_gets_the_next_one() {
    let mut s = Story::new();
    s.up();
    assert_eq!(s.on(Event::Stop), [Effect::Persist, Effect::Terminate { generation: s.g() }]);
    assert_eq!(s.on(Event::Ensure), []);
    let acquire = Effect::AcquireSlot { token: Token(2) };
    assert_eq!(s.ended(), [Effect::Persist, Effect::AnswerStopped, acquire]);
}

#[test]
fn no_other_backend_is_started_beside_processes_that_could_not_be_ended() {
    let mut s = Story::new();
    s.up();
    let _ = s.on(Event::Stop);
    let failure = Failure::NotEnded { survivors: vec![7] };
    let failed = s.on(Event::EndFailed { generation: s.g(), survivors: vec![7] });
    assert_eq!(failed, [Effect::Persist, Effect::AnswerStopFailed { failure }]);
    let terminate = Effect::Terminate { generation: s.g() };
    assert_eq!(s.on(Event::Ensure), [Effect::Persist, terminate], "first the old one again");
    assert!(matches!(s.ended()[..], [Effect::Persist, Effect::AcquireSlot { .. }]));
}

#[test]
fn an_adopted_backend_goes_on_as_it_was_found() {
    let adopt = |found| {
        let mut life = Lifecycle::new(Generation(3));
        let (generation, version) = (Generation(3), Some("1".to_owned()));
        let effects =
            life.on(Event::Adopted { generation, process: process(9), version, found }, 0);
        (life.state(), effects)
    };
    let g = Generation(3);
    assert_eq!(adopt(Found::Ready), (BackendState::Ready, vec![Effect::Persist]));
    assert_eq!(adopt(Found::Unresponsive), (BackendState::Unresponsive, vec![Effect::Persist]));
    let effects = vec![Effect::Persist, Effect::AwaitReady { generation: g }];
    assert_eq!(adopt(Found::Starting), (BackendState::Starting, effects));
    let effects = vec![Effect::Persist, Effect::Terminate { generation: g }];
    assert_eq!(adopt(Found::Stopping), (BackendState::Stopping, effects));
}

#[test]
fn only_a_ready_backend_is_put_to_sleep_and_the_next_request_wakes_it() {
    let mut s = Story::new();
    assert_eq!(s.on(Event::Hibernate), [Effect::RefuseHibernate]);
    s.up();
    let _ = s.on(Event::Hibernate);
    assert_eq!(s.ended(), [Effect::Persist, Effect::AnswerStopped]);
    assert_eq!(s.life.state(), BackendState::Hibernated);
    s.up();
    assert_eq!(s.g(), Generation(2));
}

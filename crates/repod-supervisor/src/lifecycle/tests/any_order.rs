//! Events in any order, late ones and impossible ones included: what must hold all the same.

use super::*;
use proptest::prelude::*;

/// An event, not yet bound to a generation or a token.
#[derive(Clone, Debug)]
enum Step {
    Ensure,
    Restart,
    Stop,
    Hibernate,
    Slot { late: bool },
    Timer { late: bool },
    About { what: About, late: bool },
    Adopted(Found),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
enum About {
    Spawned,
    Ready,
    StartFailed,
    PortLost,
    Exited,
    Answered,
    Unanswered,
    Ended,
    EndFailed,
}

fn step() -> impl Strategy<Value = Step> {
    use About::{
        Answered, EndFailed, Ended, Exited, PortLost, Ready, Spawned, StartFailed, Unanswered,
    };
    let about = prop::sample::select(vec![
        Spawned,
        Ready,
        StartFailed,
        PortLost,
        Exited,
        Answered,
        Unanswered,
        Ended,
        EndFailed,
    ]);
    let found = prop::sample::select(vec![
        Found::Starting,
        Found::Ready,
        Found::Unresponsive,
        Found::Stopping,
    ]);
    let late = || prop::bool::weighted(0.1);
    prop_oneof![
        6 => Just(Step::Ensure),
        1 => Just(Step::Restart),
        1 => Just(Step::Stop),
        1 => Just(Step::Hibernate),
        8 => late().prop_map(|late| Step::Slot { late }),
        4 => late().prop_map(|late| Step::Timer { late }),
        30 => (about, late()).prop_map(|(what, late)| Step::About { what, late }),
        1 => found.prop_map(Step::Adopted),
        4 => prop::sample::select(vec![0, 100, 5_000, 30_000, 61_000]).prop_map(Step::Wait),
    ]
}

/// An actor that carries out the effects on paper, and the invariants as it sees them.
struct World {
    life: Lifecycle,
    now: u64,
    /// The generation that may have processes, from its spawn until its tree was said to be gone.
    live: Option<Generation>,
    terminating: Option<Generation>,
    slot: Option<Token>,
    timer: Option<Token>,
    ready_waiters: u32,
    stop_waiters: u32,
    /// When it was spawned since the last time the count was set back.
    starts: Vec<u64>,
    after_port_loss: bool,
    ready_since: Option<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            life: Lifecycle::new(Generation(0)),
            now: 0,
            live: None,
            terminating: None,
            slot: None,
            timer: None,
            ready_waiters: 0,
            stop_waiters: 0,
            starts: Vec::new(),
            after_port_loss: false,
            ready_since: None,
        }
    }

    fn take(&mut self, step: &Step) {
        let token = |token: Option<Token>, late: bool| {
            let token = token.unwrap_or(Token(0));
            if late { Token(token.0.saturating_sub(1)) } else { token }
        };
        let event = match *step {
            Step::Ensure => Event::Ensure,
            Step::Restart => Event::Restart,
            Step::Stop => Event::Stop,
            Step::Hibernate => Event::Hibernate,
            Step::Slot { late } => Event::SlotGranted { token: token(self.slot, late) },
            Step::Timer { late } => Event::RestartDue { token: token(self.timer, late) },
            Step::About { what, late } => {
                let current = self.life.generation().0;
                self.about(what, Generation(current.saturating_sub(u64::from(late))))
            }
            Step::Adopted(found) => {
                let generation = self.life.generation();
                Event::Adopted { generation, process: process(1), version: None, found }
            }
            Step::Wait(ms) => {
                self.now += ms;
                return;
            }
        };
        self.feed(&event);
    }

    fn about(&self, what: About, generation: Generation) -> Event {
        match what {
            About::Spawned => Event::Spawned { generation, process: process(generation.0 + 100) },
            About::Ready => Event::Ready { generation, version: "1".to_owned() },
            About::StartFailed => Event::StartFailed { generation, error: error() },
            About::PortLost => Event::PortLost { generation },
            About::Exited => Event::Exited { generation, reason: CRASH },
            About::Answered => Event::ProbeAnswered { generation },
            About::Unanswered => Event::ProbeFailed { generation },
            About::Ended => Event::Ended { generation },
            About::EndFailed => Event::EndFailed { generation, survivors: vec![1] },
        }
    }

    fn feed(&mut self, event: &Event) {
        let before = (self.life.state(), self.life.generation(), self.life.process().cloned());
        let was_ready = matches!(before.0, BackendState::Ready | BackendState::Unresponsive);
        match event {
            Event::Ensure => self.ready_waiters += 1,
            Event::Restart => self.ready_waiters += 1,
            Event::Stop | Event::Hibernate => self.stop_waiters += 1,
            _ => {}
        }
        let effects = self.life.on(event.clone(), self.now);
        let after = (self.life.state(), self.life.generation(), self.life.process().cloned());
        if before != after {
            assert_eq!(effects.first(), Some(&Effect::Persist), "{before:?} -> {after:?}");
        }
        if let Event::Ended { generation } = event
            && self.terminating == Some(*generation)
        {
            (self.live, self.terminating) = (None, None);
        }
        if let Event::EndFailed { generation, .. } = event
            && self.terminating == Some(*generation)
        {
            self.terminating = None;
        }
        match event {
            Event::ProbeFailed { .. } | Event::ProbeAnswered { .. } => {
                let only = |e: &Effect| matches!(e, Effect::Persist | Effect::AnswerReady);
                assert!(effects.iter().all(only), "a probe caused {effects:?}");
            }
            Event::Adopted { .. } if before != after => {
                assert_eq!(self.live.replace(after.1), None, "adopted beside another");
            }
            Event::Restart | Event::Stop => self.starts.clear(),
            Event::Hibernate if after.0 == BackendState::Stopping => self.starts.clear(),
            Event::Exited { .. }
                if was_ready
                    && after.0 == BackendState::Stopping
                    && self.ready_since.is_some_and(|since| self.now - since >= STABLE_MS) =>
            {
                self.starts.clear();
            }
            Event::PortLost { .. } if before != after => self.after_port_loss = true,
            _ => {}
        }
        let is_ready = matches!(after.0, BackendState::Ready | BackendState::Unresponsive);
        if !is_ready {
            self.ready_since = None;
        } else if !was_ready {
            self.ready_since = Some(self.now);
        }
        for effect in effects {
            self.carry_out(&effect);
        }
        if self.life.step().is_none() {
            assert_eq!(self.ready_waiters, 0, "settled, but callers wait: {:?}", self.life);
            assert_eq!(self.stop_waiters, 0, "settled, but stoppers wait: {:?}", self.life);
            assert_eq!(self.slot, None, "settled, but a slot is held: {:?}", self.life);
        }
    }

    fn carry_out(&mut self, effect: &Effect) {
        match *effect {
            Effect::Spawn { generation } => {
                assert_eq!(self.live, None, "two at once");
                assert_eq!(generation, self.life.generation());
                self.live = Some(generation);
                if !std::mem::take(&mut self.after_port_loss) {
                    self.note_start();
                }
            }
            Effect::Terminate { generation } => {
                assert_eq!(self.live, Some(generation), "nothing to end");
                self.terminating = Some(generation);
            }
            Effect::AcquireSlot { token } => {
                assert_eq!(self.slot.replace(token), None, "two slots");
            }
            Effect::ReleaseSlot { token } => {
                if self.slot == Some(token) {
                    self.slot = None;
                }
            }
            Effect::ScheduleRestart { token, .. } => self.timer = Some(token),
            Effect::AnswerReady | Effect::AnswerFailed { .. } => self.ready_waiters = 0,
            Effect::AnswerStopped | Effect::AnswerStopFailed { .. } => self.stop_waiters = 0,
            Effect::RefuseHibernate => self.stop_waiters -= 1,
            Effect::Release { generation } | Effect::AwaitReady { generation } => {
                assert_eq!(self.live, Some(generation));
            }
            Effect::Persist => {}
        }
    }

    /// Five starts within the window are the most there can be.
    fn note_start(&mut self) {
        if let [.., fifth, _, _, _, last] = self.starts[..] {
            assert!(last - fifth >= WINDOW_MS, "not parked after {:?}", self.starts);
        }
        self.starts.push(self.now);
    }

    /// Every request that was made of the world is met: the machine must settle.
    fn settle(&mut self) {
        for _ in 0..20 {
            let generation = self.life.generation();
            let event = match self.life.step() {
                None => return,
                Some(EnsureStep::Queued) => Event::SlotGranted { token: self.slot.unwrap() },
                Some(EnsureStep::BackingOff) => Event::RestartDue { token: self.timer.unwrap() },
                Some(EnsureStep::Spawning) => self.about(About::Spawned, generation),
                Some(EnsureStep::Booting) => self.about(About::Ready, generation),
                Some(EnsureStep::Stopping) if self.terminating.is_none() => {
                    self.about(About::Spawned, generation)
                }
                Some(EnsureStep::Stopping) => self.about(About::Ended, generation),
                _ => self.about(About::Answered, generation),
            };
            self.feed(&event);
        }
        panic!("does not settle: {:?}", self.life);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_two_backends_never_a_lost_caller_never_a_kill_for_slowness(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
    }

    #[test]
    fn generations_rise_by_one_and_only_by_a_spawn(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            let before = world.life.generation();
            world.take(step);
            let after = world.life.generation();
            prop_assert!(after == before || after == before.next());
            prop_assert_eq!(after != before, world.live == Some(after) && world.live != Some(before));
        }
    }

    #[test]
    fn what_is_late_changes_nothing(
        steps in prop::collection::vec(step(), 1..60),
        late in prop::collection::vec(step(), 1..20),
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(step));
        let before = format!("{:?}", world.life);
        for step in late {
            let stale = Generation(world.life.generation().0.wrapping_sub(1));
            let event = match step {
                Step::About { what, .. } => world.about(what, Generation(stale.0.min(1 << 20))),
                Step::Timer { .. } => Event::RestartDue { token: Token(u64::MAX) },
                Step::Slot { .. } => Event::SlotGranted { token: Token(u64::MAX) },
                _ => continue,
            };
            let effects = world.life.on(event, world.now);
            let harmless = |e: &Effect| matches!(e, Effect::ReleaseSlot { token: Token(u64::MAX) });
            prop_assert!(effects.iter().all(harmless), "{effects:?}");
        }
        prop_assert_eq!(before, format!("{:?}", world.life));
    }
}

//! Events in any order, late and impossible ones included: what must hold all the same.
//!
//! The world checks after every event that there is one owner a branch and one call a worktree, that
//! nobody is passed, forgotten or woken in vain, that fences rise, that no circle is left, and that
//! everything stays within its bounds.

use super::super::*;
use super::world::{LIMITS, World};
use super::{branch, party, repo, session};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// An event, not yet bound to what there is at the moment.
#[derive(Clone, Debug)]
enum Step {
    Ask { owner: usize, place: usize, odd: Odd, hold: Hold, wait: Wait, kind: Kind },
    AskAgain(usize),
    StaleAsk(usize),
    Secured(usize),
    LateSecured(usize),
    Blocked(usize),
    SecureFailed(usize),
    Report(usize),
    Gone(usize),
    Permission(usize, bool),
    TurnEnded(usize),
    OwnerGone(usize),
    BackendGone(usize),
    Switch { place: usize, branch: usize },
    Force(usize),
    Wait(u64),
    Restart,
}

/// What is unusual about a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    No,
    /// It wants no ticket.
    LeaseOnly,
    /// It hasn't noticed that the branch was switched.
    OtherBranch,
}

fn step() -> impl Strategy<Value = Step> {
    let hold = prop_oneof![4 => Just(Hold::Turn), 1 => Just(Hold::Call)];
    let wait = prop_oneof![
        1 => Just(Wait::Refuse),
        1 => Just(Wait::UpTo(0)),
        8 => prop::sample::select(vec![10_000, 120_000, 3_000_000]).prop_map(Wait::UpTo),
    ];
    let kind = prop_oneof![2 => Just(Kind::Ordinary), 1 => Just(Kind::LongRunning)];
    let odd = prop_oneof![
        8 => Just(Odd::No),
        1 => Just(Odd::LeaseOnly),
        1 => Just(Odd::OtherBranch),
    ];
    let ask = (0..6_usize, 0..4_usize, odd, hold, wait, kind).prop_map(
        |(owner, place, odd, hold, wait, kind)| Step::Ask { owner, place, odd, hold, wait, kind },
    );
    let wait = prop::sample::select(vec![1, 4_000, 5_000, 31_000, 121_000, 601_000]);
    prop_oneof![
        30 => ask,
        20 => (0..4_usize).prop_map(Step::Secured),
        12 => (0..8_usize).prop_map(Step::Report),
        6 => (0..6_usize).prop_map(Step::TurnEnded),
        6 => wait.prop_map(Step::Wait),
        3 => (0..8_usize).prop_map(Step::Gone),
        3 => (0..4_usize, 0..3_usize).prop_map(|(place, branch)| Step::Switch { place, branch }),
        2 => (0..8_usize, any::<bool>()).prop_map(|(n, on)| Step::Permission(n, on)),
        1 => (0..8_usize).prop_map(Step::AskAgain),
        1 => (0..4_usize).prop_map(Step::StaleAsk),
        1 => (0..4_usize).prop_map(Step::LateSecured),
        1 => (0..4_usize).prop_map(Step::Blocked),
        1 => (0..4_usize).prop_map(Step::SecureFailed),
        1 => (0..6_usize).prop_map(Step::OwnerGone),
        1 => (0..2_usize).prop_map(Step::BackendGone),
        1 => (0..4_usize).prop_map(Step::Force),
        1 => Just(Step::Restart),
    ]
}

/// A world with four worktrees of two repos, and who works there.
struct Play {
    world: World,
    /// What is checked out in each worktree.
    checked_out: [usize; 4],
    last_call: u64,
}

fn owner(n: usize) -> OwnerId {
    match n {
        0..4 => session(n % 2, n),
        n => OwnerId::Outside(format!("hold-{n}")),
    }
}

fn worktree(place: usize) -> String {
    format!("/src/{place}")
}

impl Play {
    fn new() -> Self {
        Self { world: World::new(), checked_out: [0, 1, 2, 0], last_call: 0 }
    }

    fn key(&self, place: usize) -> LeaseKey {
        branch(place % 2, self.checked_out[place])
    }

    fn name_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(format!("call-{}", self.last_call))
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Ask { owner: n, place, odd, hold, wait, kind } => {
                let id = owner(n);
                let party = party(&id, self.world.generation(&id));
                let (mut key, call) = (self.key(place), self.name_call());
                if odd == Odd::OtherBranch {
                    key = branch(place % 2, (self.checked_out[place] + 1) % 3);
                }
                let worktree = (odd != Odd::LeaseOnly).then(|| worktree(place));
                let what = format!("write in {place}");
                // One outside has no turns.
                let hold = if n >= 4 { Hold::Call } else { hold };
                self.world.ask(Ask { call, party, key, worktree, what, hold, wait, kind });
            }
            Step::AskAgain(n) => {
                let waiting = self.world.calls.values().filter(|entry| entry.granted.is_none());
                if let Some(entry) = waiting.cycle().nth(n).cloned() {
                    self.world.feed(Event::Ask(entry.ask));
                }
            }
            Step::StaleAsk(n) => {
                let id = owner(n);
                let mut party = party(&id, self.world.generation(&id));
                party.generation.0 = party.generation.0.saturating_sub(1);
                let (key, call) = (self.key(n), self.name_call());
                let ask = Ask {
                    call,
                    party,
                    key,
                    worktree: Some(worktree(n)),
                    what: String::new(),
                    hold: Hold::Turn,
                    wait: Wait::UpTo(1_000),
                    kind: Kind::Ordinary,
                };
                let before = self.world.granted;
                self.world.ask(ask);
                assert_eq!(self.world.granted, before, "granted to a backend that is gone");
            }
            Step::Secured(n) => {
                if let Some((key, fence)) = self.unsecured(n) {
                    self.world.feed(Event::Secured { key, fence });
                }
            }
            Step::LateSecured(n) => {
                if let Some((key, fence)) = self.unsecured(n) {
                    let before = format!("{:?}", self.world.table);
                    self.world.feed(Event::Secured { key, fence: fence - 1 });
                    assert_eq!(before, format!("{:?}", self.world.table));
                }
            }
            Step::Blocked(n) => {
                if let Some((key, fence)) = self.unsecured(n) {
                    self.world.feed(Event::Blocked { key, fence, by: "process 1".to_owned() });
                }
            }
            Step::SecureFailed(n) => {
                if let Some((key, fence)) = self.unsecured(n) {
                    let error = repod_proto::ApiError::new(repod_proto::ErrorCode::StateIo, "full");
                    self.world.feed(Event::SecureFailed { key, fence, error });
                }
            }
            Step::Report(n) => {
                if let Some(call) = self.running(n) {
                    self.world.feed(Event::Report { call });
                }
            }
            Step::Gone(n) => {
                let call = self.world.calls.keys().nth(n).cloned();
                let call = call.unwrap_or(CallId("nobody".to_owned()));
                self.world.feed(Event::CallGone { call });
            }
            Step::Permission(n, on) => {
                if let Some(call) = self.running(n) {
                    let on = on.then(|| "edit a.rs".to_owned());
                    self.world.feed(Event::Permission { call, on });
                }
            }
            Step::TurnEnded(n) => self.world.feed(Event::TurnEnded { owner: owner(n) }),
            Step::OwnerGone(n) => {
                self.world.feed(Event::OwnerGone { owner: owner(n) });
                let left = self.world.holders.values().any(|held| held.owner == owner(n));
                assert!(!left, "it is gone, and holds");
            }
            Step::BackendGone(n) => {
                let generation = self.world.generation(&session(n, 0));
                self.world.generations.insert(repo(n), generation.0 + 1);
                self.world.feed(Event::BackendGone { repo: repo(n), generation });
                let of_it = |held: &super::world::Holding| matches!(&held.owner, OwnerId::Session { repo: of, .. } if *of == repo(n));
                assert!(
                    !self.world.holders.values().any(of_it),
                    "its backend is gone, and it holds"
                );
            }
            Step::Switch { place, branch } => {
                let from = self.key(place);
                self.checked_out[place] = branch;
                let to = self.key(place);
                self.world.switch(&worktree(place), &from, &to);
            }
            Step::Force(n) => {
                if let Some(key) = self.world.holders.keys().nth(n).cloned() {
                    let fence = self.world.holders[&key].fence;
                    self.world.feed(Event::Force { key: key.clone(), by: "alice".to_owned() });
                    let after = self.world.holders.get(&key).map(|held| held.fence);
                    assert!(after != Some(fence), "forced, and still held");
                }
            }
            Step::Wait(ms) => {
                self.world.now += ms;
                self.world.feed(Event::Tick);
            }
            Step::Restart => self.world.restart(),
        }
    }

    fn unsecured(&self, n: usize) -> Option<(LeaseKey, u64)> {
        let unsecured = self.world.holders.iter().filter(|(_, held)| !held.secured);
        unsecured.cycle().nth(n).map(|(key, held)| (key.clone(), held.fence))
    }

    fn running(&self, n: usize) -> Option<CallId> {
        let running = self.world.calls.iter().filter(|(_, entry)| entry.granted.is_some());
        running.cycle().nth(n).map(|(call, _)| call.clone())
    }

    /// Every request made of the world is met and every turn ends: everybody must be served.
    fn settle(&mut self) {
        for _ in 0..400 {
            if let Some((key, fence)) = self.unsecured(0) {
                self.world.feed(Event::Secured { key, fence });
            } else if let Some(call) = self.running(0) {
                self.world.feed(Event::Report { call });
            } else if let Some(held) = self.world.holders.values().next() {
                let owner = held.owner.clone();
                self.world.feed(Event::TurnEnded { owner });
            } else {
                break;
            }
        }
        assert!(self.world.calls.is_empty(), "never answered: {:?}", self.world.calls);
        assert!(self.world.table.is_idle(), "{:?}", self.world.table);
        assert!(self.world.table.owners.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn one_owner_a_branch_one_call_a_worktree_nobody_passed_lost_or_in_a_circle(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut play = Play::new();
        for step in &steps {
            play.take(step);
        }
        play.settle();
    }

    #[test]
    fn a_second_telling_changes_nothing(steps in prop::collection::vec(step(), 1..60)) {
        let mut play = Play::new();
        steps.iter().for_each(|step| play.take(step));
        let table = &mut play.world.table;
        let before = format!("{table:?}");
        let nobody = OwnerId::Outside("nobody".to_owned());
        let late = [
            Event::Report { call: CallId("call-0".to_owned()) },
            Event::CallGone { call: CallId("call-0".to_owned()) },
            Event::Permission { call: CallId("call-0".to_owned()), on: Some(String::new()) },
            Event::TurnEnded { owner: nobody.clone() },
            Event::OwnerGone { owner: nobody },
            Event::Secured { key: branch(0, 0), fence: 1 << 40 },
            Event::Tick,
        ];
        for event in late {
            let effects = table.on(event, play.world.now);
            prop_assert_eq!(effects, vec![]);
        }
        prop_assert_eq!(before, format!("{table:?}"));
    }
}

/// The steps above would prove nothing if they never led anywhere.
#[test]
fn the_schedules_meet_grants_and_circles_and_full_lines() {
    let mut runner = TestRunner::deterministic();
    let (mut granted, mut deadlocks, mut full) = (0, 0, 0);
    for _ in 0..100 {
        let steps = prop::collection::vec(step(), 100..150);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let mut play = Play::new();
        for step in &steps {
            play.take(step);
            let line = play.world.table.lanes.values().map(|lane| lane.line.len()).max();
            full += u32::from(line == Some(LIMITS.waiters_per_key));
        }
        (granted, deadlocks) = (granted + play.world.granted, deadlocks + play.world.deadlocks);
    }
    assert!(granted > 500 && deadlocks > 20 && full > 20, "{granted} {deadlocks} {full}");
}

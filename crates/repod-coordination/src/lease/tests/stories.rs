//! One thing at a time, as a user would tell it.

mod circles;
mod ends;
mod waits;

use super::super::*;
use super::{branch, party, session};
use repod_proto::{ApiError, CallState};

/// A table with its clock, and a daemon that secures every lease at once.
struct Story {
    table: Table,
    now: u64,
    secures: bool,
}

/// What a call was told.
type Answers = Vec<(String, Result<u64, ApiError>)>;

impl Story {
    fn new() -> Self {
        Self { table: Table::new(Limits::default(), []), now: 0, secures: true }
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = self.table.on(event, self.now);
        if self.secures {
            for effect in effects.clone() {
                if let Effect::Secure { key, fence, .. } = effect {
                    effects.extend(self.on(Event::Secured { key, fence }));
                }
            }
        }
        effects
    }

    fn ask(&mut self, name: &str, owner: &OwnerId, key: &LeaseKey) -> Answers {
        answers(self.on(Event::Ask(ask(name, owner, key))))
    }

    fn report(&mut self, name: &str) -> Answers {
        answers(self.on(Event::Report { call: CallId(name.to_owned()) }))
    }

    fn turn_ended(&mut self, owner: &OwnerId) -> Answers {
        answers(self.on(Event::TurnEnded { owner: owner.clone() }))
    }

    fn after(&mut self, seconds: u64) -> Vec<Effect> {
        self.now += seconds * 1_000;
        self.on(Event::Tick)
    }
}

fn answers(effects: Vec<Effect>) -> Answers {
    let answer = |effect| match effect {
        Effect::Answer { call, answer: Answer::Granted { fence, .. } } => Some((call.0, Ok(fence))),
        Effect::Answer { call, answer: Answer::Refused(refusal) } => {
            Some((call.0, Err(words::refusal(&refusal))))
        }
        _ => None,
    };
    effects.into_iter().filter_map(answer).collect()
}

/// A write in the worktree where that branch is checked out.
fn ask(name: &str, owner: &OwnerId, key: &LeaseKey) -> Ask {
    Ask {
        call: CallId(name.to_owned()),
        party: party(owner, Generation(u64::from(matches!(owner, OwnerId::Session { .. })))),
        key: key.clone(),
        worktree: Some(format!("/src/{}-{}", key.repo, key.branch)),
        what: format!("edit {name}.rs"),
        hold: Hold::Turn,
        wait: Wait::UpTo(120_000),
        kind: Kind::Ordinary,
    }
}

fn command(name: &str, owner: &OwnerId, key: &LeaseKey) -> Ask {
    let what = format!("bash: {name}");
    Ask { what, kind: Kind::LongRunning, ..ask(name, owner, key) }
}

fn granted(name: &str, fence: u64) -> Answers {
    vec![(name.to_owned(), Ok(fence))]
}

fn refused(answers: &Answers, name: &str) -> ApiError {
    let found = answers.iter().find(|(call, _)| call == name);
    found.expect("an answer").1.clone().expect_err("a refusal")
}

fn two() -> (OwnerId, OwnerId, LeaseKey) {
    (session(0, 1), session(0, 2), branch(0, 0))
}

#[test]
fn a_lease_is_shown_with_its_owner_its_calls_and_who_waits() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let on = Some("edit src/a.rs".to_owned());
    let _ = story.on(Event::Permission { call: CallId("a1".to_owned()), on });
    let _ = story.after(5);
    let _ = story.ask("b1", &b, &main);
    let shown = story.table.snapshot(&|at| format!("T+{at}"));
    assert_eq!(shown[0].calls[0].state, CallState::WaitingPermission);
    assert_eq!(shown[0].calls[0].permission.as_deref(), Some("edit src/a.rs"));
    let json = serde_json::to_value(&shown).unwrap();
    let expected = serde_json::json!({
        "session_id": "ses_2", "root_session_id": "ses_2", "title": "repo0-000000000000/ses_2",
        "since": "T+5000", "position": 1, "calls": 1
    });
    assert_eq!(json[0]["waiters"][0], expected);
    assert_eq!((&json[0]["branch"], &json[0]["fence"]), (&"main".into(), &1.into()));
    assert_eq!(json[0]["owner"]["title"], "repo0-000000000000/ses_1");
}

#[test]
fn what_others_are_called_cannot_break_out_of_a_message() {
    assert_eq!(words::one_line("a\nb`c\u{1b}[31m", 80), "a b'c [31m");
    assert_eq!(words::one_line("abcdef", 4), "abc…");
}

#[test]
fn fence_numbers_never_fall_even_when_some_are_forgotten() {
    let limits = Limits { fences: 2, ..Limits::default() };
    let mut story = Story { table: Table::new(limits, []), ..Story::new() };
    let a = session(0, 1);
    let mut last = [0; 3];
    for n in [0, 0, 0, 1, 2, 1, 2, 0, 1, 2, 0, 0, 1] {
        let answers = story.ask("call", &a, &branch(0, n));
        let fence = answers[0].1.clone().unwrap();
        assert!(fence > last[n], "{n}: {} -> {fence}", last[n]);
        last[n] = fence;
        let _ = story.report("call");
        let _ = story.turn_ended(&a);
        assert!(story.table.fences.len() <= 2);
    }
}

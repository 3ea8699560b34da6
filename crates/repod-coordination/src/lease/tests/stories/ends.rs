//! What ends a lease: turns, aborts, deaths, people, time, and the daemon itself.

use super::super::super::*;
use super::super::{branch, party, repo, session};
use super::{Story, answers, ask, command, granted, refused, two};
use repod_proto::{ErrorCode, LeaseState};

#[test]
fn a_command_that_runs_for_ever_loses_the_lease_once_somebody_waits() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.on(Event::Ask(command("server", &a, &main)));
    assert_eq!(story.after(3_600).len(), 0, "as long as nobody waits");
    let effects = story.on(Event::Ask(ask("b1", &b, &main)));
    let (call, key) = (CallId("server".to_owned()), main.clone());
    assert_eq!(effects[0], Effect::Revoked { call, key, fence: 1, why: Why::TooLong });
    assert_eq!(answers(effects), granted("b1", 2));
    assert_eq!(story.report("server"), [], "nobody cares");
    assert_eq!(story.ask("a2", &a, &main), [], "it stands in line like everybody");
    let _ = story.report("b1");
    assert_eq!(story.turn_ended(&b), granted("a2", 3));
}

#[test]
fn a_call_that_was_aborted_while_it_waited_is_told_no_and_never_yes() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let _ = story.ask("b1", &b, &main);
    let effects = story.on(Event::CallGone { call: CallId("b1".to_owned()) });
    assert_eq!(refused(&answers(effects), "b1").code, ErrorCode::Stopped);
    let _ = story.ask("b2", &b, &main);
    let _ = story.ask("a2", &a, &main);
    let ended = story.turn_ended(&b);
    assert_eq!(refused(&ended, "b2").code, ErrorCode::Stopped);
    assert_eq!(refused(&story.turn_ended(&a), "a2").code, ErrorCode::Stopped, "ticket");
    assert_eq!(story.report("a1"), []);
    assert!(story.table.is_idle());
}

#[test]
fn a_call_that_outlives_its_turn_keeps_the_lease_for_a_moment_and_then_loses_it() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let _ = story.ask("b1", &b, &main);
    assert_eq!(story.turn_ended(&a), []);
    assert_eq!(story.table.snapshot(&|_| String::new())[0].state, LeaseState::Closing);
    assert_eq!(story.ask("a2", &a, &main), [], "its next turn doesn't pass those in line");
    assert_eq!(story.after(4), []);
    let effects = story.after(1);
    let (call, key) = (CallId("a1".to_owned()), main.clone());
    assert_eq!(effects[0], Effect::Revoked { call, key, fence: 1, why: Why::Overdue });
    assert_eq!(answers(effects), granted("b1", 2));
    let _ = story.report("b1");
    assert_eq!(story.turn_ended(&b), granted("a2", 3));
}

#[test]
fn a_dead_backend_holds_nothing_and_asks_for_nothing() {
    let (a, b, main) = two();
    let other = session(1, 3);
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let _ = story.ask("b1", &b, &main);
    let _ = story.ask("o1", &other, &main);
    let effects = story.on(Event::BackendGone { repo: repo(0), generation: Generation(1) });
    let answers = answers(effects);
    assert_eq!(refused(&answers, "b1").code, ErrorCode::Stopped);
    assert_eq!(answers.last(), granted("o1", 2).last());
    assert_eq!(refused(&story.ask("a2", &a, &main), "a2").code, ErrorCode::LeaseStale);
}

#[test]
fn a_newer_backend_that_asks_is_proof_that_the_older_one_is_gone() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let mut newer = ask("b1", &b, &main);
    newer.party.generation = Generation(2);
    assert_eq!(answers(story.on(Event::Ask(newer))), granted("b1", 2));
}

#[test]
fn after_a_switch_of_branches_the_next_write_needs_the_new_one() {
    let (a, b, main) = two();
    let dev = branch(0, 1);
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    assert_eq!(story.ask("a2", &a, &main), []);
    assert_eq!(story.ask("b1", &b, &main), []);
    let worktree = ask("", &a, &main).worktree.unwrap();
    let effects = story.on(Event::BranchSwitched { worktree, from: main.clone(), to: dev.clone() });
    assert_eq!(answers(effects), [], "the first call is still at work there");
    assert_eq!(story.table.holder(&main), Some((&a, 1)), "to the end of its turn");
    assert_eq!(story.table.holder(&dev), Some((&a, 1)), "before those who waited for the old one");
    let dev_call = story.report("a1");
    assert_eq!(dev_call, granted("a2", 1));
    let _ = story.report("a2");
    assert_eq!(story.turn_ended(&a), granted("b1", 2));
    assert_eq!(story.table.holder(&dev), Some((&b, 2)));
    assert_eq!(story.table.holder(&main), None);
}

#[test]
fn one_from_outside_keeps_the_lease_as_long_as_its_call() {
    let (a, _, main) = two();
    let script = OwnerId::Outside("hold-1".to_owned());
    let hold = |name: &str| {
        let ask = ask(name, &script, &main);
        Event::Ask(Ask { worktree: None, hold: Hold::Call, ..ask })
    };
    let mut story = Story::new();
    assert_eq!(answers(story.on(hold("h1"))), granted("h1", 1));
    assert_eq!(story.ask("a1", &a, &main), []);
    assert_eq!(story.report("h1"), granted("a1", 2));
    assert_eq!(answers(story.on(hold("h2"))), []);
    let effects = story.on(Event::OwnerGone { owner: script.clone() });
    assert_eq!(refused(&answers(effects), "h2").code, ErrorCode::Stopped, "interrupted");
}

#[test]
fn a_person_can_take_a_lease_away() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let _ = story.ask("a2", &a, &main);
    let _ = story.ask("b1", &b, &main);
    let effects = story.on(Event::Force { key: main.clone(), by: "alice".to_owned() });
    let why = Why::Forced { by: "alice".to_owned() };
    let call = CallId("a1".to_owned());
    assert_eq!(effects[0], Effect::Revoked { call, key: main.clone(), fence: 1, why });
    let answers = answers(effects);
    let error = refused(&answers, "a2");
    assert_eq!(error.code, ErrorCode::LeaseRevoked);
    assert!(error.message.ends_with("was taken away: by alice"), "{error}");
    assert_eq!(answers.last(), granted("b1", 2).last());
}

#[test]
fn an_owner_that_has_gone_quiet_is_asked_after() {
    let (a, _, main) = two();
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    assert_eq!(story.after(600), [], "it runs something");
    let _ = story.report("a1");
    assert_eq!(story.table.next_deadline(), Some(story.now + 30_000));
    assert_eq!(story.after(30), [Effect::Check { owner: a.clone() }]);
    assert_eq!(story.after(29), []);
    assert_eq!(story.after(1), [Effect::Check { owner: a }]);
}

#[test]
fn a_restarted_daemon_rebuilds_what_was_held_and_goes_on_from_its_fences() {
    let (a, b, main) = two();
    let dev = branch(0, 1);
    let on_record = [(main.clone(), 7), (dev.clone(), 3)];
    let mut story = Story { table: Table::new(Limits::default(), on_record), ..Story::new() };
    let restored = |owner: &OwnerId, key: &LeaseKey, fence, running| {
        let (key, party) = (key.clone(), party(owner, Generation(1)));
        Event::Restore(Restored { key, party, fence, in_turn: true, running })
    };
    let running = RestoredCall {
        call: CallId("a1".to_owned()),
        worktree: ask("", &a, &main).worktree,
        what: String::new(),
        kind: Kind::Ordinary,
    };
    let effects = story.on(restored(&a, &main, 7, vec![running]));
    assert_eq!(effects, [Effect::Secure { key: main.clone(), fence: 7, owner: a.clone() }]);
    let effects = story.on(restored(&b, &main, 6, vec![]));
    assert_eq!(effects, [Effect::NotRestored { key: main.clone(), owner: b.clone(), fence: 6 }]);
    assert_eq!(story.ask("a2", &a, &main), [], "the call of before is still at work");
    assert_eq!(story.report("a1"), granted("a2", 7));
    let effects = story.on(restored(&b, &dev, 2, vec![]));
    let late = Effect::NotRestored { key: dev.clone(), owner: b.clone(), fence: 2 };
    assert_eq!(effects, [late], "somebody had it after");
    assert_eq!(story.ask("b1", &b, &dev), granted("b1", 4));
}

//! Who waits, for whom, how long, and what it is told.

use super::super::super::*;
use super::super::{branch, session};
use super::{Story, answers, ask, command, granted, refused, two};
use repod_proto::{ApiError, ErrorCode};

#[test]
fn two_branches_are_written_at_the_same_time() {
    let (a, b, main) = two();
    let mut story = Story::new();
    assert_eq!(story.ask("a1", &a, &main), granted("a1", 1));
    assert_eq!(story.ask("b1", &b, &branch(0, 1)), granted("b1", 1));
}

#[test]
fn parallel_calls_of_one_step_run_one_at_a_time_in_the_order_asked() {
    let (a, _, main) = two();
    let mut story = Story::new();
    assert_eq!(story.ask("1", &a, &main), granted("1", 1));
    assert_eq!(story.ask("2", &a, &main), []);
    assert_eq!(story.ask("3", &a, &main), []);
    assert_eq!(story.report("1"), granted("2", 1));
    assert_eq!(story.report("2"), granted("3", 1));
}

#[test]
fn a_subagent_writes_under_the_lease_of_its_root() {
    let (a, _, main) = two();
    let mut story = Story::new();
    let _ = story.ask("1", &a, &main);
    let _ = story.report("1");
    let mut sub = ask("2", &a, &main);
    sub.party.session_id = "ses_1_sub".to_owned();
    assert_eq!(answers(story.on(Event::Ask(sub))), granted("2", 1));
    let shown = &story.table.snapshot(&|_| String::new())[0];
    assert_eq!((&*shown.owner.root_session_id, &*shown.owner.session_id), ("ses_1", "ses_1_sub"));
}

#[test]
fn who_may_not_wait_is_told_who_writes_since_when_and_what_to_do_instead() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.on(Event::Ask(command("npm test", &a, &main)));
    let _ = story.after(65);
    let ask = Ask { wait: Wait::Refuse, ..ask("b1", &b, &main) };
    let error = refused(&answers(story.on(Event::Ask(ask))), "b1");
    assert_eq!(error.code, ErrorCode::LeaseBusy);
    assert_eq!(
        error.message,
        "`main` of repo0-000000000000 is being written by `repo0-000000000000/ses_1` (ses_1, for \
         1 min 5 s) to the end of its turn; `bash: npm test` has been running for 1 min 5 s; you \
         would be number 1 in line"
    );
    assert_eq!(
        error.hint.unwrap(),
        "try again later, or work in a worktree: `git worktree add -b main-2 \
         ../repo0-000000000000-main-2 main`"
    );
    assert_eq!(error.details["owner_session_id"], "ses_1");
    assert_eq!(error.details["position"], 1);
}

#[test]
fn who_waited_too_long_is_refused_and_the_next_in_line_keeps_waiting() {
    let (a, b, main) = two();
    let c = session(0, 3);
    let mut story = Story::new();
    let _ = story.ask("a1", &a, &main);
    let _ = story.on(Event::Permission { call: CallId("a1".to_owned()), on: Some("x".to_owned()) });
    let _ = story.ask("b1", &b, &main);
    let _ = story.after(60);
    let _ = story.ask("c1", &c, &main);
    let error = refused(&answers(story.after(60)), "b1");
    assert_eq!(error.code, ErrorCode::LeaseTimeout);
    assert!(error.message.contains("within 2 min"), "{error}");
    assert!(error.message.contains("waits for a person's permission"), "{error}");
    assert!(error.message.ends_with("you were number 1 in line"), "{error}");
    let _ = story.report("a1");
    assert_eq!(story.turn_ended(&a), granted("c1", 2));
}

#[test]
fn nobody_is_answered_before_the_fence_is_on_record() {
    let (a, b, main) = two();
    let mut story = Story { secures: false, ..Story::new() };
    let secure = Effect::Secure { key: main.clone(), fence: 1, owner: a.clone() };
    assert_eq!(story.on(Event::Ask(ask("a1", &a, &main))), [secure]);
    assert!(!story.table.is_current(&main, &a, 1));
    assert_eq!(story.ask("b1", &b, &main), []);
    let error = ApiError::new(ErrorCode::StateIo, "disk full");
    let effects = story.on(Event::SecureFailed { key: main.clone(), fence: 1, error });
    assert!(effects.contains(&Effect::Secure { key: main.clone(), fence: 2, owner: b }));
    assert_eq!(refused(&answers(effects), "a1").code, ErrorCode::StateIo);
    assert_eq!(story.on(Event::Secured { key: main.clone(), fence: 1 }), [], "too late");
    let answers = answers(story.on(Event::Secured { key: main, fence: 2 }));
    assert_eq!(answers, granted("b1", 2));
}

#[test]
fn a_script_with_the_lock_file_is_waited_for_and_named() {
    let (a, b, main) = two();
    let mut story = Story { secures: false, ..Story::new() };
    assert_eq!(story.ask("a1", &a, &main), []);
    let by = "process 4711 (make)".to_owned();
    assert_eq!(story.on(Event::Blocked { key: main.clone(), fence: 1, by }), []);
    let no_wait = Ask { wait: Wait::Refuse, ..ask("b1", &b, &main) };
    let error = refused(&answers(story.on(Event::Ask(no_wait))), "b1");
    assert!(error.message.contains("by process 4711 (make), which holds its lock file"), "{error}");
    assert_eq!(story.after(119), []);
    let effects = story.after(1);
    let release = Effect::Release { key: main, fence: 1, owner: a, why: Why::Done };
    assert!(effects.contains(&release), "it is not kept for a turn that has written nothing");
    assert_eq!(refused(&answers(effects), "a1").code, ErrorCode::LeaseTimeout);
    assert!(story.table.is_idle());
}

#[test]
fn a_call_that_may_not_wait_is_refused_at_once_when_a_script_has_the_lock_file() {
    let (a, _, main) = two();
    let mut story = Story { secures: false, ..Story::new() };
    let no_wait = Ask { wait: Wait::Refuse, ..ask("a1", &a, &main) };
    assert_eq!(answers(story.on(Event::Ask(no_wait))), []);
    let effects = story.on(Event::Blocked { key: main, fence: 1, by: "make".to_owned() });
    assert_eq!(refused(&answers(effects), "a1").code, ErrorCode::LeaseBusy);
}

#[test]
fn a_long_command_lets_its_own_session_go_on_and_nobody_else() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.on(Event::Ask(command("server", &a, &main)));
    assert_eq!(story.ask("a2", &a, &main), []);
    assert_eq!(story.ask("a3", &a, &main), []);
    assert_eq!(story.ask("b1", &b, &main), []);
    assert_eq!(story.after(29), []);
    assert_eq!(answers(story.after(1)), granted("a2", 1), "one at a time beside it");
    assert_eq!(story.report("a2"), granted("a3", 1));
}

#[test]
fn a_line_that_is_too_long_takes_nobody_more() {
    let main = branch(0, 0);
    let mut story = Story::new();
    for n in 0..=64 {
        assert!(story.ask(&n.to_string(), &session(0, n), &main).len() <= 1);
    }
    let error = refused(&story.ask("more", &session(0, 99), &main), "more");
    assert_eq!(error.code, ErrorCode::Overloaded);
    for n in 0..256 {
        assert_eq!(
            story.ask(&format!("a{n}"), &session(0, 0), &branch(0, 1)).len(),
            usize::from(n == 0)
        );
    }
    let _ = story.ask("last", &session(0, 0), &branch(0, 1));
    let error = refused(&story.ask("one more", &session(0, 0), &branch(0, 1)), "one more");
    assert_eq!(error.code, ErrorCode::Overloaded);
}

#[test]
fn a_call_asked_again_keeps_its_place_and_hears_again_what_it_was_told() {
    let (a, b, main) = two();
    let mut story = Story::new();
    assert_eq!(story.ask("a1", &a, &main), granted("a1", 1));
    assert_eq!(story.ask("a1", &a, &main), granted("a1", 1));
    assert_eq!(story.ask("b1", &b, &main), []);
    assert_eq!(story.ask("b1", &b, &main), []);
    let error = refused(&story.ask("a1", &b, &main), "a1");
    assert_eq!(error.code, ErrorCode::InvalidRequest, "a name that is taken");
    let _ = story.report("a1");
    assert_eq!(story.turn_ended(&a), granted("b1", 2));
}

#[test]
fn a_second_writer_waits_until_the_turn_of_the_first_has_ended() {
    let (a, b, main) = two();
    let mut story = Story::new();
    assert_eq!(story.ask("a1", &a, &main), granted("a1", 1));
    assert_eq!(story.ask("b1", &b, &main), []);
    assert_eq!(story.report("a1"), []);
    assert_eq!(story.ask("a2", &a, &main), granted("a2", 1));
    assert_eq!(story.report("a2"), []);
    assert_eq!(story.turn_ended(&a), granted("b1", 2));
    assert!(story.table.is_current(&main, &b, 2));
    assert!(!story.table.is_current(&main, &a, 1), "a late write of the first");
}

#[test]
fn nobody_is_passed_in_a_worktree_by_calls_beside_a_long_command() {
    let (a, b, main) = two();
    let mut story = Story::new();
    let _ = story.on(Event::Ask(command("server", &a, &main)));
    let worktree = ask("", &a, &main).worktree;
    let other = Ask { worktree, ..ask("b1", &b, &branch(0, 1)) };
    assert_eq!(answers(story.on(Event::Ask(other))), [], "it holds the other branch's lease");
    assert_eq!(story.ask("a2", &a, &main), []);
    assert_eq!(story.after(31), [], "b1 came before a2, and doesn't run beside a stranger");
    assert_eq!(story.report("server"), granted("b1", 1));
    assert_eq!(story.report("b1"), granted("a2", 1));
}

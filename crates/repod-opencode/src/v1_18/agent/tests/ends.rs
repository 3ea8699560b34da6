//! How turns end, and what doesn't end them.

use super::{Ear, Progress, SESSION, settled};
use repod_proto::agent::TurnOutcome;
use serde_json::{Value, json};

fn error(name: &str) -> Value {
    json!({ "error": { "name": name, "data": { "message": "why" } } })
}

#[test]
fn an_aborted_turn_ends_with_its_last_message() {
    let mut ear = Ear::running();
    ear.answer(json!({}));
    let running = json!({ "status": "running", "input": { "command": "sleep 60" } });
    ear.part(json!({ "type": "tool", "tool": "bash", "callID": "c", "state": running }));
    let ending = |progress: Progress| matches!(progress, Progress::Ending(end) if end.outcome == TurnOutcome::Interrupted);
    assert!(ending(ear.hear("session.error", error("MessageAbortedError"))));
    assert!(ending(ear.status("idle")));
    assert!(ending(ear.idle()));
    let failed = json!({ "status": "error", "input": {}, "error": "Tool execution aborted" });
    assert!(ending(
        ear.part(json!({ "type": "tool", "tool": "bash", "callID": "c", "state": failed }))
    ));
    assert!(settled(TurnOutcome::Interrupted)(&ear.answered()));
    // It says once more that it is idle: that doesn't end the next turn, whose prompt is out already.
    let next = "msg_100000000209next";
    ear.translator.begin_turn(Some(next));
    ear.status("idle");
    assert_eq!(ear.idle(), Progress::Open);
    let info = json!({ "id": next, "role": "user", "sessionID": SESSION });
    ear.hear("message.updated", json!({ "info": info }));
    assert_eq!(ear.idle(), Progress::Open);
    ear.status("busy");
    assert!(settled(TurnOutcome::Completed)(&ear.idle()));
}

#[test]
fn a_turn_that_fails_before_its_answer_ends_at_once() {
    let mut ear = Ear::running();
    let Progress::Settled(end) = ear.hear("session.error", error("ProviderModelNotFoundError"))
    else {
        panic!("it is over");
    };
    assert_eq!(end.outcome, TurnOutcome::Failed);
    assert_eq!(end.error.unwrap().message, "why");
}

#[test]
fn a_failed_answer_makes_a_failed_turn_even_if_nothing_else_says_so() {
    let mut ear = Ear::running();
    let mut failed = error("APIError");
    failed["time"] = json!({ "completed": 1 });
    ear.answer(failed);
    assert!(settled(TurnOutcome::Failed)(&ear.idle()));
}

#[test]
fn a_conversation_that_is_shortened_goes_on() {
    let mut ear = Ear::running();
    ear.answer(json!({}));
    assert_eq!(ear.hear("session.error", error("ContextOverflowError")), Progress::Open);
    ear.answered();
    let info = json!({ "id": "msg_100000000200next", "role": "assistant", "sessionID": SESSION, "time": {} });
    ear.hear("message.updated", json!({ "info": info }));
    let mut done = info;
    done["time"] = json!({ "completed": 1 });
    ear.hear("message.updated", json!({ "info": done }));
    assert!(settled(TurnOutcome::Completed)(&ear.idle()));
    let mut ear = Ear::running();
    ear.hear("session.error", error("ContextOverflowError"));
    assert!(settled(TurnOutcome::Failed)(&ear.idle()));
}

#[test]
fn an_older_turn_s_end_and_words_are_not_this_one_s() {
    let mut ear = Ear::new();
    assert_eq!(ear.idle(), Progress::Open);
    assert_eq!(ear.hear("session.error", error("MessageAbortedError")), Progress::Open);
    let old = json!({ "messageID": "msg_0fffffffffffold", "type": "text", "text": "old", "time": { "end": 1 } });
    ear.part(old);
    assert_eq!(ear.told(), Vec::<Value>::new());
    ear.translator.begin_turn(None);
    ear.part(json!({ "type": "text", "text": "a", "time": { "end": 1 } }));
    ear.answered();
    ear.idle();
    ear.translator.begin_turn(None);
    ear.told();
    ear.part(json!({ "type": "text", "text": "a", "time": { "end": 1 } }));
    assert_eq!(
        ear.told(),
        Vec::<Value>::new(),
        "the state of a turn ends with it, its messages stay old"
    );
}

/// The prompt was out already when the turn before said for the second time that it is idle, and that
/// is heard late.
#[test]
fn an_idle_that_was_made_before_the_work_does_not_end_it() {
    let mut ear = Ear::new();
    ear.prompt();
    let before = ear.made;
    ear.made += 100;
    ear.status("busy");
    let now = std::mem::replace(&mut ear.made, before);
    assert_eq!(ear.status("idle"), Progress::Open);
    assert_eq!(ear.idle(), Progress::Open);
    ear.made = now;
    assert!(settled(TurnOutcome::Completed)(&ear.idle()));
}

#[test]
fn retries_are_told() {
    let mut ear = Ear::running();
    let retry = json!({ "type": "retry", "attempt": 2, "message": "busy there", "next": 1700 });
    ear.hear("session.status", json!({ "status": retry }));
    ear.hear("session.status", json!({ "status": retry }));
    ear.status("busy");
    let said = json!({ "type": "status", "state": "retry", "attempt": 2, "message": "busy there", "next_at": 1700 });
    assert_eq!(ear.told(), [said, json!({ "type": "status", "state": "busy" })]);
}

#[test]
fn a_session_that_is_deleted_has_no_turn_any_more() {
    let mut ear = Ear::running();
    ear.answer(json!({}));
    let gone = ear.hear("session.deleted", json!({ "info": { "id": SESSION } }));
    assert!(settled(TurnOutcome::Interrupted)(&gone));
}

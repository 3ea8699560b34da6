//! What the server has, against what was told.

use super::{ANSWER, Ear, PROMPT, text};
use crate::v1_18::agent::{Reconciled, ServerView, Stand};
use repod_proto::agent::{TurnEnd, TurnOutcome};
use serde_json::{Value, json};

/// A server with this answer to the prompt.
struct Server {
    messages: Vec<Value>,
    busy: bool,
    permissions: Vec<Value>,
    same_backend: bool,
}

impl Server {
    fn new(busy: bool, completed: bool, text: &str) -> Self {
        let time = if completed { json!({ "completed": 1 }) } else { json!({}) };
        let end = if completed { json!({ "end": 1 }) } else { json!({ "start": 1 }) };
        let part = json!({ "id": "prt_1", "messageID": ANSWER, "type": "text", "text": text, "time": end });
        let messages = vec![
            json!({ "info": { "id": "msg_0fffffffffffold", "role": "assistant" }, "parts": [{ "id": "prt_0", "type": "text", "text": "old" }] }),
            json!({ "info": { "id": PROMPT, "role": "user" }, "parts": [] }),
            json!({ "info": { "id": ANSWER, "role": "assistant", "time": time }, "parts": [part] }),
        ];
        Self { messages, busy, permissions: Vec::new(), same_backend: true }
    }

    fn tell(&self, ear: &mut Ear) -> Reconciled {
        let view = ServerView {
            messages: &self.messages,
            busy: self.busy,
            permissions: &self.permissions,
            questions: &[],
            same_backend: self.same_backend,
        };
        ear.translator.reconcile(&view, |session| session == "ses_child")
    }
}

fn said(reconciled: &Reconciled) -> Vec<Value> {
    reconciled.events.iter().map(|event| json!(event)).collect()
}

#[test]
fn a_turn_whose_end_was_lost_is_finished_with_the_truth() {
    let mut ear = Ear::running();
    ear.part(json!({ "type": "text", "text": "", "time": { "start": 1 } }));
    ear.delta("prt_1", "text", "hel");
    let reconciled = Server::new(false, true, "hello").tell(&mut ear);
    assert_eq!(said(&reconciled), [text("lo", "prt_1")]);
    let end = TurnEnd { outcome: TurnOutcome::Completed, error: None };
    assert_eq!(reconciled.stand, Stand::Finished(end));
    // And what comes late says nothing any more.
    ear.told();
    ear.delta("prt_1", "text", "lo");
    assert_eq!(ear.told(), Vec::<Value>::new());
}

#[test]
fn a_running_turn_goes_on_where_the_stream_was() {
    let mut ear = Ear::running();
    ear.part(json!({ "type": "text", "text": "", "time": { "start": 1 } }));
    ear.delta("prt_1", "text", "hel");
    ear.told();
    // The database has a text only when it has ended.
    let reconciled = Server::new(true, false, "").tell(&mut ear);
    assert_eq!((said(&reconciled), reconciled.stand), (vec![], Stand::Running));
    ear.delta("prt_1", "text", "lo");
    assert_eq!(ear.told(), [text("lo", "prt_1")]);
}

#[test]
fn one_that_waits_for_a_person_waits() {
    let mut ear = Ear::running();
    let mut server = Server::new(true, false, "");
    let ask =
        |id: &str, session: &str| json!({ "id": id, "sessionID": session, "permission": "bash" });
    server.permissions = vec![ask("per_1", "ses_child"), ask("per_2", "ses_other")];
    let reconciled = server.tell(&mut ear);
    assert_eq!(reconciled.stand, Stand::Waiting);
    assert_eq!(said(&reconciled)[0]["request_id"], "per_1");
    assert_eq!(reconciled.events.len(), 1);
    // Once it has been answered without anybody hearing of it, it waits no longer.
    server.permissions.clear();
    let reconciled = server.tell(&mut ear);
    assert_eq!(said(&reconciled), [json!({ "type": "answered", "request_id": "per_1" })]);
    assert_eq!(reconciled.stand, Stand::Running);
}

#[test]
fn one_nobody_works_on_has_crashed() {
    let mut ear = Ear::running();
    assert_eq!(Server::new(false, false, "").tell(&mut ear).stand, Stand::Crashed);
    // A whole answer of a backend that is gone may have been a step of a longer turn.
    let mut server = Server::new(false, true, "done");
    server.same_backend = false;
    assert_eq!(server.tell(&mut Ear::running()).stand, Stand::Crashed);
    server.messages.truncate(1);
    assert_eq!(server.tell(&mut Ear::new()).stand, Stand::Absent);
}

#[test]
fn one_that_failed_while_nobody_heard_has_failed() {
    let mut server = Server::new(false, true, "");
    server.messages[2]["info"]["error"] =
        json!({ "name": "APIError", "data": { "message": "no" } });
    let Stand::Finished(end) = server.tell(&mut Ear::running()).stand else {
        panic!("it is over");
    };
    assert_eq!((end.outcome, end.error.unwrap().message.as_str()), (TurnOutcome::Failed, "no"));
}

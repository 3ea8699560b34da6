//! What single events mean. Whole turns are replayed in `tests/streams.rs`.

mod ends;
mod generations;
mod reconciling;

use super::{Incoming, Progress, TranslateOptions, Translator};
use repod_proto::agent::{AgentEvent, TurnEnd, TurnOutcome};
use serde_json::{Value, json};

pub(super) const SESSION: &str = "ses_1";
pub(super) const PROMPT: &str = "msg_100000000000prompt";
pub(super) const ANSWER: &str = "msg_100000000100answer";

/// A session that hears one event after the other.
pub(super) struct Ear {
    pub(super) translator: Translator,
    pub(super) told: Vec<AgentEvent>,
    /// When the last event was made.
    pub(super) made: u64,
}

impl Ear {
    /// Its turn's prompt is sent.
    pub(super) fn new() -> Self {
        let mut translator = Translator::new(SESSION, TranslateOptions::default());
        translator.begin_turn(Some(PROMPT));
        Self { translator, told: Vec::new(), made: 0x1000_0000_0200 }
    }

    /// Its turn runs.
    pub(super) fn running() -> Self {
        let mut ear = Self::new();
        ear.prompt();
        ear.status("busy");
        ear.told.clear();
        ear
    }

    pub(super) fn hear(&mut self, kind: &str, mut properties: Value) -> Progress {
        self.made += 1;
        if properties["sessionID"].is_null() && properties["info"].is_null() {
            properties["sessionID"] = SESSION.into();
        }
        let id = format!("evt_{:012x}x", self.made);
        let payload = json!({ "id": id, "type": kind, "properties": properties });
        // As OpenCode orders it; serde_json sorts.
        let text = format!(
            r#"{{"directory":"/r","payload":{{"id":"{id}","type":"{kind}","properties":{}}}}}"#,
            payload["properties"]
        );
        let event = Incoming::read(text.as_bytes());
        event.map_or(Progress::Open, |event| self.translator.feed(event, &mut self.told))
    }

    pub(super) fn prompt(&mut self) -> Progress {
        let info = json!({ "id": PROMPT, "role": "user", "sessionID": SESSION, "time": {} });
        self.hear("message.updated", json!({ "info": info }))
    }

    pub(super) fn answer(&mut self, rest: Value) -> Progress {
        let mut info = json!({ "id": ANSWER, "role": "assistant", "sessionID": SESSION });
        let Value::Object(rest) = rest else { panic!("an object") };
        info["time"] = json!({});
        info.as_object_mut().unwrap().extend(rest);
        self.hear("message.updated", json!({ "info": info }))
    }

    pub(super) fn answered(&mut self) -> Progress {
        self.answer(json!({ "time": { "completed": 2 } }))
    }

    pub(super) fn status(&mut self, kind: &str) -> Progress {
        self.hear("session.status", json!({ "status": { "type": kind } }))
    }

    pub(super) fn idle(&mut self) -> Progress {
        self.hear("session.idle", json!({}))
    }

    pub(super) fn part(&mut self, part: Value) -> Progress {
        let mut whole = json!({ "id": "prt_1", "sessionID": SESSION, "messageID": ANSWER });
        let Value::Object(part) = part else { panic!("an object") };
        whole.as_object_mut().unwrap().extend(part);
        self.hear("message.part.updated", json!({ "part": whole }))
    }

    pub(super) fn delta(&mut self, part: &str, field: &str, delta: &str) -> Progress {
        let properties =
            json!({ "messageID": ANSWER, "partID": part, "field": field, "delta": delta });
        self.hear("message.part.delta", properties)
    }

    /// All that was told since this was asked last, as JSON.
    pub(super) fn told(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.told).iter().map(|event| json!(event)).collect()
    }
}

pub(super) fn text(text: &str, part: &str) -> Value {
    json!({ "type": "text", "text": text, "part_id": part })
}

pub(super) fn reasoning(text: &str, part: &str) -> Value {
    json!({ "type": "reasoning", "text": text, "part_id": part })
}

pub(super) fn settled(outcome: TurnOutcome) -> impl Fn(&Progress) -> bool {
    move |progress| matches!(progress, Progress::Settled(TurnEnd { outcome: it, .. }) if *it == outcome)
}

#[test]
fn a_turn_completes_when_its_session_is_idle() {
    let mut ear = Ear::new();
    assert_eq!(ear.prompt(), Progress::Open);
    assert_eq!(ear.status("busy"), Progress::Open);
    ear.answer(json!({}));
    ear.part(json!({ "type": "text", "text": "", "time": { "start": 1 } }));
    ear.delta("prt_1", "text", "hello");
    ear.part(json!({ "type": "text", "text": "hello you", "time": { "start": 1, "end": 2 } }));
    let tokens = json!({ "input": 3, "output": 2, "reasoning": 1, "cache": { "read": 4 } });
    ear.part(json!({ "id": "prt_2", "type": "step-finish", "tokens": tokens, "cost": 0.5 }));
    ear.answer(json!({ "time": { "completed": 2 }, "tokens": tokens, "cost": 0.5 }));
    assert!(settled(TurnOutcome::Completed)(&ear.idle()));
    assert_eq!(ear.idle(), Progress::Over);
    let told = ear.told();
    assert_eq!(told[0], json!({ "type": "status", "state": "busy" }));
    assert_eq!(told[1..3], [text("hello", "prt_1"), text(" you", "prt_1")]);
    assert_eq!(told[3]["type"], "usage");
    assert_eq!((&told[3]["input_tokens"], &told[3]["cost"]), (&json!(3), &json!(0.5)));
    assert_eq!(told.len(), 4);
}

#[test]
fn what_a_person_wrote_is_not_told() {
    let mut ear = Ear::new();
    let words = json!({ "messageID": PROMPT, "type": "text", "text": "please" });
    ear.part(words.clone());
    ear.prompt();
    ear.part(words);
    // Another person's, whose message was not heard of.
    ear.part(json!({ "messageID": "msg_100000000150other", "type": "text", "text": "and" }));
    assert_eq!(ear.told(), Vec::<Value>::new());
    ear.status("busy");
    ear.answer(json!({}));
    ear.answered();
    assert!(settled(TurnOutcome::Completed)(&ear.status("idle")));
}

#[test]
fn a_tool_call_is_told_in_snapshots() {
    let mut ear = Ear::running();
    let tool = |status: &str, more: Value| {
        let mut state = json!({ "status": status, "input": { "command": "ls" } });
        state.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "type": "tool", "tool": "bash", "callID": "call_1", "state": state })
    };
    let empty = json!({ "status": "pending", "input": {}, "raw": "" });
    ear.part(json!({ "type": "tool", "tool": "bash", "callID": "call_1", "state": empty }));
    ear.part(tool("running", json!({})));
    ear.part(tool("running", json!({ "metadata": { "output": "a" } })));
    ear.part(tool("running", json!({ "metadata": { "output": "a" } })));
    let done =
        json!({ "output": "ab", "title": "list", "metadata": { "exit": 0, "output": "ab" } });
    ear.part(tool("completed", done));
    ear.part(tool("running", json!({})));
    let told = ear.told();
    let calls: Vec<_> = told.iter().filter(|event| !event["tool_call"].is_null()).collect();
    let said: Vec<_> = calls
        .iter()
        .map(|event| {
            (event["type"].as_str().unwrap(), event["tool_call"]["status"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("tool_call", "pending"),
            ("tool_update", "in_progress"),
            ("tool_update", "in_progress"),
            ("tool_update", "completed"),
        ]
    );
    assert_eq!(calls[0]["tool_call"]["raw_input"], Value::Null);
    assert_eq!(calls[2]["tool_call"]["raw_output"], json!({ "output": "a" }));
    let last = &calls[3]["tool_call"];
    assert_eq!(last["raw_output"], json!({ "output": "ab", "metadata": { "exit": 0 } }));
    assert_eq!((&last["kind"], &last["title"]), (&json!("execute"), &json!("list")));
}

#[test]
fn what_a_subagent_asks_is_asked_in_the_turn() {
    let mut ear = Ear::running();
    let ask = json!({
        "id": "per_1", "sessionID": "ses_child", "permission": "edit", "patterns": ["a.txt"],
        "always": ["*"], "metadata": { "diff": "…" }, "tool": { "messageID": "m", "callID": "call_7" },
    });
    ear.hear("permission.asked", ask.clone());
    ear.hear("permission.asked", ask);
    assert!(ear.translator.is_waiting());
    let told = ear.told();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["session_id"], &told[0]["tool_call_id"]),
        (&json!("ses_child"), &json!("call_7"))
    );
    let ids: Vec<_> =
        told[0]["options"].as_array().unwrap().iter().map(|option| option["id"].clone()).collect();
    assert_eq!(ids, ["once", "always", "reject"]);
    ear.hear("permission.replied", json!({ "requestID": "per_1", "reply": "once" }));
    assert_eq!(ear.told(), [json!({ "type": "answered", "request_id": "per_1" })]);
    assert!(!ear.translator.is_waiting());
    let question = json!({ "question": "Which?", "header": "W", "options": [{ "label": "A" }] });
    ear.hear("question.asked", json!({ "id": "que_1", "questions": [question] }));
    let told = ear.told();
    assert_eq!(told[0]["questions"][0]["options"][0]["label"], "A");
    assert_eq!(told[0]["questions"][0]["custom"], true);
}

#[test]
fn what_is_unknown_is_passed_over() {
    let mut ear = Ear::running();
    assert_eq!(ear.hear("brand.new", json!({ "x": [1] })), Progress::Open);
    assert_eq!(
        ear.hear("session.next.brand.new", json!({ "assistantMessageID": 5 })),
        Progress::Open
    );
    assert_eq!(ear.part(json!({ "type": "hologram", "light": 1 })), Progress::Open);
    ear.hear("session.status", json!({ "status": "odd" }));
    ear.hear("session.status", json!({ "sessionID": "ses_2", "status": { "type": "idle" } }));
    assert_eq!(ear.told(), Vec::<Value>::new());
    for none in
        [&b"[]"[..], b"{}", b"", b"{\"payload\":{}}", b"{\"payload\":5}", b"\xff", b"{\"type\":1}"]
    {
        assert!(Incoming::read(none).is_none());
    }
    let sync =
        br#"{"directory":"/r","payload":{"type":"sync","syncEvent":{"id":"evt_2","type":"x.1"}}}"#;
    assert!(Incoming::read(sync).is_none());
}

#[test]
fn an_event_is_read_whatever_the_order_of_its_fields() {
    for text in [
        r#"{"payload":{"properties":{"sessionID":"a"},"id":"evt_000000000001x","type":"session.idle"}}"#,
        r#"{"type":"session.idle","properties":{"sessionID":"a"}}"#,
        r#"{"payload":{"type":"session.idle","properties":{"more":{"payload":1},"sessionID":"\u0061"}},"project":"p"}"#,
    ] {
        assert_eq!(Incoming::read(text.as_bytes()).unwrap().session(), "a", "{text}");
    }
}

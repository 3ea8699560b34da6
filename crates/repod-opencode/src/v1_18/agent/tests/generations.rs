//! The generations of OpenCode's events, and parts that are hard to class.

use super::{ANSWER, Ear, reasoning, text};
use serde_json::{Value, json};

fn open(kind: &str) -> Value {
    json!({ "type": kind, "text": "", "time": { "start": 1 } })
}

#[test]
fn thoughts_come_as_text_too_and_are_classed_by_their_part() {
    let mut ear = Ear::running();
    ear.part(open("reasoning"));
    ear.delta("prt_1", "text", "hm");
    ear.delta("prt_1", "mood", "!");
    assert_eq!(ear.told(), [reasoning("hm", "prt_1"), reasoning("!", "prt_1")]);
}

#[test]
fn deltas_wait_until_it_is_known_what_they_are() {
    let mut ear = Ear::running();
    ear.delta("prt_1", "text", "h");
    ear.delta("prt_1", "text", "m");
    assert_eq!(ear.told(), Vec::<Value>::new());
    ear.part(open("reasoning"));
    ear.delta("prt_1", "text", "!");
    ear.part(json!({ "type": "reasoning", "text": "hm!?", "time": { "end": 2 } }));
    let told = [reasoning("hm", "prt_1"), reasoning("!", "prt_1"), reasoning("?", "prt_1")];
    assert_eq!(ear.told(), told);
    ear.delta("prt_2", "text", "x");
    ear.part(json!({ "id": "prt_2", "type": "text", "text": "xy", "time": { "end": 2 } }));
    assert_eq!(ear.told(), [text("xy", "prt_2")]);
}

#[test]
fn too_much_that_is_not_known_is_taken_for_text() {
    let mut ear = Ear::running();
    let long = "x".repeat(40_000);
    ear.delta("prt_1", "text", &long);
    ear.delta("prt_1", "text", &long);
    ear.delta("prt_1", "text", "y");
    assert_eq!(ear.told(), [text(&format!("{long}{long}"), "prt_1"), text("y", "prt_1")]);
}

#[test]
fn a_part_without_an_id_goes_by_its_message() {
    let mut ear = Ear::running();
    let delta = |text: &str| json!({ "messageID": ANSWER, "field": "text", "delta": text });
    ear.hear("message.part.delta", delta("a"));
    ear.hear("message.part.delta", delta("b"));
    let part =
        json!({ "sessionID": super::SESSION, "messageID": ANSWER, "type": "text", "text": "abc" });
    ear.hear("message.part.updated", json!({ "part": part }));
    let name = format!("{ANSWER}/text");
    assert_eq!(ear.told(), [text("a", &name), text("b", &name), text("c", &name)]);
}

#[test]
fn older_servers_send_all_the_text_so_far() {
    let mut ear = Ear::running();
    for so_far in ["", "he", "hello", "hello"] {
        ear.part(json!({ "type": "text", "text": so_far, "time": { "start": 1 } }));
    }
    ear.part(json!({ "type": "text", "text": "hello!", "time": { "start": 1, "end": 2 } }));
    assert_eq!(ear.told(), [text("he", "prt_1"), text("llo", "prt_1"), text("!", "prt_1")]);
}

#[test]
fn the_next_generation_is_understood() {
    let mut ear = Ear::running();
    let mut hear = |kind: &str, more: Value| {
        let mut properties = json!({ "assistantMessageID": ANSWER, "timestamp": 1 });
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ear.hear(&format!("session.next.{kind}"), properties);
    };
    hear("step.started", json!({ "agent": "build" }));
    hear("reasoning.delta", json!({ "reasoningID": "r", "delta": "hm" }));
    hear("reasoning.ended", json!({ "reasoningID": "r", "text": "hm." }));
    hear("text.started", json!({ "textID": "t" }));
    hear("text.delta", json!({ "textID": "t", "delta": "a<dcp-message-id>" }));
    hear("text.delta", json!({ "textID": "t", "delta": "1</dcp-message-id>b" }));
    hear("text.ended", json!({ "textID": "t", "text": "a<dcp-message-id>1</dcp-message-id>b" }));
    hear("tool.input.started", json!({ "callID": "c", "name": "read" }));
    hear("tool.input.delta", json!({ "callID": "c", "delta": "{" }));
    hear(
        "tool.called",
        json!({ "callID": "c", "tool": "read", "input": { "path": "/r/a", "offset": 7 } }),
    );
    let content = json!([{ "type": "text", "text": "one" }, { "type": "file", "uri": "x" }]);
    hear("tool.success", json!({ "callID": "c", "structured": {}, "content": content }));
    hear("tool.called", json!({ "callID": "d", "tool": "bash", "input": { "command": "false" } }));
    hear("tool.failed", json!({ "callID": "d", "error": { "type": "unknown", "message": "no" } }));
    hear("step.ended", json!({ "finish": "stop", "cost": 1.0, "tokens": { "input": 5 } }));
    let told = ear.told();
    let said: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let calls = ["tool_call", "tool_update", "tool_update", "tool_call", "tool_update", "usage"];
    assert_eq!(said[..4], ["reasoning", "reasoning", "text", "text"]);
    assert_eq!(said[4..], calls);
    let read = &told[6]["tool_call"];
    assert_eq!(read["locations"], json!([{ "path": "/r/a", "line": 7 }]));
    assert_eq!(
        (&read["status"], &read["raw_output"]),
        (&json!("completed"), &json!({ "output": "one" }))
    );
    assert_eq!(told[8]["tool_call"]["raw_output"], json!({ "error": "no" }));
    assert_eq!(told[9]["input_tokens"], 5);
}

#[test]
fn one_message_is_read_in_one_generation() {
    let mut ear = Ear::running();
    ear.part(open("text"));
    ear.delta("prt_1", "text", "once");
    let next = json!({ "assistantMessageID": ANSWER, "textID": "t", "delta": "once" });
    ear.hear("session.next.text.delta", next);
    assert_eq!(ear.told(), [text("once", "prt_1")]);
}

#[test]
fn a_summary_of_the_conversation_is_not_said() {
    let mut ear = Ear::running();
    ear.answer(json!({ "summary": true }));
    ear.part(open("text"));
    ear.delta("prt_1", "text", "They talked.");
    assert_eq!(ear.told(), [json!({ "type": "status", "state": "compacting" })]);
}

#[test]
fn a_part_that_is_taken_back_is_taken_back() {
    let mut ear = Ear::running();
    ear.part(open("text"));
    ear.delta("prt_1", "text", "oops");
    ear.hear("message.part.removed", json!({ "messageID": ANSWER, "partID": "prt_1" }));
    let gone = json!({ "type": "text", "text": "", "part_id": "prt_1", "replace": true });
    assert_eq!(ear.told(), [text("oops", "prt_1"), gone]);
}

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn teller() -> Teller {
    Teller::new(Path::new("/r"))
}

fn chunk(text: &str, replace: bool) -> AgentEvent {
    AgentEvent::Text(Chunk { text: text.to_owned(), part_id: Some("p".to_owned()), replace })
}

fn said(updates: &[SessionUpdate]) -> String {
    let text =
        |update: &SessionUpdate| serde_json::to_value(update).unwrap()["content"]["text"].clone();
    updates.iter().map(|update| text(update).as_str().unwrap().to_owned()).collect()
}

fn call(tool: &str) -> agent::ToolCall {
    agent::ToolCall { id: "c".to_owned(), tool: tool.to_owned(), ..Default::default() }
}

#[test]
fn a_text_that_is_replaced_by_a_longer_one_goes_on() {
    let mut teller = teller();
    assert_eq!(said(&teller.updates(&chunk("one", false))), "one");
    assert_eq!(said(&teller.updates(&chunk("one two", true))), " two");
    assert_eq!(said(&teller.updates(&chunk(" three", false))), " three");
    assert!(teller.updates(&chunk("one two three", true)).is_empty());
    assert_eq!(said(&teller.updates(&chunk("other", true))), "\n\nother");
}

#[test]
fn a_call_is_told_once_and_updated_then() {
    let mut teller = teller();
    let mut call = call("edit");
    call.locations = vec![agent::Location { path: "a.rs".to_owned(), line: Some(3) }];
    let diff = agent::Diff {
        path: "a.rs".to_owned(),
        old_text: Some("a".to_owned()),
        new_text: Some("b".to_owned()),
        patch: None,
    };
    call.diffs = vec![diff];
    let event = AgentEvent::ToolCall { tool_call: Box::new(call.clone()) };
    let first = serde_json::to_value(&teller.updates(&event)[0]).unwrap();
    assert_eq!(first["sessionUpdate"], "tool_call");
    assert_eq!(first["locations"], json!([{"path": "/r/a.rs", "line": 3}]));
    let content = json!([{"type": "diff", "path": "/r/a.rs", "oldText": "a", "newText": "b"}]);
    assert_eq!(first["content"], content);
    call.status = ToolStatus::Completed;
    let event = AgentEvent::ToolUpdate { tool_call: Box::new(call) };
    let then = serde_json::to_value(&teller.updates(&event)[0]).unwrap();
    assert_eq!(
        (&then["sessionUpdate"], &then["status"]),
        (&json!("tool_call_update"), &json!("completed"))
    );
}

#[test]
fn what_is_written_down_to_do_is_the_plan() {
    let mut call = call("todowrite");
    call.raw_input = json!({"todos": [
        {"content": "one", "status": "completed", "priority": "high"},
        {"content": "two", "status": "in_progress", "priority": "low"},
        {"content": "three"},
    ]});
    let updates = teller().updates(&AgentEvent::ToolCall { tool_call: Box::new(call) });
    let plan = serde_json::to_value(&updates[1]).unwrap();
    assert_eq!(plan["sessionUpdate"], "plan");
    let entries = json!([
        {"content": "one", "status": "completed", "priority": "high"},
        {"content": "two", "status": "in_progress", "priority": "low"},
        {"content": "three", "status": "pending", "priority": "medium"},
    ]);
    assert_eq!(plan["entries"], entries);
}

#[test]
fn a_patch_with_fences_in_it_is_fenced_longer() {
    let shown = serde_json::to_value(fenced("diff", "+```\n")).unwrap();
    assert_eq!(shown["content"]["text"], "````diff\n+```\n````");
}

#[test]
fn a_long_output_is_cut_between_characters() {
    let mut call = call("bash");
    call.raw_output = json!({"output": "ä".repeat(OUTPUT_MAX)});
    let shown = serde_json::to_value(&content(&call, Path::new("/r"))[0]).unwrap();
    let text = shown["content"]["text"].as_str().unwrap();
    assert!(text.len() < OUTPUT_MAX + 10 && text.ends_with('…'));
}

proptest! {
    #[test]
    fn pieces_add_up_to_the_text(pieces in prop::collection::vec(".{0,9}", 0..9)) {
        let mut teller = teller();
        let told: String = pieces.iter().map(|piece| said(&teller.updates(&chunk(piece, false)))).collect();
        prop_assert_eq!(told, pieces.concat());
    }
}

use super::*;
use serde_json::json;

fn chunk(text: &str) -> Chunk {
    Chunk { text: text.into(), ..Chunk::default() }
}

#[test]
fn events_have_the_documented_shape() {
    let call = ToolCall {
        id: "c1".into(),
        title: "a.txt".into(),
        kind: ToolKind::Edit,
        status: ToolStatus::InProgress,
        tool: "write".into(),
        raw_input: json!({ "filePath": "/r/a.txt" }),
        locations: vec![Location { path: "/r/a.txt".into(), line: None }],
        ..ToolCall::default()
    };
    let end = TurnEnd { outcome: TurnOutcome::Completed, error: None };
    let events = [
        AgentEvent::Text(chunk("hi")),
        AgentEvent::ToolCall { tool_call: Box::new(call) },
        AgentEvent::Turn(end),
    ];
    let said: Vec<Value> = events.iter().map(|event| json!(event)).collect();
    assert_eq!(said[0], json!({ "type": "text", "text": "hi" }));
    assert_eq!(
        said[1],
        json!({ "type": "tool_call", "tool_call": {
            "id": "c1", "title": "a.txt", "kind": "edit", "status": "in_progress", "tool": "write",
            "raw_input": { "filePath": "/r/a.txt" }, "raw_output": null,
            "locations": [{ "path": "/r/a.txt" }],
        }})
    );
    assert_eq!(said[2], json!({ "type": "turn", "outcome": "completed" }));
    for (event, said) in events.iter().zip(said) {
        assert_eq!(serde_json::from_value::<AgentEvent>(said).unwrap(), *event);
    }
}

#[test]
fn a_reader_skips_what_a_newer_daemon_says() {
    let read = |text: &str| serde_json::from_str::<AgentEvent>(text).unwrap();
    assert_eq!(read(r#"{"type":"plan","entries":[]}"#), AgentEvent::Unknown);
    assert_eq!(read(r#"{"type":"text","text":"x","mood":"good"}"#), AgentEvent::Text(chunk("x")));
    let AgentEvent::Status(status) = read(r#"{"type":"status","state":"dreaming"}"#) else {
        panic!("a status is a status");
    };
    assert_eq!(status.state, TurnState::Unknown);
    let AgentEvent::ToolCall { tool_call } = read(
        r#"{"type":"tool_call","tool_call":{"id":"c","title":"t","kind":"dance","status":"pending"}}"#,
    ) else {
        panic!("a call is a call");
    };
    assert_eq!(tool_call.kind, ToolKind::Other);
}

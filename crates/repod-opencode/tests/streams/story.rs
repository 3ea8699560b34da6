//! What was told of a session, to be read: one line for each event.

use crate::recording::Played;
use repod_proto::agent::{AgentEvent, ToolCall};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) fn of(played: &Played) -> String {
    let mut story = String::new();
    for (events, end) in &played.turns {
        for event in events {
            line(&mut story, event);
        }
        line(&mut story, &AgentEvent::Turn(end.clone()));
        story.push('\n');
    }
    story
}

fn line(story: &mut String, event: &AgentEvent) {
    match event {
        AgentEvent::Text(chunk) => writeln!(story, "text {}", json!(chunk.text)),
        AgentEvent::Reasoning(chunk) => writeln!(story, "reasoning {}", json!(chunk.text)),
        AgentEvent::ToolCall { tool_call } => writeln!(story, "tool_call {}", call(tool_call)),
        AgentEvent::ToolUpdate { tool_call } => writeln!(story, "tool_update {}", call(tool_call)),
        other => writeln!(story, "{}", sorted(json!(other))),
    }
    .unwrap();
}

fn call(call: &ToolCall) -> String {
    sorted(json!([
        call.kind,
        call.status,
        call.tool,
        call.title,
        call.locations,
        call.raw_output,
        call.diffs,
    ]))
    .to_string()
}

/// Keys in the order of the alphabet, whether or not somebody in the workspace has serde_json keep that of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(members) => {
            let members: BTreeMap<_, _> =
                members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.into_iter().collect()
        }
        other => other,
    }
}

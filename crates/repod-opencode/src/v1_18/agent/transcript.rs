//! What a session's messages say, turn by turn, in the form in which it can be compared with what
//! its events said.

use super::text::whole;
use super::tool;
use super::translator::TranslateOptions;
use super::wire::{Message, Part};
use repod_proto::agent::Transcript;
use serde_json::Value;

/// The turns of a session, from `GET /session/:id/message`: each turn's first message, a person's, by
/// its id, and all that the agent answered.
pub fn transcripts(messages: &[Value], options: &TranslateOptions) -> Vec<(String, Transcript)> {
    let mut turns: Vec<(String, Transcript)> = Vec::new();
    for message in messages {
        let text = message["info"].to_string();
        let Ok(info) = serde_json::from_str::<Message<'_>>(&text) else { continue };
        if *info.role == *"user" {
            turns.push((info.id.into(), Transcript::default()));
            continue;
        }
        let is_summary = info.summary.is_some_and(|summary| summary.get() == "true");
        let Some((_, turn)) = turns.last_mut().filter(|_| !is_summary) else { continue };
        for part in message["parts"].as_array().into_iter().flatten() {
            add(turn, &part.to_string(), options);
        }
    }
    turns
}

fn add(turn: &mut Transcript, part: &str, options: &TranslateOptions) {
    let Ok(part) = serde_json::from_str::<Part<'_>>(part) else { return };
    let text = part.text.as_deref().unwrap_or_default();
    match &*part.kind {
        "text" => turn.text.push_str(&whole(&options.hidden_tags, text)),
        "reasoning" => turn.reasoning.push_str(&whole(&options.hidden_tags, text)),
        "tool" => {
            let id = part.call.as_deref().or(part.id.as_deref()).unwrap_or_default();
            let tool = part.tool.as_deref().unwrap_or_default();
            turn.call(tool::call(id, tool, part.state.as_ref()));
        }
        _ => {}
    }
}

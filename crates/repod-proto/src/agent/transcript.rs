//! A turn in the form in which what was streamed and what was stored can be compared.

use super::{AgentEvent, Chunk, ToolCall};

/// All that the agent said in a turn, or in several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    /// The answer.
    pub text: String,
    /// What the model thought aloud.
    pub reasoning: String,
    /// The tool calls as they were in the end, by their ids.
    pub tool_calls: Vec<ToolCall>,
}

impl Transcript {
    /// What these events add up to. Parts are ordered by their ids, which rise with time: one that
    /// was told late, after a gap, has its place all the same.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a AgentEvent>) -> Self {
        let mut turn = Self::default();
        let (mut text, mut reasoning) = (Parts::default(), Parts::default());
        for event in events {
            match event {
                AgentEvent::Text(chunk) => text.add(chunk),
                AgentEvent::Reasoning(chunk) => reasoning.add(chunk),
                AgentEvent::ToolCall { tool_call } | AgentEvent::ToolUpdate { tool_call } => {
                    turn.call((**tool_call).clone());
                }
                _ => {}
            }
        }
        (turn.text, turn.reasoning) = (text.joined(), reasoning.joined());
        turn
    }

    /// Notes how a tool call is now.
    pub fn call(&mut self, call: ToolCall) {
        match self.tool_calls.binary_search_by(|known| known.id.cmp(&call.id)) {
            Ok(at) => self.tool_calls[at] = call,
            Err(at) => self.tool_calls.insert(at, call),
        }
    }
}

/// Texts by their parts, in the order in which these were first heard of.
#[derive(Default)]
struct Parts(Vec<(Option<String>, String)>);

impl Parts {
    fn add(&mut self, chunk: &Chunk) {
        // The part that grows is nearly always the last.
        let known = self.0.iter_mut().rev().find(|(part, _)| *part == chunk.part_id);
        match known {
            Some((_, text)) if chunk.replace => chunk.text.clone_into(text),
            Some((_, text)) => text.push_str(&chunk.text),
            None => self.0.push((chunk.part_id.clone(), chunk.text.clone())),
        }
    }

    fn joined(mut self) -> String {
        self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.0.into_iter().map(|(_, text)| text).collect()
    }
}

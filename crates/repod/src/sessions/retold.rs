//! After a daemon's death its successor reads a running turn from the start again, because what the one
//! before had read died with it. What was told already is left out here, part by part.

use repod_proto::TurnLine;
use repod_proto::agent::{AgentEvent, Chunk, ToolCall};
use std::collections::{HashMap, HashSet};

/// What was told, until it has been compared.
#[derive(Debug, Default)]
pub(crate) struct Retold {
    texts: HashMap<String, String>,
    calls: HashMap<String, ToolCall>,
    asked: HashSet<String>,
    /// It was said that it goes on with its prompt sent once more.
    is_resumed: bool,
}

impl Retold {
    /// Takes in one line of what was told.
    pub(crate) fn note(&mut self, line: &[u8]) {
        let Ok(TurnLine { event, .. }) = serde_json::from_slice(line) else { return };
        match event {
            AgentEvent::Text(chunk) | AgentEvent::Reasoning(chunk) => self.grow(chunk),
            AgentEvent::ToolCall { tool_call } | AgentEvent::ToolUpdate { tool_call } => {
                self.calls.insert(tool_call.id.clone(), *tool_call);
            }
            AgentEvent::Permission(ask) => drop(self.asked.insert(ask.request_id)),
            AgentEvent::Question(ask) => drop(self.asked.insert(ask.request_id)),
            AgentEvent::Status(status) => {
                self.is_resumed |= status.state == repod_proto::agent::TurnState::Resumed;
            }
            _ => {}
        }
    }

    /// Whether the turn has been resumed before; it isn't a second time.
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    fn grow(&mut self, chunk: Chunk) {
        let text = self.texts.entry(chunk.part_id.unwrap_or_default()).or_default();
        if chunk.replace {
            *text = chunk.text;
        } else {
            text.push_str(&chunk.text);
        }
    }

    /// What is new in an event, if anything.
    pub(crate) fn filter(&mut self, event: AgentEvent) -> Option<AgentEvent> {
        match event {
            AgentEvent::Text(chunk) => self.rest(chunk).map(AgentEvent::Text),
            AgentEvent::Reasoning(chunk) => self.rest(chunk).map(AgentEvent::Reasoning),
            AgentEvent::ToolCall { tool_call } | AgentEvent::ToolUpdate { tool_call } => {
                match self.calls.insert(tool_call.id.clone(), (*tool_call).clone()) {
                    None => Some(AgentEvent::ToolCall { tool_call }),
                    Some(told) if told == *tool_call => None,
                    Some(_) => Some(AgentEvent::ToolUpdate { tool_call }),
                }
            }
            AgentEvent::Permission(ask) if self.asked.contains(&ask.request_id) => None,
            AgentEvent::Question(ask) if self.asked.contains(&ask.request_id) => None,
            other => Some(other),
        }
    }

    /// The part of a text that was not told. It is compared once; from then on it goes its way.
    fn rest(&mut self, chunk: Chunk) -> Option<Chunk> {
        let told = self.texts.remove(chunk.part_id.as_deref().unwrap_or_default());
        let Some(told) = told else { return Some(chunk) };
        match chunk.text.strip_prefix(&*told) {
            Some("") => None,
            Some(rest) => Some(Chunk { text: rest.to_owned(), replace: false, ..chunk }),
            None => Some(Chunk { replace: true, ..chunk }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(part: &str, text: &str, replace: bool) -> AgentEvent {
        AgentEvent::Text(Chunk { text: text.into(), part_id: Some(part.into()), replace })
    }

    fn retold(events: &[AgentEvent]) -> Retold {
        let mut retold = Retold::default();
        for event in events {
            let line = TurnLine { id: 1, event: event.clone() };
            retold.note(&serde_json::to_vec(&line).unwrap());
        }
        retold
    }

    #[test]
    fn only_what_is_new_of_a_text_is_told() {
        let mut retold = retold(&[chunk("1", "Hel", false), chunk("1", "lo", false)]);
        assert_eq!(
            retold.filter(chunk("1", "Hello world", false)),
            Some(chunk("1", " world", false))
        );
        assert_eq!(retold.filter(chunk("1", "!", false)), Some(chunk("1", "!", false)));
        let mut whole = super::tests::retold(&[chunk("1", "all", false)]);
        assert_eq!(whole.filter(chunk("1", "all", false)), None);
        let mut middle = super::tests::retold(&[chunk("1", "Hel", false)]);
        assert_eq!(middle.filter(chunk("1", "world", false)), Some(chunk("1", "world", true)));
    }

    #[test]
    fn a_call_is_told_again_when_it_has_changed() {
        let call = |title: &str| {
            let tool_call = ToolCall { id: "c".into(), title: title.into(), ..ToolCall::default() };
            Box::new(tool_call)
        };
        let mut retold = retold(&[AgentEvent::ToolCall { tool_call: call("a") }]);
        assert_eq!(retold.filter(AgentEvent::ToolCall { tool_call: call("a") }), None);
        let changed = AgentEvent::ToolUpdate { tool_call: call("b") };
        assert_eq!(retold.filter(AgentEvent::ToolCall { tool_call: call("b") }), Some(changed));
    }
}

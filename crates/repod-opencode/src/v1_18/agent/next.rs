//! The events of OpenCode's next generation, `session.next.*`: each says only what is new.

use super::body::Next;
use super::tool;
use super::translator::{Generation, Seen, Sort, Translator, error_of};
use repod_proto::agent::{AgentEvent, ToolCall, ToolStatus};
use serde_json::{Value, json};

impl Translator {
    pub(super) fn next(&mut self, next: Next<'_>, made: Option<u64>, out: &mut Vec<AgentEvent>) {
        let Some(message) = next.message.as_deref() else { return };
        if !self.admits(message, Generation::Next) {
            return;
        }
        let of = |id: Option<&str>| format!("{message}/{}", id.unwrap_or("text"));
        let text = of(next.text_id.as_deref());
        let reasoning = of(next.reasoning_id.as_deref());
        let delta = next.delta.as_deref().unwrap_or_default();
        match &*next.what {
            "text.delta" if self.is_late(&text, made) => {}
            "reasoning.delta" if self.is_late(&reasoning, made) => {}
            "text.delta" => self.grow(&text, Sort::Text, delta, out),
            "text.ended" => {
                if let Some(whole) = next.text.as_deref() {
                    self.snapshot(&text, Sort::Text, whole, true, out);
                }
            }
            "reasoning.delta" => self.grow(&reasoning, Sort::Reasoning, delta, out),
            "reasoning.ended" => {
                if let Some(whole) = next.text.as_deref() {
                    self.snapshot(&reasoning, Sort::Reasoning, whole, true, out);
                }
            }
            "step.ended" => {
                let usage = self.costs.step(message, message, next.tokens, next.cost);
                out.extend(usage.map(AgentEvent::Usage));
                self.messages.ended(message, None);
            }
            "step.failed" => {
                let error = next.error.map(error_of);
                self.messages.ended(message, error);
            }
            what => {
                if let (Some(what), Some(call)) = (what.strip_prefix("tool."), &next.call) {
                    let name = format!("{message}/{}", &**call);
                    self.next_tool(&name, what, &next, out);
                }
            }
        }
    }

    fn next_tool(&mut self, name: &str, what: &str, next: &Next<'_>, out: &mut Vec<AgentEvent>) {
        let id = next.call.as_deref().unwrap_or_default();
        let known = match self.parts.get_mut(name).map(|part| &mut part.seen) {
            Some(Seen::Tool(told)) => told.call.take(),
            _ => None,
        };
        let mut call = known.unwrap_or_else(|| {
            let tool = next.name.as_deref().or(next.tool.as_deref()).unwrap_or_default();
            Box::new(tool::plain(id, tool))
        });
        match what {
            "called" => {
                if let Some(tool) = next.tool.as_deref() {
                    let input = std::mem::take(&mut call.raw_input);
                    *call =
                        ToolCall { raw_input: input, status: call.status, ..tool::plain(id, tool) };
                }
                call.raw_input = next.input.map_or(Value::Null, tool::value);
                let input = call.raw_input.clone();
                tool::describe(&mut call, &input);
                call.status = ToolStatus::InProgress;
            }
            "progress" => {
                call.status = ToolStatus::InProgress;
                call.raw_output = output(next);
            }
            "success" => {
                call.status = ToolStatus::Completed;
                call.raw_output = output(next);
            }
            "failed" => {
                call.status = ToolStatus::Failed;
                let error = next.error.as_ref().and_then(|error| error.message.as_deref());
                call.raw_output = json!({ "error": error.unwrap_or_default() });
            }
            "input.started" => {}
            _ => {
                self.keep(name, call);
                return;
            }
        }
        self.told(name, (*call).clone(), out);
        self.keep(name, call);
    }

    fn keep(&mut self, name: &str, call: Box<ToolCall>) {
        let is_final = call.status.is_final();
        if let Some(Seen::Tool(told)) = self.parts.get_mut(name).map(|part| &mut part.seen) {
            told.call = (!is_final).then_some(call);
        }
    }
}

fn output(next: &Next<'_>) -> Value {
    let texts: Vec<&str> = next.content.iter().filter_map(|c| c.text.as_deref()).collect();
    let mut said = json!({ "output": texts.join("\n") });
    if let Some(structured) = next.structured.map(tool::value).filter(|it| *it != json!({})) {
        said["metadata"] = structured;
    }
    said
}

//! The parts of a turn's messages: texts that grow, tool calls that get on, steps that cost.

use super::{AgentEvent, Generation, Translator, chunk};
use crate::v1_18::agent::ids;
use crate::v1_18::agent::text::{Growing, Grown};
use crate::v1_18::agent::tool;
use crate::v1_18::agent::wire::{Delta, Part, Str};
use repod_proto::agent::{ToolCall, ToolStatus};
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Deltas held back until it is known what they are of; more is taken for text.
const HELD_MAX: usize = 64 * 1024;

/// A part as far as it was heard.
#[derive(Debug, Default)]
pub(in crate::v1_18::agent) struct PartState {
    pub(in crate::v1_18::agent) seen: Seen,
    /// When the last delta was made.
    last: Option<u64>,
}

/// What is known of a part.
#[derive(Debug, Default)]
pub(in crate::v1_18::agent) enum Seen {
    /// Only deltas have come. They are of a text or of what the model thinks: both say `text`.
    #[default]
    New,
    Held(String),
    Text(Growing),
    Reasoning(Growing),
    Tool(Told),
    /// Steps, patches, files: nothing to stream.
    Other,
}

/// What was last told of a tool call.
#[derive(Debug, Default)]
pub(in crate::v1_18::agent) struct Told {
    status: Option<ToolStatus>,
    print: u64,
    /// What is known of it, where events tell only what is new.
    pub(in crate::v1_18::agent) call: Option<Box<ToolCall>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::v1_18::agent) enum Sort {
    Text,
    Reasoning,
}

impl Seen {
    /// The growing text in it, made where there was none.
    fn growing(&mut self, sort: Sort) -> Option<&mut Growing> {
        if matches!(self, Self::New | Self::Held(_)) {
            *self = match sort {
                Sort::Text => Self::Text(Growing::default()),
                Sort::Reasoning => Self::Reasoning(Growing::default()),
            };
        }
        match self {
            Self::Text(growing) | Self::Reasoning(growing) => Some(growing),
            _ => None,
        }
    }

    /// More of it is to come.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::New | Self::Held(_) => true,
            Self::Text(growing) | Self::Reasoning(growing) => !growing.is_final(),
            Self::Tool(told) => told.status.is_some_and(|status| !status.is_final()),
            Self::Other => false,
        }
    }

    fn sort(&self) -> Option<Sort> {
        match self {
            Self::Text(_) => Some(Sort::Text),
            Self::Reasoning(_) => Some(Sort::Reasoning),
            _ => None,
        }
    }
}

impl Translator {
    /// Whether an event of this part was made no later than the last one that counted. A delta that
    /// comes twice, or behind a later one, can only do harm; the part's final form has it.
    pub(in crate::v1_18::agent) fn is_late(&mut self, name: &str, made: Option<u64>) -> bool {
        let Some(made) = made else { return false };
        let last = &mut self.parts.entry(name).last;
        if last.is_some_and(|last| !ids::is_later(made, last)) {
            return true;
        }
        *last = Some(made);
        false
    }

    /// `made`: when the event was made.
    pub(super) fn delta(
        &mut self,
        delta: &Delta<'_>,
        made: Option<u64>,
        out: &mut Vec<AgentEvent>,
    ) {
        let field = delta.field.as_deref().unwrap_or("text");
        let Some(name) = name(delta.part.as_ref(), delta.message.as_ref(), field) else { return };
        if self.parts.get(&name).is_none() {
            let message = delta.message.as_deref().unwrap_or_default();
            if !self.admits(message, Generation::Parts) {
                return;
            }
        }
        if self.is_late(&name, made) {
            return;
        }
        let seen = &mut self.parts.entry(&name).seen;
        let sort = match (seen.sort(), field) {
            (Some(sort), _) => sort,
            (None, "reasoning" | "reasoning_content" | "thinking") => Sort::Reasoning,
            // A part without an id has no other form that could say what it is.
            (None, "text") if delta.part.is_none() => Sort::Text,
            (None, _) => {
                let more = &*delta.delta;
                match seen {
                    Seen::New => *seen = Seen::Held(more.to_owned()),
                    Seen::Held(held) if held.len() + more.len() <= HELD_MAX => held.push_str(more),
                    Seen::Held(held) if field == "text" => {
                        let held = format!("{}{more}", std::mem::take(held));
                        self.grow(&name, Sort::Text, &held, out);
                    }
                    _ => {}
                }
                return;
            }
        };
        self.grow(&name, sort, &delta.delta, out);
    }

    /// A text grew by this.
    pub(in crate::v1_18::agent) fn grow(
        &mut self,
        name: &str,
        sort: Sort,
        piece: &str,
        out: &mut Vec<AgentEvent>,
    ) {
        let seen = &mut self.parts.entry(name).seen;
        let Some(growing) = seen.growing(sort) else { return };
        let grown = growing.delta(&self.options.hidden_tags, piece);
        out.extend(grown.map(|grown| say(name, seen.sort().unwrap_or(sort), grown)));
    }

    /// A text is this, so far or for good.
    pub(in crate::v1_18::agent) fn snapshot(
        &mut self,
        name: &str,
        sort: Sort,
        text: &str,
        last: bool,
        out: &mut Vec<AgentEvent>,
    ) {
        let seen = &mut self.parts.entry(name).seen;
        let held = match seen {
            Seen::Held(held) => std::mem::take(held),
            _ => String::new(),
        };
        let Some(growing) = seen.growing(sort) else { return };
        let tags = &self.options.hidden_tags;
        let mut said = Vec::new();
        // The form at the beginning is empty, and comes late where deltas are held.
        if !last && !held.is_empty() {
            said.extend(growing.delta(tags, &held));
        }
        said.extend(growing.snapshot(tags, text, last));
        out.extend(said.into_iter().map(|grown| say(name, sort, grown)));
    }

    pub(in crate::v1_18::agent) fn part(&mut self, part: &Part<'_>, out: &mut Vec<AgentEvent>) {
        let message = part.message.as_deref().unwrap_or_default();
        // A person's text has no time; the agent's has, from its first form on.
        let is_users = match self.messages.is_users(message) {
            Some(known) => known,
            None => *part.kind == *"text" && part.time.is_none(),
        };
        if is_users || !self.admits(message, Generation::Parts) {
            return;
        }
        let Some(name) = name(part.id.as_ref(), part.message.as_ref(), &part.kind) else { return };
        let ended = part.time.is_none_or(|time| time.end.is_some());
        let text = part.text.as_deref().unwrap_or_default();
        match &*part.kind {
            "text" => self.snapshot(&name, Sort::Text, text, ended, out),
            "reasoning" => self.snapshot(&name, Sort::Reasoning, text, ended, out),
            "tool" => {
                let tool = part.tool.as_deref().unwrap_or_default();
                let call = part.call.as_deref().unwrap_or(&name);
                self.told(&name, tool::call(call, tool, part.state.as_ref()), out);
            }
            "step-finish" => {
                self.parts.entry(&name).seen = Seen::Other;
                let usage = self.costs.step(message, &name, part.tokens, part.cost);
                out.extend(usage.map(AgentEvent::Usage));
            }
            _ => self.parts.entry(&name).seen = Seen::Other,
        }
    }

    /// A tool call is so far.
    pub(in crate::v1_18::agent) fn told(
        &mut self,
        name: &str,
        tool_call: ToolCall,
        out: &mut Vec<AgentEvent>,
    ) {
        let seen = &mut self.parts.entry(name).seen;
        if !matches!(seen, Seen::Tool(_)) {
            *seen = Seen::Tool(Told::default());
        }
        let Seen::Tool(told) = seen else { return };
        let print = print(&tool_call);
        // What comes late takes nothing back.
        if told.status.is_some_and(|status| rank(status) > rank(tool_call.status))
            || (told.status.is_some() && told.print == print)
        {
            return;
        }
        let is_first = told.status.replace(tool_call.status).is_none();
        told.print = print;
        let tool_call = Box::new(tool_call);
        out.push(if is_first {
            AgentEvent::ToolCall { tool_call }
        } else {
            AgentEvent::ToolUpdate { tool_call }
        });
    }

    pub(super) fn part_removed(&mut self, part: &str, out: &mut Vec<AgentEvent>) {
        let Some(PartState { seen, .. }) = self.parts.get_mut(part) else { return };
        let sort = seen.sort();
        if let (Some(sort), Seen::Text(growing) | Seen::Reasoning(growing)) = (sort, seen) {
            out.extend(growing.removed().map(|grown| say(part, sort, grown)));
        }
    }
}

/// What a part is known by: its id, else its message and what it is of that.
fn name<'a>(
    part: Option<&'a Str<'_>>,
    message: Option<&Str<'_>>,
    field: &str,
) -> Option<Cow<'a, str>> {
    match (part, message) {
        (Some(part), _) => Some(Cow::Borrowed(part)),
        (None, Some(message)) => Some(Cow::Owned(format!("{}/{field}", &**message))),
        (None, None) => None,
    }
}

fn say(name: &str, sort: Sort, grown: Grown) -> AgentEvent {
    let chunk = chunk(grown.text, name, grown.replace);
    match sort {
        Sort::Text => AgentEvent::Text(chunk),
        Sort::Reasoning => AgentEvent::Reasoning(chunk),
    }
}

fn rank(status: ToolStatus) -> u8 {
    match status {
        ToolStatus::Pending => 0,
        ToolStatus::InProgress => 1,
        ToolStatus::Completed | ToolStatus::Failed => 2,
    }
}

/// Two snapshots with one print are the same for all purposes.
fn print(call: &ToolCall) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&call.title, call.status as u8, &call.raw_input, &call.raw_output).hash(&mut hasher);
    for diff in &call.diffs {
        (&diff.path, &diff.patch).hash(&mut hasher);
    }
    hasher.finish()
}

//! The messages of a turn: which are its own, whose they are, and whether they have ended.

use super::{AgentEvent, Translator, settle};
use crate::v1_18::agent::bounded::Bounded;
use crate::v1_18::agent::ids;
use crate::v1_18::agent::wire::Message;
use repod_proto::agent::{Status, TurnError, TurnState};
use std::cmp::Ordering;

/// Messages remembered of one turn; the oldest is forgotten first.
const MOST: usize = 2 * 1024;

/// In which of OpenCode's ways a message is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::v1_18::agent) enum Generation {
    /// `message.part.*`
    Parts,
    /// `session.next.*`
    Next,
}

/// What is known of a message.
#[derive(Debug, Default)]
struct Known {
    role: Role,
    completed: bool,
    told: Option<Generation>,
    error: Option<TurnError>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    /// Its parts came before itself.
    #[default]
    Unknown,
    User,
    Assistant,
    /// The model's summary of a conversation that grew too long: not said to anybody.
    Summary,
}

/// See the module.
#[derive(Debug)]
pub(in crate::v1_18::agent) struct Messages {
    known: Bounded<Known>,
    /// The message that began the turn, and whether it was heard.
    prompt: Option<String>,
    prompt_heard: bool,
    /// The last message of the turns before.
    floor: Option<String>,
    last: Option<String>,
}

impl Messages {
    pub(in crate::v1_18::agent) fn new(prompt: Option<&str>) -> Self {
        Self {
            known: Bounded::new(MOST),
            prompt: prompt.map(str::to_owned),
            prompt_heard: prompt.is_none(),
            floor: None,
            last: None,
        }
    }

    pub(super) fn next_turn(&mut self, prompt: Option<&str>) -> Self {
        let floor = self.last.take().or_else(|| self.floor.take());
        Self { floor, ..Self::new(prompt) }
    }

    /// Whether the message that began the turn was heard, or which it is isn't known.
    pub(in crate::v1_18::agent) fn knows_prompt(&self) -> bool {
        self.prompt_heard
    }

    /// Whether a message belongs to this turn, by its age.
    pub(in crate::v1_18::agent) fn is_mine(&self, message: &str) -> bool {
        match (&self.prompt, &self.floor) {
            (Some(prompt), _) => ids::compare(message, prompt) != Ordering::Less,
            (None, Some(floor)) => ids::compare(message, floor) == Ordering::Greater,
            (None, None) => true,
        }
    }

    fn note(&mut self, message: &str) -> Option<&mut Known> {
        if self.known.get(message).is_none() {
            if !self.is_mine(message) {
                return None;
            }
            let later = |last: &String| ids::compare(message, last) == Ordering::Greater;
            if self.last.as_ref().is_none_or(later) {
                self.last = Some(message.to_owned());
            }
            // Nobody answers a prompt that wasn't heard.
            self.prompt_heard = true;
        }
        Some(self.known.entry(message))
    }

    /// Whether what this message says is to be told, by events of this generation.
    pub(super) fn admits(&mut self, message: &str, generation: Generation) -> bool {
        let prompt = self.prompt.as_deref() == Some(message);
        let Some(known) = self.note(message) else { return false };
        let told = *known.told.get_or_insert(generation);
        !prompt && told == generation && matches!(known.role, Role::Assistant | Role::Unknown)
    }

    /// Whether this message is a person's, as far as it is known.
    pub(super) fn is_users(&self, message: &str) -> Option<bool> {
        if self.prompt.as_deref() == Some(message) {
            return Some(true);
        }
        let known = self.known.get(message)?;
        match known.role {
            // Nobody streams a person's words.
            Role::Unknown => known.told.map(|_| false),
            role => Some(role == Role::User),
        }
    }

    /// A message of the next generation has ended, well or not.
    pub(in crate::v1_18::agent) fn ended(&mut self, message: &str, error: Option<TurnError>) {
        if let Some(known) = self.known.get_mut(message) {
            known.role = Role::Assistant;
            known.completed = true;
            known.error = error;
        }
    }

    /// Whether a message of the agent has not ended.
    pub(in crate::v1_18::agent) fn is_open(&self) -> bool {
        self.known.iter().any(|(_, known)| known.role != Role::User && !known.completed)
    }

    /// Why the last message failed, if it did.
    pub(in crate::v1_18::agent) fn last_error(&self) -> Option<&TurnError> {
        self.known.get(self.last.as_deref()?)?.error.as_ref()
    }
}

impl Translator {
    pub(in crate::v1_18::agent) fn message(
        &mut self,
        message: &Message<'_>,
        made: Option<u64>,
        out: &mut Vec<AgentEvent>,
    ) {
        let is_user = *message.role == *"user";
        let is_summary = message.summary.is_some_and(|summary| summary.get() == "true");
        let Some(known) = self.messages.note(&message.id) else { return };
        if is_user {
            (known.role, known.completed) = (Role::User, true);
            return;
        }
        let is_new = known.role == Role::Unknown;
        known.role = if is_summary { Role::Summary } else { Role::Assistant };
        // One that comes late takes nothing back.
        known.completed |= message.time.completed.is_some();
        if let Some(failure) = &message.error {
            known.error = Some(settle::error(failure.clone()));
        }
        let is_going_on = is_new && !known.completed && known.error.is_none();
        self.course.begun();
        if is_going_on {
            self.course.works(made.or_else(|| ids::time(&message.id)));
            self.course.goes_on();
        }
        if is_new && is_summary {
            let status = Status { state: TurnState::Compacting, ..Status::default() };
            out.push(AgentEvent::Status(status));
        }
        let usage = self.costs.message(&message.id, message.tokens, message.cost);
        out.extend(usage.map(AgentEvent::Usage));
    }
}

//! One session's turn: takes in events, gives out what they mean, and knows when the turn is over.
//!
//! ```text
//!            busy, an answer begins          idle, nothing open
//!   begun ─────────────────────────► open ─────────────────────► settled
//!                                     │  idle or error,            ▲
//!                                     └─ a message still open ─► ending
//! ```
//!
//! An idle that comes before the turn has begun is the one before's: an aborted turn says so twice.
//! An aborted turn also says that it is idle *before* its last parts; until those have come it is
//! *ending*, and who waits for them too long reconciles.

mod message;
mod part;
mod settle;

use super::asks::{self, Asks};
use super::body::Body;
use super::bounded::Bounded;
use super::ids;
use super::incoming::Incoming;
use super::usage::Costs;
use super::wire::{Ask, SessionStatus};
pub(super) use message::Generation;
use message::Messages;
pub(super) use part::{PartState, Seen, Sort};
use repod_proto::agent::{AgentEvent, Chunk, Status, TurnEnd, TurnState};
use settle::Course;
pub(super) use settle::{end, error as error_of};

/// Parts remembered of one turn; the oldest is forgotten first.
const PARTS_MAX: usize = 8 * 1024;

/// What a translator does with what plugins and people add.
#[derive(Clone, Debug)]
pub struct TranslateOptions {
    /// Names of the tags that are taken out of texts, with their content.
    pub hidden_tags: Vec<String>,
}

impl Default for TranslateOptions {
    fn default() -> Self {
        Self { hidden_tags: vec!["dcp-message-id".to_owned()] }
    }
}

/// How far a turn is after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Open,
    /// It will be over when its last parts have come, which takes a moment; then they are lost, and
    /// the server has to be asked.
    Ending(TurnEnd),
    /// It is over. Said once for each turn.
    Settled(TurnEnd),
    /// It was over before.
    Over,
}

/// Translates the events of one session, turn by turn.
#[derive(Debug)]
pub struct Translator {
    pub(super) session: String,
    pub(super) options: TranslateOptions,
    pub(super) messages: Messages,
    pub(super) parts: Bounded<PartState>,
    pub(super) asks: Asks,
    pub(super) costs: Costs,
    pub(super) course: Course,
    status: Status,
}

impl Translator {
    /// For a session whose turn begins now.
    pub fn new(session: impl Into<String>, options: TranslateOptions) -> Self {
        Self {
            session: session.into(),
            options,
            messages: Messages::new(None),
            parts: Bounded::new(PARTS_MAX),
            asks: Asks::default(),
            costs: Costs::default(),
            course: Course::default(),
            status: Status { state: TurnState::Unknown, ..Status::default() },
        }
    }

    /// The session.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// A turn begins: nothing of the one before counts any more. `prompt` is the id of the message
    /// that is sent (`messageID` of the prompt); with it, nothing of another turn is taken for this
    /// one's.
    pub fn begin_turn(&mut self, prompt: Option<&str>) {
        let messages = self.messages.next_turn(prompt);
        let course = self.course.next_turn(prompt.and_then(ids::time));
        let fresh = Self::new(std::mem::take(&mut self.session), self.options.clone());
        *self = Self { messages, course, ..fresh };
    }

    /// Takes in an event of the session, or of one of its subagents; appends to `out` what it means.
    pub fn feed(&mut self, event: Incoming<'_>, out: &mut Vec<AgentEvent>) -> Progress {
        if self.course.is_over() {
            return Progress::Over;
        }
        match event.body {
            // Whoever's they are: this turn waits for them.
            Body::Permission(ask) => self.asked(*ask, asks::permission, out),
            Body::Question(ask) => self.asked(*ask, asks::question, out),
            Body::Answered { request } => out.extend(self.asks.answered(&request)),
            _ if *event.session != *self.session => return Progress::Open,
            Body::Status(_) | Body::Idle | Body::Error(_) if self.course.is_old(event.made) => {}
            Body::Delta(delta) => self.delta(&delta, event.made, out),
            Body::Part(part) => self.part(&part, out),
            Body::PartRemoved { part } => self.part_removed(&part, out),
            Body::Message(message) => self.message(&message, event.made, out),
            Body::Status(status) => self.status(status, event.made, out),
            Body::Idle => self.course.idle(event.made),
            Body::Error(failure) => {
                self.course.failed(settle::error(failure), event.made);
            }
            Body::Deleted => return self.course.deleted(),
            Body::Next(next) => self.next(*next, event.made, out),
            Body::Session(_) => {}
        }
        self.progress()
    }

    /// Whether a person has to answer before the turn goes on.
    pub fn is_waiting(&self) -> bool {
        self.asks.is_open()
    }

    /// How far the turn is; [`Progress::Settled`] only once.
    fn progress(&mut self) -> Progress {
        let is_open =
            || self.messages.is_open() || self.parts.iter().any(|(_, part)| part.seen.is_open());
        self.course.progress(is_open, self.messages.last_error())
    }

    fn asked(
        &mut self,
        ask: Ask<'_>,
        say: impl FnOnce(Ask<'_>) -> AgentEvent,
        out: &mut Vec<AgentEvent>,
    ) {
        if self.asks.asked(&ask.id) {
            out.push(say(ask));
        }
    }

    fn status(&mut self, status: SessionStatus<'_>, made: Option<u64>, out: &mut Vec<AgentEvent>) {
        let state = match &*status.kind {
            "idle" => return self.course.idle(made),
            "retry" => TurnState::Retry,
            _ => TurnState::Busy,
        };
        if !self.messages.knows_prompt() {
            return;
        }
        self.course.works(made);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "JavaScript's numbers are floating; a count saturates"
        )]
        let status = Status {
            state,
            message: status.message.map(Into::into),
            attempt: status.attempt.map(|number| number as u32),
            next_at: status.next.map(|number| number as u64),
        };
        if self.status != status {
            self.status = status.clone();
            out.push(AgentEvent::Status(status));
        }
    }

    /// Whether this message is the turn's and is read in this generation of events.
    pub(super) fn admits(&mut self, message: &str, generation: Generation) -> bool {
        let admitted = self.messages.admits(message, generation);
        if admitted {
            self.course.begun();
        }
        admitted
    }
}

/// A piece of a part.
pub(super) fn chunk(text: String, part: &str, replace: bool) -> Chunk {
    Chunk { text, part_id: Some(part.to_owned()), replace }
}

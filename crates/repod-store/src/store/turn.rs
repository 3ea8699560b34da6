//! Turns of agent sessions and what they told, as they are on record.
//!
//! ```text
//!  begin_turn ─► queued ─start_turn─► running ⇄ waiting        (mark_turn)
//!                   │                    │         │
//!                   └──── settle_turn ───┴─────────┴──► completed │ failed │ interrupted
//! ```
//!
//! A turn that waits for a person is not over: it is told as `waiting` and goes on, or is settled, later.

use crate::SessionKey;

/// The most a prompt may be, in bytes.
pub const MAX_INPUT: u64 = 32 << 20;
/// The most one event may be, in bytes.
pub const MAX_LINE: u64 = 4 << 20;

/// A prompt to be put in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTurn {
    /// The caller's own name for it within the session: the same again is the same turn.
    pub turn_id: String,
    /// What is asked, in whatever form the caller likes; kept until the turn is settled.
    pub input: Vec<u8>,
    /// What is shown of it, for as long as the turn is on record; without NUL, which Postgres can't keep.
    pub prompt: String,
    /// The most turns that may be before it, the running one included; 0: none, it is refused then.
    pub most_ahead: u32,
}

/// A turn on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its session.
    pub key: SessionKey,
    /// Its number in the session, from 1.
    pub turn: u64,
    /// The caller's name for it.
    pub turn_id: String,
    /// How far it is.
    pub state: TurnState,
    /// What went wrong, where it did.
    pub error: Option<TurnFailure>,
    /// The backend's own id of the prompt, once it was started.
    pub message_id: Option<String>,
    /// The generation of the backend it was started on; 0 before.
    pub generation: u64,
    /// What is asked; absent in lists, and once it is settled.
    pub input: Option<Vec<u8>>,
    /// What is shown of it.
    pub prompt: String,
    /// When it was put in line, in milliseconds since 1970.
    pub begun_ms: i64,
    /// When it was started.
    pub started_ms: Option<i64>,
    /// When it was settled.
    pub settled_ms: Option<i64>,
    /// The number its next event will have, from 1.
    pub next_event: u64,
}

/// How far a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnState {
    /// It waits for the turns before it.
    Queued,
    /// It runs.
    Running,
    /// It stands still until a person answers.
    Waiting,
    /// It is over.
    Settled(Outcome),
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The agent has said what it had to say.
    Completed,
    /// It could not go on.
    Failed,
    /// It was ended from outside.
    Interrupted,
}

/// What went wrong in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnFailure {
    /// The agent's own name for it.
    pub name: String,
    /// In words.
    pub message: String,
}

/// On what a turn is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The generation of the backend.
    pub generation: u64,
    /// The backend's own id for the prompt.
    pub message_id: Option<String>,
}

/// Where [`Store::mark_turn`](crate::Store::mark_turn) brings a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnMark {
    /// It runs.
    Running,
    /// It stands still until a person answers.
    Waiting,
}

/// How a turn is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The outcome.
    pub outcome: Outcome,
    /// What went wrong, where it did.
    pub error: Option<TurnFailure>,
    /// Its session's conversation is not to be gone on with.
    pub crashed: bool,
}

/// What [`Store::begin_turn`](crate::Store::begin_turn) came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is on record now, and so many turns are before it.
    New(Turn, u32),
    /// It was already, and this is what it has come to.
    Known(Turn),
    /// More turns are before it than it may wait for: so many. Nothing is recorded.
    Full(u32),
}

/// Some events of a turn, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of each, and its line without the line's end. Numbers rise; where the oldest were let
    /// go, or some could not be written, they leap.
    pub events: Vec<(u64, Vec<u8>)>,
    /// How far the turn is.
    pub state: TurnState,
    /// The number its next event will have.
    pub next_event: u64,
}

/// How much of what a turn told is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The newest events of a turn that are kept, at least.
    pub events: u64,
    /// What the events of a turn may take, in bytes; the newest event is kept whatever it takes.
    pub bytes: u64,
}

/// What [`Store::prune`](crate::Store::prune) removes; all in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events of turns that were settled before.
    pub events_before_ms: i64,
    /// Turns that were settled before, with what is left of them.
    pub turns_before_ms: i64,
    /// Sessions that were closed, and last active before.
    pub closed_before_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 5000, bytes: 8 << 20 }
    }
}

impl TurnState {
    const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Settled(Outcome::Completed),
        Self::Settled(Outcome::Failed),
        Self::Settled(Outcome::Interrupted),
    ];

    /// Whether it is over.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Settled(_))
    }

    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Settled(Outcome::Completed) => "completed",
            Self::Settled(Outcome::Failed) => "failed",
            Self::Settled(Outcome::Interrupted) => "interrupted",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

//! Why a call was refused, as facts. [`words`](super::words) makes sentences of them.

use super::{Branch, Hold, LeaseKey, Party};
use repod_proto::ApiError;

/// A refusal, with what its reader needs in order to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// What was asked for.
    pub key: LeaseKey,
    /// Where it would have been written.
    pub worktree: Option<String>,
    /// Who has it instead.
    pub holder: Option<Holder>,
    /// Place in line: the one it had, or would have had. 0: it wasn't in line.
    pub position: u32,
    /// How long it waited, in milliseconds.
    pub waited: u64,
}

/// What kind of refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Somebody else has the lease, and waiting was not wanted.
    Busy,
    /// The lease did not come free in time.
    LeaseTimeout,
    /// Earlier calls of the same session tree didn't end in time.
    TicketTimeout,
    /// It closed a circle; the titles of those in it, the refused one first, each before the one it
    /// waits for.
    Deadlock(Vec<String>),
    /// Its backend is gone, or the lease was given on.
    Stale,
    /// The lease was taken away before the call ran.
    Revoked(super::Why),
    /// Too many wait, in so many words where.
    Overloaded(&'static str),
    /// Nobody waits for the answer any more: aborted, turn ended, session or backend gone.
    Withdrawn,
    /// Another call of this name is at work.
    SameName,
    /// The lease could not be put on record.
    NotSecured(ApiError),
}

/// Who has the lease, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub party: Party,
    /// Since when, in milliseconds before the refusal.
    pub age: u64,
    /// Whether to the end of its turn.
    pub hold: Hold,
    /// A process that has the lock file, while the lease is not yet on record.
    pub blocked_by: Option<String>,
    /// The call that has run longest.
    pub running: Option<RunningCall>,
}

/// A call that runs, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningCall {
    /// What it does.
    pub what: String,
    /// For how long, in milliseconds.
    pub age: u64,
    /// What it asks a person for.
    pub permission: Option<String>,
}

impl Refusal {
    /// The branch.
    pub fn branch(&self) -> &Branch {
        &self.key.branch
    }
}

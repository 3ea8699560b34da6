//! A write call, from the question to the report.

use super::{Held, LeaseKey, OwnerId, Party};

/// Names one write call in the whole daemon (`<repo>/<session>/<OpenCode's call id>`; OpenCode's own id
/// is the model's invention and not even unique in a session).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub String);

/// A write call asks for the lease of its branch and the ticket of its worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which call. Asked again while it waits or runs (the plugin lost its connection): it keeps its place.
    pub call: CallId,
    /// Who asks.
    pub party: Party,
    /// The branch it writes on.
    pub key: LeaseKey,
    /// The canonical root of the worktree it writes in. `None` asks for the lease alone.
    pub worktree: Option<String>,
    /// What it does, in a few words (`edit src/lib.rs`).
    pub what: String,
    /// How long the lease is kept.
    pub hold: Hold,
    /// What to do while somebody else has the lease.
    pub wait: Wait,
    /// Whether it may run for long.
    pub kind: Kind,
}

/// How long a lease is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// To the end of the owner's turn.
    Turn,
    /// As long as the owner has calls: for a write without a turn (a gateway route, and always for one
    /// outside).
    Call,
}

/// What a call does while somebody else has the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It is refused at once.
    Refuse,
    /// It waits in line, so many milliseconds at most.
    UpTo(u64),
}

/// Whether a call may run for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It writes and is done.
    Ordinary,
    /// A command that may run for minutes: see the module's words on long-running calls.
    LongRunning,
}

/// A call as the table keeps it, until it is reported, refused or gone.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) ask: Ask,
    pub(super) asked: u64,
    pub(super) stage: Stage,
    /// What it asks a person for.
    pub(super) permission: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its owner hasn't got the lease yet, or it isn't on record yet.
    Lease { until: u64 },
    /// Earlier calls on the worktree come first.
    Ticket { since: u64, until: u64 },
    Running {
        since: u64,
        shared: bool,
        /// When it loses the lease, reported or not.
        revoke_at: Option<u64>,
    },
}

impl Call {
    pub(super) fn owner(&self) -> &OwnerId {
        &self.ask.party.id
    }

    pub(super) fn is(&self, owner: &OwnerId, key: &LeaseKey) -> bool {
        self.owner() == owner && self.ask.key == *key
    }

    /// How long it may wait for others, from now on.
    pub(super) fn patience(&self, now: u64, longest: u64) -> u64 {
        match self.ask.wait {
            Wait::Refuse => now,
            Wait::UpTo(ms) => now.saturating_add(ms.min(longest)),
        }
    }

    /// Its owner has the lease: on to the line for the ticket, or to wait until it is on record.
    pub(super) fn admit(&mut self, held: &Held, now: u64, wait: u64) {
        let until = now.saturating_add(wait);
        self.stage = match (held.secured, held.blocked_by.is_some()) {
            (true, _) => Stage::Ticket { since: now, until },
            // Somebody is in the way: the call's own patience counts.
            (false, true) => return,
            // Its own lease is on the way; that is nobody's conflict.
            (false, false) => Stage::Lease { until },
        };
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    pub(super) fn waits_for_lease(&self) -> bool {
        matches!(self.stage, Stage::Lease { .. })
    }

    pub(super) fn is_in(&self, worktree: &str) -> bool {
        self.ask.worktree.as_deref() == Some(worktree)
    }
}

//! What a [`Table`](super::Table) is told, and what it asks for.

use super::{Ask, CallId, Kind, LeaseKey, OwnerId, Party, Refusal};
use repod_proto::{ApiError, Generation, RepoId};

/// What happened.
///
/// What is late or about nobody changes nothing, so events may be fed freely and twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A write call asks. Answered by exactly one [`Effect::Answer`], now or later.
    Ask(Ask),
    /// The fence of [`Effect::Secure`] is on record and the branch's lock file is locked.
    Secured {
        /// Whose lease.
        key: LeaseKey,
        /// Of `Secure`.
        fence: u64,
    },
    /// Somebody has the lock file; it is still being waited for.
    Blocked {
        /// Whose lease.
        key: LeaseKey,
        /// Of `Secure`.
        fence: u64,
        /// Who has it, in a few words (`process 4711 (make)`).
        by: String,
    },
    /// It came to nothing (disk full, lock file unusable).
    SecureFailed {
        /// Whose lease.
        key: LeaseKey,
        /// Of `Secure`.
        fence: u64,
        /// Why.
        error: ApiError,
    },
    /// A granted call is done, well or badly.
    Report {
        /// Which.
        call: CallId,
    },
    /// A call was aborted, or nobody listens for its answer any more. Of one that runs: it has ended
    /// (its part is final) and wasn't reported.
    CallGone {
        /// Which.
        call: CallId,
    },
    /// A running call asks a person (`Some`: for what), or was answered (`None`).
    Permission {
        /// Which.
        call: CallId,
        /// What it asks for.
        on: Option<String>,
    },
    /// The turn of a session tree is over: completed, failed or aborted.
    TurnEnded {
        /// Whose.
        owner: OwnerId,
    },
    /// The owner is no more: session deleted, connection of one outside closed. It and all its calls
    /// are known to write nothing any more.
    OwnerGone {
        /// Who.
        owner: OwnerId,
    },
    /// A backend's whole process tree is gone, and with it every owner it ran.
    BackendGone {
        /// Of which repo.
        repo: RepoId,
        /// This generation and all before it.
        generation: Generation,
    },
    /// In this worktree another branch is checked out now.
    BranchSwitched {
        /// Its canonical root.
        worktree: String,
        /// What was checked out there.
        from: LeaseKey,
        /// What is.
        to: LeaseKey,
    },
    /// A person takes the lease away (`repod lease release`).
    Force {
        /// Which.
        key: LeaseKey,
        /// Who did it, for the audit and the loser.
        by: String,
    },
    /// After a restart of the daemon: a backend says that this owner had a lease. All of them are fed
    /// before the first `Ask`, and before them `BackendGone` of the generation before each backend's own.
    Restore(Restored),
    /// Time has passed; due at [`Table::next_deadline`](super::Table::next_deadline).
    Tick,
}

/// A lease that an earlier daemon granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Which.
    pub key: LeaseKey,
    /// Who has it.
    pub party: Party,
    /// Of its grant.
    pub fence: u64,
    /// Whether it is kept to the end of a turn that still goes on, or for its calls alone.
    pub in_turn: bool,
    /// Its calls that run.
    pub running: Vec<RestoredCall>,
}

/// A call that an earlier daemon let run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredCall {
    /// Which.
    pub call: CallId,
    /// Where it writes.
    pub worktree: Option<String>,
    /// What it does.
    pub what: String,
    /// Whether it may run for long.
    pub kind: Kind,
}

/// What the daemon has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the fence down, then lock the branch's lock file; feed `Secured` or `SecureFailed`, never
    /// neither, unless `Release` of the same fence comes first. Nobody is answered before.
    Secure {
        /// Which branch.
        key: LeaseKey,
        /// Higher than every one before it of this branch; the same again after `Restore`.
        fence: u64,
        /// For whom.
        owner: OwnerId,
    },
    /// The lease is over: unlock the lock file (or stop trying).
    Release {
        /// Which branch.
        key: LeaseKey,
        /// Of `Secure`.
        fence: u64,
        /// Who had it.
        owner: OwnerId,
        /// Why; anything but `Done` belongs in the audit.
        why: Why,
    },
    /// Answer the call.
    Answer {
        /// Which.
        call: CallId,
        /// What.
        answer: Answer,
    },
    /// A call that may still be running has lost the lease, and its `Report` is not waited for. What
    /// it writes from now on is not covered: audit, and tell its session.
    Revoked {
        /// Which call.
        call: CallId,
        /// The lease it had.
        key: LeaseKey,
        /// Under this fence.
        fence: u64,
        /// Why.
        why: Why,
    },
    /// This owner holds a lease and has run nothing for a while. Look whether its turn still goes on,
    /// and feed `TurnEnded` or `OwnerGone` if not (an event may have been lost).
    Check {
        /// Who.
        owner: OwnerId,
    },
    /// What a backend says it holds was given to another: refused, and nothing changed.
    NotRestored {
        /// Which.
        key: LeaseKey,
        /// Who said so.
        owner: OwnerId,
        /// The fence it named.
        fence: u64,
    },
}

/// Why a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its turn, or its last call, ended.
    Done,
    /// Its owner is gone.
    Gone,
    /// A call was still out long after its turn had ended.
    Overdue,
    /// Others waited, and its only call had run for too long.
    TooLong,
    /// A person took it away.
    Forced {
        /// Who.
        by: String,
    },
    /// It could not be secured.
    NotSecured,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may write, under this fence.
    Granted {
        /// Under which lease.
        key: LeaseKey,
        /// Its number.
        fence: u64,
    },
    /// It must not.
    Refused(Box<Refusal>),
}

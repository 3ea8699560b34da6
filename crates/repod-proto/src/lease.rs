//! Who writes where: the answer to `repod leases`.

use crate::ids::{Generation, RepoId};
use serde::{Deserialize, Serialize};

/// One branch on which somebody may write at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeaseInfo {
    /// The repo.
    pub repo_id: RepoId,
    /// `main`, `@<commit>` for a detached HEAD, `dir:<path>` where there is no git.
    pub branch: String,
    /// The fence number: it rises with every grant, and a write under an older one is refused.
    pub fence: u64,
    /// When it was taken, RFC 3339 in UTC.
    pub since: String,
    /// How far it is.
    pub state: LeaseState,
    /// What keeps it from being held: who has the branch's lock file. Only while `taking`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Who has it.
    pub owner: LeaseOwner,
    /// The owner's write calls that run, or wait for their turn in the worktree, as they were asked.
    #[serde(default)]
    pub calls: Vec<CallInfo>,
    /// Who waits for it, the first in line first.
    pub waiters: Vec<WaiterInfo>,
}

/// How far a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Its fence number is being written down and the branch's lock file locked.
    Taking,
    /// Its owner may write.
    Held,
    /// Its turn has ended; a last call is still out.
    Closing,
}

/// What kind of owner it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A session and its subagents.
    Session,
    /// A script, a program or a person, without a session.
    Outside,
}

/// The owner of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeaseOwner {
    /// The session that asked last; the holder's own name for one from outside.
    pub session_id: String,
    /// The session at the root of its tree; the same for one from outside.
    pub root_session_id: String,
    /// Title of the session, or what the holder from outside does.
    pub title: String,
    /// Where it works.
    pub directory: String,
    /// Whether it is a session.
    pub kind: OwnerKind,
    /// The repo whose backend runs the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// That backend's generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Process of a holder from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// One that waits for a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WaiterInfo {
    /// The session that asked first; the name of one from outside.
    pub session_id: String,
    /// The session at the root of its tree; the same for one from outside.
    pub root_session_id: String,
    /// Its title, or what the one from outside does.
    pub title: String,
    /// Since when it has been waiting, RFC 3339 in UTC.
    pub since: String,
    /// Its place in line, from 1.
    pub position: u32,
    /// How many of its calls wait.
    pub calls: u32,
}

/// A write call under a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallInfo {
    /// Its name.
    pub call_id: String,
    /// The session that made it.
    pub session_id: String,
    /// What it does, in a few words.
    pub what: String,
    /// The worktree it writes in; absent for one that only holds the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// How far it is.
    pub state: CallState,
    /// What it asks a person for, while it waits for a permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// Since when it is so far, RFC 3339 in UTC.
    pub since: String,
}

/// How far a write call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// Its owner's lease is still being taken.
    WaitingLease,
    /// Earlier calls on the same worktree come first.
    WaitingTicket,
    /// It has the ticket.
    Running,
    /// It has run for long; calls of the same owner may run beside it.
    RunningShared,
    /// It has the ticket, and waits for a person.
    WaitingPermission,
}

/// `POST /v1/lease/hold`: hold a branch's lease from outside, as long as the answer is read. The answer
/// begins when it is held; it is NDJSON, the first line a [`LeaseHeld`].
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeaseHoldRequest {
    /// An absolute path in the repo.
    pub path: String,
    /// The branch, as `repod leases` writes it; the one checked out at the path where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What the holder does, for those who wait.
    pub title: String,
    /// Its process, for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Seconds to wait for it; `[policy] write_wait` where absent, 0: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
}

/// The first line of the answer to `POST /v1/lease/hold`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeaseHeld {
    /// The repo.
    pub repo_id: RepoId,
    /// The branch.
    pub branch: String,
    /// The fence number of this hold.
    pub fence: u64,
}

/// `POST /v1/lease/release`: take a lease away from whoever holds it. What its calls that run write
/// from then on is not covered any more.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeaseReleaseRequest {
    /// An absolute path in the repo.
    pub path: String,
    /// The branch; the one checked out at the path where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Who does it, for the log and the loser.
    pub by: String,
}

/// Answer to `POST /v1/lease/release`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeaseReleaseReport {
    /// The lease as it was; absent where nobody held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<LeaseInfo>,
}

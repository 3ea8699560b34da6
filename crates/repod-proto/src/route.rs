//! Writes that reach a repo from outside its own sessions: what is asked, and what the journal tells.

use crate::ids::RepoId;
use serde::{Deserialize, Serialize};

/// `POST /v1/route/apply`: apply a patch in a repo through its backend, under its branch's lease.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteApplyRequest {
    /// An absolute path in the target's worktree; paths in the patch are relative to its root.
    pub path: String,
    /// The branch that must be checked out there; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A git or unified diff, at most 24 MiB, base64 of its bytes.
    pub patch_base64: String,
    /// Who asks, and how.
    #[serde(flatten)]
    pub by: RouteBy,
}

/// `POST /v1/route/write`: put files into repos through their backends; all or nothing.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteWriteRequest {
    /// The files, of one repo or of several; each at most once.
    pub files: Vec<RouteFile>,
    /// Who asks, and how.
    #[serde(flatten)]
    pub by: RouteBy,
}

/// One file of a [`RouteWriteRequest`].
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteFile {
    /// Its absolute path.
    pub path: String,
    /// What it is to hold, base64; absent: it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Whether it is to be executable; as before where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// What it must hold now, as SHA-256 in hex (`""`: it must not be there); anything where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_sha256: Option<String>,
}

/// Who asks for a routed write that is no tool call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteBy {
    /// The caller's own name for this write: the same name again is answered with what came of the
    /// first, and nothing is written twice. One is made up where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// Who the caller is, for the journal and those who wait (`mcp:claude-code`); as `tool` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the caller does, for those who wait.
    #[serde(default)]
    pub title: String,
    /// By what it was asked: `route`, `mcp:repo_write`, …
    #[serde(default)]
    pub tool: String,
    /// The caller's process, for those who wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Seconds to wait for the leases; `[policy] write_wait` where absent, 0: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
}

/// Answer to both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteReport {
    /// The name of this write in the journal.
    pub operation_id: String,
    /// What came of it; anything but `applied` and `unchanged` is answered as an error instead.
    pub outcome: MutationOutcome,
    /// Where it was written.
    pub targets: Vec<RouteTarget>,
    /// What was changed, to be read.
    pub diff: String,
}

/// One worktree a routed write went to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteTarget {
    /// The repo.
    pub repo_id: RepoId,
    /// The worktree's root.
    pub directory: String,
    /// The branch, as `repod leases` writes it.
    pub branch: String,
    /// The fence number it was written under.
    pub fence: u64,
    /// The files, relative to `directory`.
    pub files: Vec<String>,
}

/// One entry of `GET /v1/mutations`: a write that crossed repos, or was routed; one for each target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MutationInfo {
    /// Its name; the same for all targets of one write.
    pub operation_id: String,
    /// When it was asked for, RFC 3339 in UTC.
    pub at: String,
    /// Who wrote.
    pub from: MutationFrom,
    /// What was written on.
    pub to: MutationTo,
    /// By which tool: `write`, `edit`, `apply_patch`, `bash`, `route`, `mcp:…`.
    pub tool: String,
    /// The files, relative to `to.directory`.
    pub files: Vec<String>,
    /// What came of it.
    pub outcome: MutationOutcome,
    /// The fence number it was written under; 0 where nobody held the lease.
    pub fence: u64,
    /// Why, where it did not come to what was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where a mutation came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MutationFrom {
    /// The repo whose session wrote; absent for one that is no session.
    pub repo_id: Option<RepoId>,
    /// The session, or the name of one from outside.
    pub session_id: String,
}

/// Where a mutation went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MutationTo {
    /// The repo.
    pub repo_id: RepoId,
    /// The branch, as `repod leases` writes it.
    pub branch: String,
    /// The worktree's root.
    pub directory: String,
}

/// What came of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MutationOutcome {
    /// It is on record and not yet known to be done.
    Pending,
    /// The target's backend has applied it.
    Applied,
    /// There was nothing to change.
    Unchanged,
    /// It was not applied, and nothing is changed.
    Refused,
    /// Another target of the same write could not be changed, so this one was put back.
    RolledBack,
    /// It was begun, a crash came between, and somebody else has changed the files since: it can be
    /// neither finished nor undone without a person.
    Conflict,
    /// A command of another repo's session changed files here without being routed: seen afterwards.
    Bypass,
    /// An outcome this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// `GET /v1/mutations?limit=…`
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MutationsQuery {
    /// The most entries wanted, the newest first; 100 where absent, at most 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

//! The dashboard: how a browser gets in, and what only it has asked for so far.

use crate::ids::RepoId;
use crate::memory::MemorySample;
use serde::{Deserialize, Serialize};

/// Answer to `POST /v1/web`: the dashboard is served from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebOpened {
    /// What a browser is to open. It carries an invitation in its fragment, which is never sent: good for one login.
    pub url: String,
    /// Where the dashboard is served: `http://127.0.0.1:<port>`.
    pub origin: String,
    /// Until when the invitation is good, RFC 3339 in UTC.
    pub expires_at: String,
    /// That the port is another one than before, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// `GET /v1/memory`: one of `path` and `repo_id` says whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemoryQuery {
    /// An absolute path in the repo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The repo, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Only what was measured after this, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The most samples wanted, 2 to 5000; 500 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
}

/// What a repo's backends used over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemoryHistory {
    /// The repo.
    pub repo_id: RepoId,
    /// How many samples there are in that time.
    pub measured: u64,
    /// The samples, the oldest first. Where there are more than were wanted, the largest of each stretch, and the last.
    pub samples: Vec<MemorySample>,
}

//! What a backend's process tree used at one moment: a line of `memory.jsonl`.

use crate::ids::Generation;
use serde::{Deserialize, Serialize};

/// One measurement of a whole process tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemorySample {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Whose: the number of the backend.
    pub generation: Generation,
    /// What the tree used.
    #[serde(flatten)]
    pub usage: TreeUsage,
    /// Set while it grows steadily, which looks like a leak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growing: Option<Growth>,
}

/// What a process tree uses. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct TreeUsage {
    /// Resident memory; pages shared within the tree count several times.
    pub rss: u64,
    /// Resident memory, each shared page divided among those who have it.
    pub pss: u64,
    /// The part of `rss` that is no file's.
    pub anonymous: u64,
    /// What is swapped out.
    pub swap: u64,
    /// Open files.
    pub fds: u64,
    /// Threads.
    pub threads: u64,
    /// Watches of inotify: each counts against `fs.inotify.max_user_watches`.
    pub inotify_watches: u64,
    /// Processes, the backend itself included.
    pub processes: u64,
    /// Of these, language servers.
    pub lsp: u64,
    /// Of these, servers of the Model Context Protocol.
    pub mcp: u64,
    /// Of these, shells.
    pub shells: u64,
    /// Processes that could not be read in full: the sums lack something of theirs.
    pub unread: u64,
}

impl TreeUsage {
    /// What only this tree has and no file can give back: what a leak adds to.
    pub fn private(&self) -> u64 {
        self.anonymous.saturating_add(self.swap)
    }
}

/// Steady growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Growth {
    /// How fast: the median of the slopes between all pairs of samples of the window.
    pub bytes_per_hour: u64,
    /// What the memory was when the growth was first seen.
    pub from_bytes: u64,
    /// What has been added since.
    pub grown_bytes: u64,
}

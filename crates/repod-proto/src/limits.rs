//! What a backend is held to, by whom, and what its last end was.

use crate::ids::Generation;
use serde::{Deserialize, Serialize};

/// Who keeps a backend's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnforcedBy {
    /// The kernel: the backend has a control group of version 2 of its own.
    CgroupV2,
    /// The daemon: it measures the process tree, and recycles a backend that is too large once it is idle.
    Measured,
}

/// What a running backend is held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LimitsInfo {
    /// Who keeps them.
    pub enforced_by: EnforcedBy,
    /// Why it is they, in words.
    pub reason: String,
    /// The backend's own group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Bytes from which the kernel slows it down and takes memory back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<u64>,
    /// Bytes it can't go beyond: the kernel ends a process of it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Processes and threads it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// Its share of the processor beside the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u64>,
    /// Bytes above which it is recycled when idle; by measuring, whoever keeps the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// The group its memory is counted in, of either version; its own, or one it shares with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_cgroup: Option<String>,
    /// The lowest limit of that group and those above it, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_cgroup_limit: Option<u64>,
}

/// What a backend that nobody stopped ended of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// The kernel ended it for lack of memory.
    Oom,
    /// A signal: it crashed, or somebody killed it.
    Signal,
    /// It returned an exit code.
    Exit,
    /// Nobody was told: it was started by an earlier daemon.
    Unknown,
}

impl ExitCause {
    /// The cause's public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oom => "oom",
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::Unknown => "unknown",
        }
    }
}

/// The last time a backend ended that nobody had stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LastExit {
    /// Which one it was.
    pub generation: Generation,
    /// When that was noticed, RFC 3339 in UTC.
    pub at: String,
    /// What of.
    pub cause: ExitCause,
    /// The same in words.
    pub message: String,
}

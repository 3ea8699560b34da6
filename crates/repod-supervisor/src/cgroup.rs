//! Control groups: what the kernel itself holds a backend to, and what it says when it ends one.
//!
//! Three rooms. [`place`] reads where a process counts, of version 1 and 2, out of two files of
//! `/proc`. [`delegation`] divides a group of version 2 that was given to us into leaves, one for each
//! backend, and refuses any that was not. [`memory`] only reads: which group's memory limit a process
//! lives under, and how many processes the kernel has ended there for lack of memory.
//!
//! ```text
//! repod.service/            delegated to us; no process of its own (the kernel's rule for version 2)
//! ├── daemon/               the daemon and its standby
//! ├── backend-web-3f2a…/    one backend, with memory.high, memory.max, pids.max, cpu.weight
//! └── backend-api-91bc…/
//! ```
//!
//! A group's files are plain text that is read and written whole, so there is nothing a library would
//! add; what `/proc` says is parsed by `procfs`, as elsewhere in this crate.

mod delegation;
mod memory;
mod place;

pub use delegation::{Delegation, GroupError, Leaf, Me, Removed, Undelegated};
pub use memory::{MemoryGroup, MemoryLimit};
pub use place::{Group, Mounts, Place};

use std::io;
use std::path::Path;

/// A part of what version 2 can hold a group to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// `memory.high`, `memory.max`, and the count of those ended.
    Memory,
    /// `pids.max`.
    Pids,
    /// `cpu.weight`.
    Cpu,
}

impl Controller {
    /// Those a backend's leaf uses, the most wanted first.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The kernel's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// What a leaf is held to; nothing where unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes from which its processes are slowed down and made to give memory back (`memory.high`).
    pub memory_high: Option<u64>,
    /// Bytes it can't go beyond: the kernel ends a process of it instead (`memory.max`).
    pub memory_limit: Option<u64>,
    /// Processes and threads (`pids.max`).
    pub pids_max: Option<u64>,
    /// Its share of the processor beside the other leaves, from 1 to 10,000; 100 where unset
    /// (`cpu.weight`).
    pub cpu_weight: Option<u64>,
}

/// One file of a group, without the line's end. Not `fs_err`: callers tell a missing file from others.
fn read(dir: &Path, name: &str) -> io::Result<String> {
    let text = std::fs::File::open(dir.join(name)).and_then(io::read_to_string)?;
    Ok(text.trim_end().to_owned())
}

/// A file that holds one number; nothing where it says `max`, or isn't there.
fn number(dir: &Path, name: &str) -> Option<u64> {
    read(dir, name).ok()?.parse().ok()
}

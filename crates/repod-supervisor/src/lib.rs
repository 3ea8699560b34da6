//! Processes: bring-up, identity, adoption, the terminate ladder, and limits.
//!
//! Everything here is about processes, files and sockets of this machine; what the process *is* (an
//! OpenCode server) is known elsewhere. The rooms, from the bottom up:
//!
//! * [`identity`]: which process a pid means, and a handle that can't come to mean another one;
//! * [`launcher`]: the spawn in two steps, so that no process runs that isn't on record;
//! * [`tree`]: every process that provably belongs to a backend;
//! * [`terminate`]: how a backend and its descendants are ended;
//! * [`cgroup`]: what the kernel itself holds a backend to;
//! * [`ports`], [`limits`], [`files`], [`log_tail`]: the small change of supervision;
//! * [`lifecycle`]: the state machine of one backend, a pure function.

pub mod cgroup;
pub mod files;
pub mod identity;
pub mod launcher;
pub mod lifecycle;
pub mod limits;
pub mod log_tail;
pub mod ports;
mod procfile;
pub mod terminate;
pub mod tree;

pub use identity::{IdentityError, ProcessHandle, ProcessIdentity, Signal};
pub use launcher::{ExitReason, HeldChild, HeldSpawn, LaunchError, RunningChild};
pub use tree::{Member, ProcessTree, Snapshot, TreeError};

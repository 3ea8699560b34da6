//! Files that survive crashes, full disks and a second daemon.
//!
//! [`write_atomic`] replaces a file in one step or not at all, [`LockFile`] lets one process at a time
//! own a home or a repo, and [`check_private_dir`] refuses places where others could read or write.

mod atomic;
mod lock;
mod private;

pub use atomic::{TEMP_SUFFIX, sweep_temps, write_atomic};
pub use lock::{LockError, LockFile};
pub use private::{PrivateError, check_private_dir, check_private_file, create_private_dir};

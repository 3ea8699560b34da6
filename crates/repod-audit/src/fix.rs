//! `--fix`: what can be put right without a doubt, each thing looked at again just before.
//!
//! The mode of repod's own files, and unpacked libraries that nobody has open. Processes, databases and
//! other people's files are never touched. Stale registry entries are the daemon's to clear (`repod gc`):
//! it holds their locks.

use crate::read::{leaks, resolved};
use crate::snapshot::Snapshot;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Does it, and says of each thing what was done.
pub fn apply(snapshot: &Snapshot, proc: &Path, uid: u32) -> Vec<String> {
    let mut done = Vec::new();
    for loose in &snapshot.loose {
        let Some(mode) = loose.mode else {
            continue;
        };
        done.push(match close(&loose.path, mode, uid) {
            Ok(mode) => format!("`{}` has mode {mode:03o} now", loose.path.display()),
            Err(error) => format!("`{}` stays as it is: {error}", loose.path.display()),
        });
    }
    // Read once more: a library may have come into use since.
    let in_use =
        if snapshot.libraries.is_empty() { Default::default() } else { leaks::in_use(proc) };
    for library in &snapshot.libraries {
        let left = leaks::left(&library.path, uid);
        let is_free = left.is_some_and(|(inode, _)| !in_use.contains(&inode));
        if is_free && fs_err::remove_file(&library.path).is_ok() {
            done.push(format!("`{}` is removed ({} bytes)", library.path.display(), library.bytes));
        }
    }
    done
}

/// Takes away what others may do, and says what is left. A link is left alone, at the end of the path and on
/// the way: what it leads to isn't repod's. What was looked at is what is changed, whatever lies there by then.
fn close(path: &Path, mode: u32, uid: u32) -> io::Result<u32> {
    let changed = || io::Error::other("it has changed meanwhile");
    if path.parent().is_some_and(|parent| resolved(parent) != parent) {
        return Err(changed());
    }
    let held =
        rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&held)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind.is_symlink() || stat.st_uid != uid {
        return Err(changed());
    }
    let mode = stat.st_mode & 0o7777 & mode;
    // A descriptor of a path can't be changed by itself, its name here can.
    rustix::fs::chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), Mode::from_raw_mode(mode))?;
    Ok(mode)
}

#[cfg(test)]
mod tests;

//! `--fix`: what can be put right without a doubt, each thing looked at again just before.
//!
//! The mode of repod's own files, and unpacked libraries that nobody has open. Processes, databases and
//! other people's files are never touched. Stale registry entries are the daemon's to clear (`repod gc`):
//! it holds their locks.

use crate::read::leaks;
use crate::snapshot::Snapshot;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Does it, and says of each thing what was done.
pub fn apply(snapshot: &Snapshot, proc: &Path, uid: u32) -> Vec<String> {
    let mut done = Vec::new();
    for loose in &snapshot.loose {
        let Some(mode) = loose.mode else {
            continue;
        };
        done.push(match close(&loose.path, mode, uid) {
            Ok(()) => format!("`{}` has mode {mode:03o} now", loose.path.display()),
            Err(error) => format!("`{}` stays as it is: {error}", loose.path.display()),
        });
    }
    // Read once more: a library may have been mapped since.
    let mapped =
        if snapshot.libraries.is_empty() { Default::default() } else { leaks::mapped(proc) };
    for library in &snapshot.libraries {
        let is_free = library
            .path
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file() && meta.uid() == uid && !mapped.contains(&meta.ino()));
        if is_free && fs_err::remove_file(&library.path).is_ok() {
            done.push(format!("`{}` is removed ({} bytes)", library.path.display(), library.bytes));
        }
    }
    done
}

/// Takes away what others may do. A link is left alone: its target isn't repod's.
fn close(path: &Path, mode: u32, uid: u32) -> std::io::Result<()> {
    let meta = fs_err::symlink_metadata(path)?;
    if meta.is_symlink() || meta.uid() != uid {
        return Err(std::io::Error::other("it has changed meanwhile"));
    }
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(meta.mode() & mode))
}

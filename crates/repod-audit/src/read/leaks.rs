//! Libraries that OpenCode's terminal unpacks into the temporary directory and never removes.
//!
//! Each start of the terminal interface (1.18.33) leaves `.<16 hex>-<8 hex>.so`, 5 MB. One that a process
//! has mapped or open, or that is young (its process may be about to map it), is in use.

use super::{Sources, distinct};
use crate::snapshot::{Library, Snapshot};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Younger ones may not be mapped yet.
const YOUNG: Duration = Duration::from_mins(10);

pub(super) fn read(sources: &Sources, snapshot: &mut Snapshot) {
    let theirs =
        snapshot.opencode().filter_map(|process| process.variable("TMPDIR")).map(PathBuf::from);
    let dirs = distinct(theirs.chain([sources.temp.clone()]).filter(|dir| sources.covers(dir)));
    let found: Vec<(PathBuf, u64, u64)> =
        dirs.iter().flat_map(|dir| candidates(dir, sources.uid)).collect();
    if found.is_empty() {
        return;
    }
    let in_use = in_use(&sources.proc);
    let left = found.into_iter().filter(|(_, inode, _)| !in_use.contains(inode));
    snapshot.libraries = left.map(|(path, _, bytes)| Library { path, bytes }).collect();
}

/// This user's old libraries in `dir`: path, inode, size.
fn candidates(dir: &Path, uid: u32) -> Vec<(PathBuf, u64, u64)> {
    let entries = fs_err::read_dir(dir).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let (inode, bytes) = left(&entry.path(), uid)?;
        Some((entry.path(), inode, bytes))
    });
    found.collect()
}

/// Inode and size of a library that was left, as far as it tells by itself: this user's, old, of one name.
pub(crate) fn left(path: &Path, uid: u32) -> Option<(u64, u64)> {
    let meta =
        path.file_name().filter(|name| is_library(name)).and(path.symlink_metadata().ok())?;
    let is_old = meta.modified().ok()?.elapsed().ok()? >= YOUNG;
    let is_left = meta.is_file() && meta.uid() == uid && meta.nlink() == 1 && is_old;
    is_left.then(|| (meta.ino(), meta.len()))
}

/// Whether a name is one that Bun gives to what it unpacks.
fn is_library(name: &OsStr) -> bool {
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let parts =
        name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".so")?.split_once('-'));
    parts.is_some_and(|(sum, number)| hex(sum, 16) && hex(number, 8))
}

/// Inodes of libraries that any process has mapped or open, as far as this user may know. Whatever the device:
/// an inode too many means a library too few.
pub(crate) fn in_use(proc: &Path) -> BTreeSet<u64> {
    let entries = fs_err::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok()));
    let mut inodes = BTreeSet::new();
    for entry in pids {
        let text = fs_err::read(entry.path().join("maps")).unwrap_or_default();
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b".so") || line.ends_with(b".so (deleted)"))
        {
            let line = String::from_utf8_lossy(line);
            let inode = line.split_ascii_whitespace().nth(4).and_then(|n| n.parse::<u64>().ok());
            inodes.extend(inode);
        }
        let open = fs_err::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let open = open.filter(|fd| {
            fs_err::read_link(fd.path()).is_ok_and(|it| it.file_name().is_some_and(is_library))
        });
        inodes.extend(open.filter_map(|fd| Some(fs_err::metadata(fd.path()).ok()?.ino())));
    }
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bun_unpacked_is_a_left_library() {
        assert!(is_library(OsStr::new(".bcfdcd3eb7a5f32e-00000000.so")));
        for other in [
            "bcfdcd3eb7a5f32e-00000000.so",
            ".bcfdcd3e-00000000.so",
            ".x.so",
            ".bcfdcd3eb7a5f32e-0000000g.so",
        ] {
            assert!(!is_library(OsStr::new(other)), "{other}");
        }
    }
}

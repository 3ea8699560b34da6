//! What OpenCode piles up and never removes: snapshots of worktrees, and logs.
//!
//! Counted in a bounded walk, so that an audit stays quick: one that breaks off knows a lower bound, which
//! is all that its rule asks for.

use super::{Sources, distinct};
use crate::snapshot::Snapshot;
use std::path::{Path, PathBuf};

/// Files that are looked at in all, unless everything is asked for: some 50 ms.
const FILES_MAX: usize = 20_000;

pub(super) fn read(sources: &Sources, snapshot: &mut Snapshot) {
    let plain = snapshot.plain().filter_map(|process| Some(process.homes.as_ref()?.data.0.clone()));
    let managed = snapshot
        .records
        .iter()
        .filter_map(|record| Some(record.file.parent()?.join("data/opencode")));
    let data = distinct(plain.chain(managed).chain(sources.own_data()));
    let mut left = if sources.deep { usize::MAX } else { FILES_MAX };
    let piles = data.iter().flat_map(|data| ["snapshot", "log"].map(|name| data.join(name)));
    let sized = piles.map(|dir| (size(&dir, &mut left), dir)).filter(|(bytes, _)| *bytes > 0);
    snapshot.piles = sized.map(|(bytes, dir)| (dir, bytes)).collect();
}

/// Bytes on disk below a directory, as far as `left` files reach. Links are not followed.
fn size(dir: &Path, left: &mut usize) -> u64 {
    let mut bytes = 0;
    let mut dirs: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs_err::read_dir(&dir).into_iter().flatten().flatten() {
            let Some(fewer) = left.checked_sub(1) else { return bytes };
            *left = fewer;
            let Ok(meta) = entry.metadata() else { continue };
            match meta.is_dir() {
                true => dirs.push(entry.path()),
                false => bytes += std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_breaks_off_knows_a_lower_bound() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("a/b")).unwrap();
        for name in ["a/1", "a/b/2", "3"] {
            fs_err::write(root.path().join(name), vec![1; 8192]).unwrap();
        }
        std::os::unix::fs::symlink("/", root.path().join("out")).unwrap();
        let all = size(root.path(), &mut 1000);
        assert!(all >= 3 * 8192, "{all}");
        let mut left = 2;
        let some = size(root.path(), &mut left);
        assert!(some < all && left == 0, "{some} of {all}");
        assert_eq!(size(&root.path().join("nothing"), &mut 10), 0);
    }
}

//! Control groups that limit processes, of version 2 and 1: both have it in files of the same names.

use super::groups;
use std::path::{Path, PathBuf};

/// The group a process counts in by its `cgroup` file, and those above it, where they have a limit: directory,
/// in use, limit.
pub(super) fn of(root: &Path, cgroup: &str) -> Vec<(PathBuf, u64, u64)> {
    let dirs = groups::of(root, cgroup, "pids").map_or_else(Vec::new, |(_, dirs)| dirs);
    let limited = dirs.into_iter().filter_map(|dir| {
        let used = groups::number(&dir, "pids.current")?;
        let limit = groups::number(&dir, "pids.max")?;
        Some((dir, used, limit))
    });
    limited.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, dir: &str, used: u64, limit: &str) {
        let dir = root.join(dir);
        fs_err::create_dir_all(&dir).unwrap();
        fs_err::write(dir.join("pids.current"), format!("{used}\n")).unwrap();
        fs_err::write(dir.join("pids.max"), format!("{limit}\n")).unwrap();
    }

    #[test]
    fn of_version_1_the_tree_of_its_own_counts_with_what_is_above() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "pids/docker/abc", 95, "100");
        write(root.path(), "pids/docker", 200, "max");
        write(root.path(), "pids", 300, "1000");
        // Version 2 is mounted as well, as `hybrid` has it, and has no say.
        write(root.path(), "docker/abc", 1, "1");
        let found = of(root.path(), "9:cpu,cpuacct:/x\n4:pids:/docker/abc\n0::/docker/abc\n");
        let pids = root.path().join("pids");
        assert_eq!(found, [(pids.join("docker/abc"), 95, 100), (pids.clone(), 300, 1000)]);
        // In a container the path is that of the host.
        let found = of(root.path(), "4:pids:/out/of/sight\n");
        assert_eq!(found, [(pids, 300, 1000)]);
    }

    #[test]
    fn of_version_2_there_is_one_tree_and_without_a_limit_nothing_is_told() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "u", 9, "10");
        write(root.path(), "u/s", 9, "max");
        assert_eq!(of(root.path(), "0::/u/s\n"), [(root.path().join("u"), 9, 10)]);
        assert_eq!(of(root.path(), "1:name=systemd:/u\n"), []);
    }
}

//! Control groups that limit memory, of version 2 and 1.

use super::groups::{self, Version};
use crate::snapshot::MemoryGroup;
use std::path::{Path, PathBuf};

/// What version 1 says for "no limit" depends on the size of a page; nobody means so much.
const NO_LIMIT: u64 = 1 << 60;

/// The files of one version.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` that has what the kernel would drop first.
    files: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: "total_inactive_file",
};
const V2: Files = Files { limit: "memory.max", used: "memory.current", files: "inactive_file" };

/// The group a process counts in by its `cgroup` file, and those above it, where they have a limit.
pub(super) fn of(root: &Path, cgroup: &str) -> Vec<MemoryGroup> {
    let Some((version, dirs)) = groups::of(root, cgroup, "memory") else { return Vec::new() };
    let files = match version {
        Version::One => &V1,
        Version::Two => &V2,
    };
    dirs.iter().filter_map(|dir| group(dir, files)).collect()
}

fn group(dir: &Path, files: &Files) -> Option<MemoryGroup> {
    let limit = groups::number(dir, files.limit).filter(|limit| *limit < NO_LIMIT)?;
    let used = groups::number(dir, files.used)?;
    let stat = fs_err::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let dropped = stat.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == files.files).then(|| value.trim().parse::<u64>().ok())?
    });
    let used = used.saturating_sub(dropped.unwrap_or_default());
    Some(MemoryGroup { dir: PathBuf::from(dir), limit, used, file: files.limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, format!("{text}\n")).unwrap();
    }

    #[test]
    fn of_version_2_a_limit_above_counts_and_files_in_memory_do_not() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "u/memory.max", "1000");
        write(root.path(), "u/memory.current", "900");
        write(root.path(), "u/memory.stat", "anon 100\ninactive_file 700");
        write(root.path(), "u/s/memory.max", "max");
        write(root.path(), "u/s/memory.current", "900");
        let found = of(root.path(), "0::/u/s\n");
        let dir = root.path().join("u");
        assert_eq!(found, [MemoryGroup { dir, limit: 1000, used: 200, file: "memory.max" }]);
    }

    #[test]
    fn of_version_1_the_mount_is_the_containers_own_group_where_the_path_is_out_of_sight() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory/memory.limit_in_bytes", "2000");
        write(root.path(), "memory/memory.usage_in_bytes", "1500");
        let found = of(root.path(), "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/\n");
        assert_eq!((found.len(), found[0].limit, found[0].used), (1, 2000, 1500));
        write(root.path(), "memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(of(root.path(), "4:memory:/\n"), []);
    }
}

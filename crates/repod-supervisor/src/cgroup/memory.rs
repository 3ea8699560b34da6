//! The memory group a process counts in, of either version, read and never written.
//!
//! When the kernel finds no memory left in a group (or on the machine), it ends a process with SIGKILL
//! and counts that in the group the process was in. The signal alone does not tell that end from any
//! other; the counter does, when it is compared with what it said a moment before.

use super::place::{Group, Mounts, Place};
use super::{number, read};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What version 1 says for "no limit" depends on the size of a page; nobody means so much.
const NO_LIMIT: u64 = 1 << 60;

/// A memory group, with its counter when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryGroup {
    version: u8,
    mount: PathBuf,
    dir: PathBuf,
    kills: u64,
}

/// The limit a group lives under: its own, or one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// In bytes.
    pub bytes: u64,
    /// The group that has it.
    pub dir: PathBuf,
}

impl MemoryGroup {
    /// The one this process counts in now; nothing when it has ended, or memory is not counted.
    pub fn of(mounts: &Mounts, pid: u32) -> Option<Self> {
        Self::at(&mounts.place_of(pid).ok()??)
    }

    /// The one of this place.
    pub fn at(place: &Place) -> Option<Self> {
        // The controller is in one hierarchy only.
        let mut group = match (&place.memory_v1, &place.unified) {
            (Some(group), _) => Self::new(1, group, group.dir.clone()),
            (None, Some(group)) => Self::new(2, group, counting(group)?),
            (None, None) => return None,
        };
        group.kills = group.count()?;
        Some(group)
    }

    fn new(version: u8, group: &Group, dir: PathBuf) -> Self {
        Self { version, mount: group.mount.clone(), dir, kills: 0 }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// 1 or 2.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The lowest limit of it and those above it.
    pub fn limit(&self) -> Option<MemoryLimit> {
        let file = if self.version == 1 { "memory.limit_in_bytes" } else { "memory.max" };
        let ours = self.dir.ancestors().take_while(|dir| dir.starts_with(&self.mount));
        let limits = ours.filter_map(|dir| {
            let bytes = number(dir, file).filter(|bytes| *bytes < NO_LIMIT)?;
            Some(MemoryLimit { bytes, dir: dir.to_owned() })
        });
        limits.min_by_key(|limit| limit.bytes)
    }

    /// Follows a process that may have been moved into the group `now`: how many processes of its group
    /// the kernel has ended since the last look.
    ///
    /// A process that has begun to end is said to be in the root group (of version 1) for as long as its
    /// memory takes to be freed, so a group in which somebody was killed just now is not left yet: one
    /// that really was moved is found elsewhere by the next look as well.
    pub fn follow(&mut self, now: Self) -> u64 {
        if now.dir == self.dir {
            let before = std::mem::replace(self, now).kills;
            return self.kills.saturating_sub(before);
        }
        let killed = self.killed();
        if killed == 0 {
            *self = now;
        }
        killed
    }

    /// How many processes of it the kernel has ended since the last look.
    pub fn killed(&mut self) -> u64 {
        let Some(now) = self.count() else { return 0 };
        let before = std::mem::replace(&mut self.kills, now);
        now.saturating_sub(before)
    }

    fn count(&self) -> Option<u64> {
        let text = match self.version {
            1 => read(&self.dir, "memory.oom_control"),
            // The plain file counts those of groups below too; the other is there since Linux 5.2.
            _ => {
                read(&self.dir, "memory.events.local").or_else(|_| read(&self.dir, "memory.events"))
            }
        };
        let text = text.ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).map(str::trim);
        count?.parse().ok()
    }
}

/// Where memory is counted: in the nearest group that has the controller.
fn counting(group: &Group) -> Option<PathBuf> {
    let above = group.dir.ancestors().take_while(|dir| dir.starts_with(&group.mount));
    above.into_iter().find(|dir| dir.join("memory.events").exists()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.0.path().join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, text).unwrap();
        }

        fn group(&self, dir: &str) -> Group {
            Group { mount: self.0.path().to_owned(), dir: self.0.path().join(dir) }
        }

        fn unified(&self, dir: &str) -> Option<MemoryGroup> {
            MemoryGroup::at(&Place { unified: Some(self.group(dir)), memory_v1: None })
        }

        fn v1(&self, dir: &str) -> Option<MemoryGroup> {
            let unified = Some(self.group("unified"));
            MemoryGroup::at(&Place { unified, memory_v1: Some(self.group(dir)) })
        }
    }

    #[test]
    fn of_version_2_the_leafs_own_count_is_read_and_the_lowest_limit_above_it() {
        let fake = Fake::new();
        fake.write("a/memory.max", "100000\n");
        fake.write("a/leaf/memory.max", "max\n");
        fake.write("a/leaf/memory.events", "low 0\noom 3\noom_kill 3\noom_group_kill 0\n");
        fake.write("a/leaf/memory.events.local", "oom 1\noom_kill 1\n");
        let mut group = fake.unified("a/leaf").unwrap();
        assert_eq!(group.version(), 2);
        let limit = group.limit().unwrap();
        assert_eq!((limit.bytes, limit.dir), (100_000, fake.group("a").dir));
        assert_eq!(group.killed(), 0);
        fake.write("a/leaf/memory.events.local", "oom 4\noom_kill 3\n");
        assert_eq!((group.killed(), group.killed()), (2, 0));
        fake.write("a/leaf/memory.events.local", "oom_kill 4\n");
        assert_eq!(group.follow(fake.unified("a/leaf").unwrap()), 1);
        fake.write("a/new/memory.events", "oom_kill 9\n");
        assert_eq!(group.follow(fake.unified("a/new").unwrap()), 0, "it was moved, nobody died");
        group.follow(fake.unified("a/leaf").unwrap());
        fake.write("a/leaf/memory.events.local", "oom_kill 5\n");
        assert_eq!(group.follow(fake.unified("a/new").unwrap()), 1, "it ends, and was not moved");
        assert_eq!(group.dir(), fake.group("a/leaf").dir);
        group.follow(fake.unified("a/new").unwrap());
        assert_eq!(group.dir(), fake.group("a/new").dir);
        group.follow(fake.unified("a/leaf").unwrap());
        fake.write("a/leaf/memory.max", "4096\n");
        assert_eq!(group.limit().unwrap().bytes, 4096);
    }

    #[test]
    fn memory_counts_in_the_nearest_group_that_has_the_controller() {
        let fake = Fake::new();
        fake.write("a/memory.events", "oom_kill 7\n");
        fake.write("a/b/c/cgroup.procs", "");
        assert_eq!(fake.unified("a/b/c").unwrap().dir(), fake.group("a").dir);
        assert_eq!(fake.unified("other"), None);
    }

    #[test]
    fn of_version_1_the_kernels_largest_number_is_no_limit() {
        let fake = Fake::new();
        fake.write("jobs/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
        fake.write("jobs/memory.limit_in_bytes", "9223372036854771712\n");
        let mut group = fake.v1("jobs").unwrap();
        assert_eq!((group.version(), group.limit()), (1, None));
        fake.write("jobs/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
        fake.write("jobs/memory.limit_in_bytes", "419430400\n");
        assert_eq!((group.killed(), group.limit().unwrap().bytes), (1, 400 << 20));
        // A group that is gone says nothing.
        fs_err::remove_dir_all(fake.group("jobs").dir).unwrap();
        assert_eq!((group.killed(), group.limit()), (0, None));
    }
}

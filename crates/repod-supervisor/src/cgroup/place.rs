//! Where a process counts: pure, out of `/proc/PID/cgroup` and `/proc/self/mountinfo`.

use crate::procfile;
use procfs::process::{MountInfo, MountInfos};
use procfs::{FromBufRead, ProcessCGroups};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What is appended to the path of a group that was removed.
const DELETED: &str = " (deleted)";

/// A group, and where its hierarchy is mounted: nothing above that is in sight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The group's directory, at or below it.
    pub dir: PathBuf,
}

/// The groups a process counts in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Of version 2.
    pub unified: Option<Group>,
    /// Of the hierarchy of version 1 that has the memory controller, where there is one. That
    /// controller is then not to be had in version 2.
    pub memory_v1: Option<Group>,
}

/// Where the hierarchies are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    unified: Option<Mount>,
    memory_v1: Option<Mount>,
}

/// Where a hierarchy is mounted, and which of its groups is the topmost there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    root: PathBuf,
}

impl Mounts {
    /// As this process sees them.
    ///
    /// # Errors
    /// `/proc` can't be read, or says what nobody understands.
    pub fn here() -> io::Result<Self> {
        Self::parse(&fs_err::read("/proc/self/mountinfo")?)
    }

    /// What a `mountinfo` says.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(mountinfo: &[u8]) -> io::Result<Self> {
        let mounts = MountInfos::from_buf_read(mountinfo).map_err(io::Error::other)?;
        let mut found = Self::default();
        for mount in &mounts {
            match mount.fs_type.as_str() {
                "cgroup2" => found.unified = found.unified.or_else(|| Mount::of(mount)),
                "cgroup" if mount.super_options.contains_key("memory") => {
                    found.memory_v1 = found.memory_v1.or_else(|| Mount::of(mount));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Where the process of this pid counts; nothing when it has ended.
    ///
    /// # Errors
    /// `/proc` can't be read.
    pub fn place_of(&self, pid: u32) -> io::Result<Option<Place>> {
        procfile::read(pid, "cgroup")?.map(|text| self.place(&text)).transpose()
    }

    /// What a `cgroup` file says.
    ///
    /// # Errors
    /// It is none.
    pub fn place(&self, cgroup: &[u8]) -> io::Result<Place> {
        let groups = ProcessCGroups::from_buf_read(cgroup).map_err(io::Error::other)?;
        let mut place = Place::default();
        for group in &groups {
            let within = |mount: &Option<Mount>| mount.as_ref()?.group(&group.pathname);
            if group.hierarchy == 0 {
                place.unified = within(&self.unified);
            } else if group.controllers.iter().any(|name| name == "memory") {
                place.memory_v1 = within(&self.memory_v1);
            }
        }
        Ok(place)
    }
}

impl Mount {
    fn of(mount: &MountInfo) -> Option<Self> {
        Some(Self { at: mount.mount_point.clone(), root: PathBuf::from(&mount.root) })
    }

    /// The directory of a group of this path. A container may see another part of the hierarchy than
    /// the one it is in; then there is none.
    fn group(&self, path: &str) -> Option<Group> {
        let path = Path::new(path.strip_suffix(DELETED).unwrap_or(path));
        let below = path.strip_prefix(&self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| Group {
            mount: self.at.clone(),
            // Joining nothing would append a slash.
            dir: if below.as_os_str().is_empty() { self.at.clone() } else { self.at.join(below) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str =
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn place(mounts: &str, cgroup: &str) -> Place {
        Mounts::parse(mounts.as_bytes()).unwrap().place(cgroup.as_bytes()).unwrap()
    }

    fn group(mount: &str, dir: &str) -> Option<Group> {
        Some(Group { mount: mount.into(), dir: dir.into() })
    }

    #[test]
    fn the_group_of_a_unit_is_found_below_the_one_hierarchy_of_version_2() {
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/repod.service/daemon";
        let found = place(UNIFIED, &format!("0::{path}\n"));
        assert_eq!(found.unified, group("/sys/fs/cgroup", &format!("/sys/fs/cgroup{path}")));
        assert_eq!(found.memory_v1, None);
    }

    #[test]
    fn in_a_hybrid_machine_both_are_found_each_at_its_own_place() {
        let found = place(HYBRID, "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu:/\n0::/\n");
        assert_eq!(found.memory_v1, group("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/jobs/7"));
        assert_eq!(found.unified, group("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_container_that_sees_its_own_part_only_is_found_there_and_a_stranger_is_not() {
        let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = place(mounts, "4:memory:/docker/abc/inner\n0::/\n");
        assert_eq!(found.memory_v1, group("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/inner"));
        assert_eq!(found.unified, None);
        assert_eq!(place(mounts, "4:memory:/docker/def\n").memory_v1, None);
        // From within a namespace, what lies outside begins with dots.
        assert_eq!(place(UNIFIED, "0::/../other\n").unified, None);
        let removed = place(UNIFIED, "0::/a/b (deleted)\n").unified;
        assert_eq!(removed, group("/sys/fs/cgroup", "/sys/fs/cgroup/a/b"));
    }

    #[test]
    fn this_process_is_somewhere() {
        let mounts = Mounts::here().unwrap();
        assert!(mounts.place_of(std::process::id()).unwrap().is_some());
        assert_eq!(mounts.place_of(u32::MAX >> 1).unwrap(), None);
    }
}

//! Where the control groups of a process are, of version 2 and 1.

use std::path::{Path, PathBuf};

/// A version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The group that a process counts in for a controller by its `cgroup` file, and those above it.
///
/// Version 1 mounts a tree for each controller. Where it has this one, version 2 does not. In a container the
/// path may be out of sight; then the top of what is mounted is the container's own group.
pub(super) fn of(root: &Path, cgroup: &str, controller: &str) -> Option<(Version, Vec<PathBuf>)> {
    let one = cgroup.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(":/")?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    let two = || cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
    let (version, root, path) = match (one, two()) {
        (Some(path), _) => (Version::One, root.join(controller), path),
        (None, Some(path)) => (Version::Two, root.to_owned(), path),
        (None, None) => return None,
    };
    let own = root.join(path);
    let above = own.ancestors().take_while(|dir| dir.starts_with(&root)).map(Path::to_owned);
    Some((version, above.collect()))
}

/// The number in a file of a group. `max` is no number, and no limit.
pub(super) fn number(dir: &Path, name: &str) -> Option<u64> {
    fs_err::read_to_string(dir.join(name)).ok()?.trim().parse().ok()
}

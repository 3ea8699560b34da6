//! Where a path really leads, also where its last part isn't there yet.

use std::path::{Path, PathBuf};

/// Links followed in one path; the kernel's own limit is the same.
const LINKS_MAX: u32 = 40;

/// What is done about a link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// What it leads to is meant, as for a write.
    Follow,
    /// It is meant itself, as for a removal.
    Keep,
}

/// The path without links on its way, `.` and `..`. What isn't there is taken as it is written.
pub(crate) fn resolve(path: &Path, links: Links) -> PathBuf {
    resolved(path, links, LINKS_MAX)
}

fn resolved(path: &Path, links: Links, left: u32) -> PathBuf {
    if links == Links::Follow
        && let Ok(real) = path.canonicalize()
    {
        return real;
    }
    // Of a path that ends in `..` or `/` there is no last part to keep.
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return path.canonicalize().unwrap_or_else(|_| path.to_owned());
    };
    let at = resolved(parent, Links::Follow, left.saturating_sub(1)).join(name);
    if links == Links::Keep || left == 0 {
        return at;
    }
    match std::fs::read_link(&at) {
        // Leads to what isn't there yet: a write makes it there.
        Ok(target) => resolved(&at.parent().unwrap_or(&at).join(target), links, left - 1),
        Err(_) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_even_to_what_is_not_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs_err::create_dir_all(root.join("a/b")).unwrap();
        fs_err::write(root.join("a/b/f"), "").unwrap();
        symlink("a/b", root.join("dir")).unwrap();
        symlink("dir/f", root.join("file")).unwrap();
        symlink("dir/new", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let follow = |path: &str| resolve(&root.join(path), Links::Follow);
        assert_eq!(follow("file"), root.join("a/b/f"));
        assert_eq!(follow("dangling"), root.join("a/b/new"));
        assert_eq!(follow("dir/x/y"), root.join("a/b/x/y"));
        assert_eq!(follow("dir/../z"), root.join("a/z"), "`..` comes after the link");
        assert_eq!(follow("loop").file_name().unwrap(), "loop");
        assert_eq!(resolve(&root.join("dir/../../file"), Links::Keep), root.join("file"));
        assert_eq!(resolve(&root.join("file"), Links::Keep), root.join("file"));
    }
}

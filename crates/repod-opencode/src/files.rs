//! The few ways files are written here: private, whole, and only when something changes, so that a
//! prepare that is repeated or cut short does no harm.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a temporary name here starts with; left behind only by a crash.
pub(crate) const TEMPORARY: &str = ".repod-tmp-";

/// Makes `dir` (and what is missing above it) for this user alone.
///
/// A directory that exists is closed to others as well.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    new_dir(dir)?;
    if fs_err::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes `dir` (and what is missing above it); what exists is left as it is.
pub(crate) fn new_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        io::Error::new(error.kind(), format!("can't create `{}`: {error}", dir.display()))
    })
}

/// Writes the file in one step, readable by this user alone, unless it already says just that.
pub(crate) fn write_if_different(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs_err::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let dir = parent(path)?;
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What lay where a link was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    /// The link is there.
    Done,
    /// Something that is no link is there; it was kept.
    Occupied,
}

/// Makes `link` point to `target`, which need not exist. A link to elsewhere is replaced in one
/// step; anything else is kept.
pub(crate) fn link(link: &Path, target: &Path) -> io::Result<Linked> {
    match fs_err::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => {
            if fs_err::read_link(link)? == target {
                return Ok(Linked::Done);
            }
        }
        Ok(_) => return Ok(Linked::Occupied),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // A directory of one's own gives a name nobody else uses, for the rename that replaces.
    let holder = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent(link)?)?;
    let fresh = holder.path().join("link");
    fs_err::os::unix::fs::symlink(target, &fresh)?;
    fs_err::rename(&fresh, link)?;
    Ok(Linked::Done)
}

/// The entries of a directory; none when it does not exist.
pub(crate) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes what a crash left behind in `dir`. Only for directories one caller at a time prepares.
pub(crate) fn clear_temporary(dir: &Path) -> io::Result<()> {
    for entry in entries(dir)? {
        let name = entry.file_name().unwrap_or_default();
        if !name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            continue;
        }
        if fs_err::symlink_metadata(&entry)?.is_dir() {
            fs_err::remove_dir_all(entry)?;
        } else {
            fs_err::remove_file(entry)?;
        }
    }
    Ok(())
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` has no parent", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_a_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("auth.json");
        assert_eq!(link(&at, Path::new("/nowhere/a")).unwrap(), Linked::Done);
        assert_eq!(link(&at, Path::new("/nowhere/b")).unwrap(), Linked::Done);
        assert_eq!(fs_err::read_link(&at).unwrap(), Path::new("/nowhere/b"));
        fs_err::remove_file(&at).unwrap();
        fs_err::write(&at, "mine").unwrap();
        assert_eq!(link(&at, Path::new("/nowhere/b")).unwrap(), Linked::Occupied);
        assert_eq!(fs_err::read_to_string(&at).unwrap(), "mine");
        assert_eq!(entries(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn an_unchanged_file_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("f");
        write_if_different(&at, b"one").unwrap();
        let before = fs_err::metadata(&at).unwrap();
        write_if_different(&at, b"one").unwrap();
        let after = fs_err::metadata(&at).unwrap();
        assert_eq!(inode(&before), inode(&after));
        assert_eq!(after.permissions().mode() & 0o777, 0o600);
        write_if_different(&at, b"two").unwrap();
        assert_eq!(fs_err::read_to_string(&at).unwrap(), "two");
    }

    fn inode(metadata: &std::fs::Metadata) -> u64 {
        std::os::unix::fs::MetadataExt::ino(metadata)
    }
}

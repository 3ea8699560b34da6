//! Whether a place is this user's alone.
//!
//! Passwords and sockets lie in repod's home. A directory that another user owns, or can write to, is
//! refused rather than repaired: somebody made it so, and what lies in it can't be trusted.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why a place is not private.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// It doesn't exist.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// It is something else than what it should be.
    #[error("`{}` is not a {expected}", path.display())]
    WrongKind {
        /// The place.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// Another user owns it.
    #[error("`{}` belongs to user {uid}", path.display())]
    Foreign {
        /// The place.
        path: PathBuf,
        /// The owner.
        uid: u32,
    },
    /// Others may look in or write.
    #[error("`{}` is open to others (mode {mode:04o})\nhint: chmod go-rwx '{}'", path.display(), path.display())]
    Open {
        /// The place.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It can't be looked at or created. The error names the path.
    #[error(transparent)]
    Io(io::Error),
}

/// Checks that `path` is a directory (or a link to one) of this user and closed to all others.
pub fn check_private_dir(path: &Path) -> Result<(), PrivateError> {
    let metadata = fs_err::metadata(path).map_err(|error| look_failed(path, error))?;
    if !metadata.is_dir() {
        return Err(PrivateError::WrongKind { path: path.to_owned(), expected: "directory" });
    }
    check_owner_and_mode(path, &metadata)
}

/// Checks that `path` is a regular file (no link) of this user and closed to all others.
pub fn check_private_file(path: &Path) -> Result<(), PrivateError> {
    let metadata = fs_err::symlink_metadata(path).map_err(|error| look_failed(path, error))?;
    if !metadata.is_file() {
        return Err(PrivateError::WrongKind { path: path.to_owned(), expected: "regular file" });
    }
    check_owner_and_mode(path, &metadata)
}

/// Makes the directory (and its parents) with mode 0700 where it is missing, then checks it.
pub fn create_private_dir(path: &Path) -> Result<(), PrivateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        let message = format!("failed to create directory `{}`: {error}", path.display());
        PrivateError::Io(io::Error::new(error.kind(), message))
    })?;
    check_private_dir(path)
}

fn check_owner_and_mode(path: &Path, metadata: &Metadata) -> Result<(), PrivateError> {
    let path = || path.to_owned();
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(PrivateError::Foreign { path: path(), uid: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(PrivateError::Open { path: path(), mode: metadata.mode() & 0o7777 });
    }
    Ok(())
}

fn look_failed(path: &Path, error: io::Error) -> PrivateError {
    match error.kind() {
        io::ErrorKind::NotFound => PrivateError::Missing(path.to_owned()),
        _ => PrivateError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_way_not_to_be_private_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home/deep");
        assert!(matches!(check_private_dir(&home), Err(PrivateError::Missing(_))));
        create_private_dir(&home).unwrap();
        let mode = |path: &Path, mode| {
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&home, 0o750);
        let error = check_private_dir(&home).unwrap_err();
        assert!(error.to_string().contains("mode 0750"), "{error}");

        let file = home.join("secret");
        fs_err::write(&file, "s").unwrap();
        mode(&file, 0o600);
        check_private_file(&file).unwrap();
        mode(&file, 0o604);
        assert!(matches!(check_private_file(&file), Err(PrivateError::Open { .. })));
        assert!(matches!(check_private_dir(&file), Err(PrivateError::WrongKind { .. })));
        assert!(matches!(check_private_file(&home), Err(PrivateError::WrongKind { .. })));
    }

    #[test]
    fn a_place_of_another_user_is_refused() {
        // `/proc/1` belongs to root; where the tests run as root, take a directory and give it away.
        let dir = tempfile::tempdir().unwrap();
        let mut foreign = PathBuf::from("/proc/1");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(12_345), None).unwrap();
            foreign = dir.path().to_owned();
        }
        assert!(matches!(check_private_dir(&foreign), Err(PrivateError::Foreign { .. })));
    }
}

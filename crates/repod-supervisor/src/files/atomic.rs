//! Replacing a file in one step.
//!
//! Written beside it, synced, renamed over it, and the directory synced: a reader sees the old
//! content or the new, and so does the next boot. When anything fails (a full disk) the old file is
//! as it was.

use crate::identity::ProcessIdentity;
use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the name of every temporary file ends.
pub const TEMP_SUFFIX: &str = ".repod-tmp";

/// Replaces the content of `path`, with the permission bits `mode` (whatever the umask is).
///
/// Blocks until the disk has it. The error names the path.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (directory, name) = parts(path)?;
    let temp = TempFile(directory.join(temp_name(name)?));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode & 0o700).open(&temp.0)?;
    file.write_all(bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs_err::rename(&temp.0, path)?;
    std::mem::forget(temp);
    File::open(directory)?.sync_all()
}

/// Removes the temporary files that dead processes left in `directory`; says how many.
///
/// Only for whoever holds the directory's lock: nobody else may be writing there.
pub fn sweep_temps(directory: &Path) -> io::Result<u32> {
    let mine = owner_tag()?;
    let mut swept = 0;
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') && name.ends_with(TEMP_SUFFIX) && !name.contains(&mine) {
            fs_err::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn parts(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    directory.zip(name).ok_or_else(|| {
        let message = format!("`{}` is not a file's path in a directory", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

fn temp_name(name: &str) -> io::Result<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(format!(".{name}{}{count}{TEMP_SUFFIX}", owner_tag()?))
}

/// Names the writing process. The pid alone would not do: in a container it is the same every time.
fn owner_tag() -> io::Result<String> {
    let me = ProcessIdentity::mine().map_err(io::Error::other)?;
    Ok(format!(".{}-{}.", me.pid, me.start_ticks))
}

/// Removed when dropped, so that no failure leaves it behind.
struct TempFile(PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        // It may not even have been created; and there is nobody left to tell.
        let _ = fs_err::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("endpoint.json");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o640).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn left_overs_of_the_dead_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| fs_err::write(dir.path().join(name), "").unwrap();
        file(".port.1-1.0.repod-tmp");
        file(&format!(".port{}7.repod-tmp", owner_tag().unwrap()));
        file("port");
        file("notes.repod-tmp");
        assert_eq!(sweep_temps(dir.path()).unwrap(), 1);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_target_that_cannot_be_replaced_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        fs_err::create_dir_all(path.join("in the way")).unwrap();
        write_atomic(&path, b"1", 0o600).unwrap_err();
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomic(Path::new("port"), b"1", 0o600).is_err(), "no directory named");
    }
}

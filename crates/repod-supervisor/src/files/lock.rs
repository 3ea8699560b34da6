//! Lock files: locked first, written after, never unlinked.
//!
//! The lock is the kernel's (`flock`), so it ends with its holder, however that one ends. The file's
//! content is only a note for people. A lock file that is removed "because it is stale" lets two
//! holders in, one on the old inode and one on the new; so repod never removes one, and checks after
//! locking that the path still names what it locked.

use crate::identity::{IdentityError, ProcessIdentity};
use fs_err::File;
use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a held lock is tried again; the kernel tells nobody when it becomes free.
const RETRY: Duration = Duration::from_millis(20);

/// How often the path may turn out to name another file than the one locked.
const REPLACED_TRIES: u32 = 10;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("`{}` is locked by {}", path.display(), holder_text(holder.as_ref()))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who says so in the file: a note, not a proof.
        holder: Option<ProcessIdentity>,
    },
    /// The file was replaced again and again while it was being locked.
    #[error("`{}` keeps being replaced while it is being locked", .0.display())]
    Replaced(PathBuf),
    /// The file can't be opened or written. The error names the path.
    #[error("cannot use the lock file")]
    Io(#[from] io::Error),
    /// This process can't name itself.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

fn holder_text(holder: Option<&ProcessIdentity>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |holder| format!("process {}", holder.pid))
}

/// A lock that is held until this is dropped (or the process ends).
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

impl LockFile {
    /// Takes the lock if it is free.
    pub fn try_acquire(path: &Path) -> Result<Self, LockError> {
        for _ in 0..REPLACED_TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                // A link in its place could lead the lock, and the note, anywhere.
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(path)?;
            if let Some(lock) = Self::lock(file, path)? {
                return Ok(lock);
            }
        }
        Err(LockError::Replaced(path.to_owned()))
    }

    /// Takes the lock as soon as it is free, and gives up after `patience`. Safe to cancel.
    pub async fn acquire(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + patience;
        loop {
            match Self::try_acquire(path) {
                Err(LockError::Held { .. }) if Instant::now() < deadline => {
                    sleep_until(deadline.min(Instant::now() + RETRY)).await;
                }
                result => return result,
            }
        }
    }

    /// Takes over a lock whose fd was inherited from the process that took it (a daemon that replaces
    /// itself). The fd is made close-on-exec again, so that no backend inherits the lock.
    pub fn from_inherited(file: std::fs::File, path: &Path) -> Result<Self, LockError> {
        fcntl_setfd(&file, FdFlags::CLOEXEC).map_err(io::Error::from)?;
        // Locking it again through the same open file succeeds at once if we hold it already.
        Self::lock(File::from_parts(file, path), path)?
            .ok_or_else(|| LockError::Replaced(path.to_owned()))
    }

    /// Who the file says holds it: for people, not for decisions.
    pub fn noted_holder(path: &Path) -> Option<ProcessIdentity> {
        serde_json::from_slice(&fs_err::read(path).ok()?).ok()
    }

    /// `None`: locked, but the path names another file by now.
    fn lock(file: File, path: &Path) -> Result<Option<Self>, LockError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = Self::noted_holder(path);
                return Err(LockError::Held { path: path.to_owned(), holder });
            }
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let locked = file.metadata()?;
        match fs_err::symlink_metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut lock = Self { file };
        lock.note_holder()?;
        Ok(Some(lock))
    }

    fn note_holder(&mut self) -> Result<(), LockError> {
        let mut note = serde_json::to_vec(&ProcessIdentity::mine()?).map_err(io::Error::other)?;
        note.push(b'\n');
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&note)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = LockFile::try_acquire(&path).unwrap();
        // `flock` belongs to the open file, so a second open in one process conflicts like any other.
        let error = LockFile::try_acquire(&path).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        LockFile::try_acquire(&path).unwrap();
        assert!(path.exists(), "a lock file is never unlinked");
    }

    #[test]
    fn the_note_of_a_former_holder_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs_err::write(&path, "x".repeat(4096)).unwrap();
        assert_eq!(LockFile::noted_holder(&path), None);
        let _lock = LockFile::try_acquire(&path).unwrap();
        assert_eq!(LockFile::noted_holder(&path), Some(ProcessIdentity::mine().unwrap()));
    }

    #[test]
    fn a_lock_is_not_taken_through_a_symbolic_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs_err::write(dir.path().join("precious"), "keep").unwrap();
        std::os::unix::fs::symlink("precious", &path).unwrap();
        assert!(matches!(LockFile::try_acquire(&path), Err(LockError::Io(_))));
        assert_eq!(fs_err::read(dir.path().join("precious")).unwrap(), b"keep");
    }

    #[test]
    fn an_inherited_lock_is_kept_and_one_on_a_replaced_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = LockFile::try_acquire(&path).unwrap();
        let inherited = first.file.file().try_clone().unwrap();
        let second = LockFile::from_inherited(inherited, &path).unwrap();
        drop(first);
        assert!(matches!(LockFile::try_acquire(&path), Err(LockError::Held { .. })));

        let stale = second.file.file().try_clone().unwrap();
        fs_err::rename(&path, dir.path().join("moved")).unwrap();
        fs_err::write(&path, "").unwrap();
        let error = LockFile::from_inherited(stale, &path).unwrap_err();
        assert!(matches!(error, LockError::Replaced(_)), "{error}");
    }

    #[tokio::test]
    async fn a_waiting_locker_gets_it_when_it_is_free_and_gives_up_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = LockFile::try_acquire(&path).unwrap();
        let error = LockFile::acquire(&path, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        let waiting = tokio::spawn(async move {
            LockFile::acquire(&path, Duration::from_secs(20)).await.map(|_| ())
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.unwrap().unwrap();
    }
}

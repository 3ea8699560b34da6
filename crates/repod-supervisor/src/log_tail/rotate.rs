//! Keeping a log small while its writer goes on.
//!
//! The backend holds the file open for its whole life and can't be asked to open another, so the
//! content is copied away and the file emptied. That is safe because it was opened for appending: the
//! next line lands at the new end. Lines written between the last copy and the emptying (some
//! microseconds) are lost; a log may lose a line, a disk must not fill.

use super::read_at_most;
use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const CHUNK: u64 = 256 * 1024;

/// Moves the content of a log larger than `limit` bytes to `<path>.1`, that to `<path>.2` and so on,
/// keeping `keep` of them; says whether it did. With `keep` 0 the content is dropped.
///
/// Blocks while it copies. When that fails (a full disk) the log is as it was.
pub fn rotate_if_larger(path: &Path, limit: u64, keep: u32) -> io::Result<bool> {
    let log = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if log.metadata()?.len() <= limit {
        return Ok(false);
    }
    if keep > 0 {
        let temp = numbered(path, "new");
        if let Err(error) = copy(&log, &temp) {
            let _ = fs_err::remove_file(&temp);
            return Err(error);
        }
        for number in (1..keep).rev() {
            let older = numbered(path, &number.to_string());
            if older.exists() {
                fs_err::rename(older, numbered(path, &(number + 1).to_string()))?;
            }
        }
        fs_err::rename(temp, numbered(path, "1"))?;
    }
    log.set_len(0)?;
    Ok(true)
}

/// Copies until there is nothing more, so that the gap before the emptying is as short as can be.
fn copy(log: &File, to: &Path) -> io::Result<()> {
    let mut copy =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let mut offset = 0;
    loop {
        let bytes = read_at_most(log, offset, CHUNK)?;
        if bytes.is_empty() {
            return Ok(());
        }
        copy.write_all(&bytes)?;
        offset += u64::try_from(bytes.len()).map_err(io::Error::other)?;
    }
}

fn numbered(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_tail::open_for_append;

    #[test]
    fn a_large_log_is_moved_on_and_its_writer_starts_at_the_front() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backend.log");
        assert!(!rotate_if_larger(&path, 3, 2).unwrap(), "no log yet");
        let (mut log, _) = open_for_append(&path).unwrap();
        for text in ["one\n", "two\n", "three\n"] {
            log.write_all(text.as_bytes()).unwrap();
            assert!(rotate_if_larger(&path, 3, 2).unwrap());
        }
        log.write_all(b"4\n").unwrap();
        assert!(!rotate_if_larger(&path, 3, 2).unwrap(), "small enough");
        let read = |name: &str| fs_err::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("backend.log"), "4\n");
        assert_eq!(read("backend.log.1"), "three\n");
        assert_eq!(read("backend.log.2"), "two\n");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 3);
    }
}

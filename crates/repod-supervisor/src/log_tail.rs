//! Reading a backend's log while it is being written.
//!
//! The backend writes straight to the file, so that it needs no daemon to go on; whoever wants to
//! know what it says reads along. A daemon that waits for the ready line of a start begins at the
//! offset the log had before that start, so it can't take an earlier start's line for this one's.

mod follow;
mod rotate;

pub use follow::{LogFollower, MAX_LINE};
pub use rotate::rotate_if_larger;

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Opens (and makes, with mode 0600) a log for appending, and says where its end is now.
pub fn open_for_append(path: &Path) -> io::Result<(std::fs::File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let end = file.metadata()?.len();
    Ok((file.into_parts().0, end))
}

/// The last whole lines of the log, at most `max_bytes` of them, and nothing before `from_offset`
/// (of a log that was rotated since: everything).
///
/// What is not UTF-8 is replaced. A missing file is an empty log.
pub fn tail(path: &Path, max_bytes: u64, from_offset: u64) -> io::Result<String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let end = file.metadata()?.len();
    let first = if from_offset <= end { from_offset } else { 0 };
    let start = end.saturating_sub(max_bytes).max(first);
    let mut bytes = read_at_most(&file, start, end - start)?;
    // A line that was cut at the front says something else than what was written. Whether it was cut
    // shows in the byte before.
    if start > first && read_at_most(&file, start - 1, 1)? != b"\n" {
        let cut = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..cut);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_at_most(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        let at = offset + u64::try_from(filled).map_err(io::Error::other)?;
        match file.file().read_at(&mut bytes[filled..], at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_whole_lines_and_nothing_of_an_earlier_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(tail(&path, 100, 0).unwrap(), "");
        fs_err::write(&path, "first\nsecond\nthirdé\n").unwrap();
        assert_eq!(tail(&path, 100, 0).unwrap(), "first\nsecond\nthirdé\n");
        assert_eq!(tail(&path, 10, 0).unwrap(), "thirdé\n", "`second` was cut");
        assert_eq!(tail(&path, 15, 0).unwrap(), "second\nthirdé\n", "cut just between two lines");
        assert_eq!(tail(&path, 100, 13).unwrap(), "thirdé\n");
        assert_eq!(tail(&path, 100, 9_999).unwrap(), "first\nsecond\nthirdé\n", "rotated since");
        fs_err::write(&path, b"bad \xff\n").unwrap();
        assert_eq!(tail(&path, 100, 0).unwrap(), "bad \u{fffd}\n");
    }
}

//! A log, line by line, as it is written.

use fs_err::File;
use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Longest line handed out, in bytes. The rest of a longer one is dropped: a buffer is bounded.
pub const MAX_LINE: usize = 16 * 1024;

/// How often the file is looked at when the kernel can't tell of changes.
const INTERVAL: Duration = Duration::from_millis(50);

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// Follows a log from an offset on, also when it is truncated by [`rotate_if_larger`].
///
/// [`rotate_if_larger`]: super::rotate_if_larger
#[derive(Debug)]
pub struct LogFollower {
    file: File,
    offset: u64,
    pending: Vec<u8>,
    /// The rest of a line that was too long is being dropped.
    skipping: bool,
    changes: Changes,
}

#[derive(Debug)]
enum Changes {
    Told(EventStream<Vec<u8>>),
    /// A user has 128 inotify instances by default, and editors and agents use them up.
    Looked,
}

impl LogFollower {
    /// Opens an existing log. Needs a tokio runtime.
    pub fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let changes = watch(path).map_or(Changes::Looked, Changes::Told);
        Ok(Self { file, offset, pending: Vec::new(), skipping: false, changes })
    }

    /// The next line, without its end; waits until there is one. Safe to cancel.
    ///
    /// The end of the writer shows nowhere in a file: race this against the process.
    pub async fn next_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(line);
            }
            if !self.fill()? {
                self.changed().await?;
            }
        }
    }

    /// Where the next line starts in the file.
    pub fn offset(&self) -> u64 {
        self.offset.saturating_sub(u64::try_from(self.pending.len()).unwrap_or(u64::MAX))
    }

    fn take_line(&mut self) -> Option<String> {
        loop {
            let end = self.pending.iter().position(|byte| *byte == b'\n');
            if end.is_none() && self.skipping {
                self.pending.clear();
                return None;
            }
            let (length, taken) = match end {
                Some(end) => (end, end + 1),
                None if self.pending.len() >= MAX_LINE => (MAX_LINE, MAX_LINE),
                None => return None,
            };
            let was_skipping = std::mem::replace(&mut self.skipping, end.is_none());
            let line: Vec<u8> = self.pending.drain(..taken).take(length.min(MAX_LINE)).collect();
            if !was_skipping {
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                return Some(String::from_utf8_lossy(line).into_owned());
            }
        }
    }

    /// Reads on; `false` at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.offset {
            (self.offset, self.skipping) = (0, false);
            self.pending.clear();
        }
        let mut chunk = [0; CHUNK];
        let read = self.file.file().read_at(&mut chunk, self.offset)?;
        self.offset += u64::try_from(read).map_err(io::Error::other)?;
        self.pending.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }

    async fn changed(&mut self) -> io::Result<()> {
        match &mut self.changes {
            Changes::Told(events) => match events.next().await {
                Some(event) => event.map(|_| ()),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            },
            Changes::Looked => {
                tokio::time::sleep(INTERVAL).await;
                Ok(())
            }
        }
    }
}

fn watch(path: &Path) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    inotify.watches().add(path, WatchMask::MODIFY)?;
    inotify.into_event_stream(vec![0; 1024])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_tail::{open_for_append, rotate_if_larger};
    use std::io::Write;
    use tokio::time::timeout;

    const BOUND: Duration = Duration::from_secs(20);

    async fn next(follower: &mut LogFollower) -> String {
        timeout(BOUND, follower.next_line()).await.expect("a line in time").unwrap()
    }

    async fn follows_what_is_written_after_the_offset(look: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, "ready (an earlier start)\n").unwrap();
        let (mut log, end) = open_for_append(&path).unwrap();
        let mut follower = LogFollower::open(&path, end).unwrap();
        if look {
            follower.changes = Changes::Looked;
        }
        log.write_all(b"one\ntw").unwrap();
        assert_eq!(next(&mut follower).await, "one");
        assert_eq!(follower.offset(), end + 4);
        // Half a line is not handed out, and the wait for its other half may be cancelled.
        timeout(Duration::from_millis(20), follower.next_line()).await.unwrap_err();
        log.write_all(b"o\r\n").unwrap();
        assert_eq!(next(&mut follower).await, "two");

        assert!(rotate_if_larger(&path, 1, 1).unwrap());
        log.write_all(b"new\n").unwrap();
        assert_eq!(next(&mut follower).await, "new", "goes on after a rotation");
    }

    #[tokio::test]
    async fn lines_are_followed_by_events() {
        follows_what_is_written_after_the_offset(false).await;
    }

    #[tokio::test]
    async fn lines_are_followed_without_inotify_too() {
        follows_what_is_written_after_the_offset(true).await;
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_and_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, format!("{}\nshort\n", "x".repeat(5 * MAX_LINE))).unwrap();
        let mut follower = LogFollower::open(&path, 0).unwrap();
        assert_eq!(next(&mut follower).await.len(), MAX_LINE);
        assert_eq!(next(&mut follower).await, "short");
    }
}

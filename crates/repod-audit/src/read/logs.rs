//! What OpenCode's own logs say of contention. Only the last part of each is read.

use super::distinct;
use crate::snapshot::Snapshot;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a log is looked at. OpenCode's is one file that only grows.
const TAIL: u64 = 256 * 1024;
/// How long a quoted line may be.
const LINE: usize = 300;

pub(super) fn read(snapshot: &mut Snapshot) {
    let logs =
        snapshot.opencode().filter_map(|p| Some(p.homes.as_ref()?.data.0.join("log/opencode.log")));
    for log in distinct(logs) {
        let failure = tail(&log).and_then(|text| {
            text.lines().rfind(|line| line.contains("database is locked")).map(str::to_owned)
        });
        if let Some(line) = failure {
            snapshot.lock_failures.push((log, line.chars().take(LINE).collect()));
        }
    }
}

fn tail(path: &Path) -> Option<String> {
    let mut file = fs_err::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

//! What OpenCode's own logs say of contention. Only the last part of each is read.

use super::{distinct, tail};
use crate::snapshot::Snapshot;
use std::time::Duration;

/// How much of a log is looked at. OpenCode's is one file that only grows.
const TAIL: u64 = 256 * 1024;
/// How long a quoted line may be.
const LINE: usize = 300;
/// How long ago it may have been said: later it says nothing of today.
const WINDOW: Duration = Duration::from_hours(1);

pub(super) fn read(snapshot: &mut Snapshot) {
    // A client of a server has no database, though it is started with a data directory.
    let backends = snapshot.backends().map(|(process, _)| process);
    let logs = snapshot.plain().chain(backends);
    let logs = logs.filter_map(|p| Some(p.homes.as_ref()?.data.0.join("log/opencode.log")));
    let since = jiff::Timestamp::now().checked_sub(WINDOW).unwrap_or_default().to_string();
    for log in distinct(logs) {
        let text = tail(&log, TAIL).unwrap_or_default();
        if let Some(line) = last_failure(&text, &since) {
            snapshot.lock_failures.push((log, line.chars().take(LINE).collect()));
        }
    }
}

/// The last line that tells of a locked database and was written since then (RFC 3339, in UTC). A line
/// without a time is as old as the one before it.
fn last_failure<'a>(text: &'a str, since: &str) -> Option<&'a str> {
    let mut at = "";
    let mut last = None;
    for line in text.lines() {
        at = line
            .strip_prefix("timestamp=")
            .map_or(at, |rest| rest.split(' ').next().unwrap_or_default());
        if at >= since && line.contains("database is locked") {
            last = Some(line);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_lately_counts() {
        let text = "cut off: database is locked\n\
                    timestamp=2026-11-28T08:00:00.000Z level=ERROR message=\"database is locked\" n=1\n\
                    timestamp=2026-11-28T09:30:00.000Z level=ERROR message=failed\n\
                    \x20 cause: database is locked\n\
                    timestamp=2026-11-28T09:31:00.000Z level=INFO message=fine\n";
        let last = |since| last_failure(text, since);
        assert_eq!(last("2026-11-28T07:00:00Z"), Some("  cause: database is locked"));
        assert_eq!(last("2026-11-28T09:30:00.000Z"), Some("  cause: database is locked"));
        assert_eq!(last("2026-11-28T09:31:00Z"), None);
    }
}

//! What logs say of contention. Only the last part of each is read.
//!
//! OpenCode's own tell of locked databases. That a port was taken it says where it was started alone
//! (1.18.33: `ServeError`); of backends that is repod's `backend.log`.

use super::{distinct, tail};
use crate::snapshot::Snapshot;
use std::path::PathBuf;
use std::time::Duration;

/// How much of a log is looked at. OpenCode's is one file that only grows.
const TAIL: u64 = 256 * 1024;
/// How long a quoted line may be.
const LINE: usize = 300;
/// How long ago it may have been said: later it says nothing of today.
const WINDOW: Duration = Duration::from_hours(1);
/// What repod writes before the output of each start.
const START: &str = "--- repod: generation ";

pub(super) fn read(snapshot: &mut Snapshot) {
    // A client of a server has no database, though it is started with a data directory.
    let backends = snapshot.backends().map(|(process, _)| process);
    let logs = snapshot.plain().chain(backends);
    let logs = logs.filter_map(|p| Some(p.homes.as_ref()?.data.0.join("log/opencode.log")));
    let since = jiff::Timestamp::now().checked_sub(WINDOW).unwrap_or_default().to_string();
    for log in distinct(logs) {
        let text = tail(&log, TAIL).unwrap_or_default();
        let last = |is_it: fn(&str) -> bool| last_failure(&text, &since, opencodes, is_it);
        let locked = last(is_lock_failure).map(|line| (log.clone(), quoted(line)));
        let taken = last(is_port_failure).map(|line| (log.clone(), quoted(line)));
        snapshot.lock_failures.extend(locked);
        snapshot.port_failures.extend(taken);
    }
    for (log, lives) in outputs(snapshot) {
        let text = tail(&log, TAIL).unwrap_or_default();
        if let Some(line) = port_lost(&text, &since, lives) {
            snapshot.port_failures.push((log, quoted(line)));
        }
    }
}

/// The output of each repo's backends, and whether the last of them lives.
fn outputs(snapshot: &Snapshot) -> Vec<(PathBuf, bool)> {
    let all = snapshot.records.iter().filter_map(|record| {
        let lives = record.backend.as_ref().is_some_and(|backend| snapshot.lives(backend));
        Some((record.file.parent()?.join("log/backend.log"), lives))
    });
    all.collect()
}

/// Where a start failed for its port. One that was followed by a good one is settled: repod takes another
/// port by itself.
fn port_lost<'a>(output: &'a str, since: &str, lives: bool) -> Option<&'a str> {
    let from = if lives { output.rfind(START).unwrap_or(0) } else { 0 };
    last_failure(output.get(from..)?, since, starts, is_port_failure)
}

fn quoted(line: &str) -> String {
    line.trim().chars().take(LINE).collect()
}

/// The time of a line of OpenCode's log.
fn opencodes(line: &str) -> Option<&str> {
    line.strip_prefix("timestamp=").map(|rest| rest.split(' ').next().unwrap_or_default())
}

/// The time of a line with which repod begins a start.
fn starts(line: &str) -> Option<&str> {
    line.strip_prefix(START)?.split_once(" starts at ").map(|(_, at)| at)
}

fn is_lock_failure(line: &str) -> bool {
    line.contains("database is locked")
}

/// OpenCode's own word for it, the kernel's, and Bun's.
fn is_port_failure(line: &str) -> bool {
    line.trim() == "ServeError"
        || line.contains("EADDRINUSE")
        || (line.contains("Failed to start server") && line.contains("Is port"))
}

/// The last line that tells of it and was written since then (RFC 3339, in UTC). A line without a time is as
/// old as the one before it.
fn last_failure<'a>(
    text: &'a str,
    since: &str,
    time: impl Fn(&'a str) -> Option<&'a str>,
    is_it: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let mut at = "";
    let mut last = None;
    for line in text.lines() {
        at = time(line).unwrap_or(at);
        if at >= since && is_it(line) {
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
        let last = |since| last_failure(text, since, opencodes, is_lock_failure);
        assert_eq!(last("2026-11-28T07:00:00Z"), Some("  cause: database is locked"));
        assert_eq!(last("2026-11-28T09:30:00.000Z"), Some("  cause: database is locked"));
        assert_eq!(last("2026-11-28T09:31:00Z"), None);
    }

    #[test]
    fn a_port_that_was_lost_counts_until_a_start_has_another() {
        let text = "ServeError\n\
                    --- repod: generation 3 starts at 2026-11-28T08:00:00Z\n\
                    Error: Unexpected error\n\nServeError\n\
                    --- repod: generation 4 starts at 2026-11-28T09:00:00Z\n\
                    opencode server listening on http://127.0.0.1:40001\n";
        let lost = |since, lives| port_lost(text, since, lives);
        assert_eq!(lost("2026-11-28T07:30:00Z", false), Some("ServeError"));
        assert_eq!(lost("2026-11-28T07:30:00Z", true), None, "generation 4 lives");
        assert_eq!(lost("2026-11-28T08:30:00Z", false), None, "too long ago");
    }

    #[test]
    fn a_port_that_is_taken_has_three_names() {
        for (line, is_one) in [
            ("ServeError", true),
            ("Error: listen EADDRINUSE: address already in use 127.0.0.1:4096", true),
            ("Failed to start server. Is port 4096 in use?", true),
            ("Failed to start server. Is it there?", false),
            ("a ServeError of yours", false),
        ] {
            assert_eq!(is_port_failure(line), is_one, "{line}");
        }
    }
}

//! What one turn has told, in memory while it runs: numbered lines, a bounded number of them. Followers
//! read here; what is older than the oldest is on record. Nothing here waits for a database.
//!
//! A line is given out when it is on record, so that the daemon's successor never gives its number to
//! another line, nor tells it again: what was not on record, nobody has seen.

use bytes::Bytes;
use repod_proto::TurnLine;
use repod_proto::agent::AgentEvent;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Lines held, and their bytes; the newest is held whatever it takes.
const LINES_MAX: usize = 5000;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines given out in one go.
const CHUNK: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct TurnLog {
    lines: Mutex<Lines>,
    /// The number the next line will have.
    next: watch::Sender<u64>,
    /// The number of the first line that can't be had yet.
    shown: watch::Sender<u64>,
}

#[derive(Debug)]
struct Lines {
    /// The number of the first line held.
    first: u64,
    held: VecDeque<Bytes>,
    bytes: usize,
    /// The first that isn't on record.
    unsaved: u64,
    /// There is no record to wait for: it fails, or there is none.
    is_unrecorded: bool,
    is_closed: bool,
    /// The last word on whether it waits for a person.
    is_waiting: bool,
    watcher: Option<Watcher>,
}

/// Sees each event before it is told, and may change it or leave it out.
type Watcher = super::retold::Retold;

/// What of a log can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Had {
    /// These lines, with their numbers.
    Lines(Vec<(u64, Bytes)>),
    /// The next line wanted is only on record.
    Older,
    /// There is nothing yet.
    Nothing,
    /// There will be nothing more.
    End,
}

impl TurnLog {
    /// A log whose next line has this number.
    pub(crate) fn new(next: u64) -> Self {
        let lines = Lines {
            first: next,
            held: VecDeque::new(),
            bytes: 0,
            unsaved: next,
            is_unrecorded: false,
            is_closed: false,
            is_waiting: false,
            watcher: None,
        };
        let (next, shown) = (watch::Sender::new(next), watch::Sender::new(next));
        Self { lines: Mutex::new(lines), next, shown }
    }

    /// Leaves out of what is told from now on what was told before.
    pub(crate) fn retell(&self, watcher: Watcher) {
        self.lines().watcher = Some(watcher);
    }

    /// Tells something.
    pub(crate) fn tell(&self, event: AgentEvent) {
        let mut lines = self.lines();
        let event = match &mut lines.watcher {
            Some(watcher) => watcher.filter(event),
            None => Some(event),
        };
        let Some(event) = event else { return };
        if lines.is_closed {
            return;
        }
        if let AgentEvent::Turn(end) = &event {
            lines.is_waiting = end.outcome == repod_proto::agent::TurnOutcome::Waiting;
        } else if matches!(event, AgentEvent::Answered { .. }) {
            lines.is_waiting = false;
        }
        let id = lines.next();
        // Plain data of ours, which always serialises.
        let Ok(line) = serde_json::to_vec(&TurnLine { id, event }) else { return };
        lines.push(Bytes::from(line));
        self.next.send_replace(id + 1);
        self.show(&lines);
    }

    /// The last line was told.
    pub(crate) fn close(&self) {
        let mut lines = self.lines();
        lines.is_closed = true;
        self.next.send_replace(lines.next());
        self.show(&lines);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lines().is_closed
    }

    /// The number of the oldest line at hand.
    pub(crate) fn first(&self) -> u64 {
        self.lines().first
    }

    /// Whether the turn stands still until a person answers.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lines().is_waiting
    }

    /// Lines with numbers above `after`.
    pub(crate) fn after(&self, after: u64) -> Had {
        let lines = self.lines();
        let (wanted, shown) = (after.saturating_add(1), lines.shown());
        if wanted >= shown {
            let is_end = lines.is_closed && shown == lines.next();
            return if is_end { Had::End } else { Had::Nothing };
        }
        if wanted < lines.first {
            return Had::Older;
        }
        let skipped = usize::try_from(wanted - lines.first).unwrap_or(usize::MAX);
        let numbered = (wanted..shown).zip(lines.held.iter().skip(skipped).cloned());
        Had::Lines(numbered.take(CHUNK).collect())
    }

    /// The last line of all.
    pub(crate) fn last(&self) -> Option<(u64, Bytes)> {
        let lines = self.lines();
        lines.held.back().map(|line| (lines.next() - 1, line.clone()))
    }

    /// Changes when more can be had, and at the end.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shown.subscribe()
    }

    /// Changes with each line told, and at the end.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// What is to be put on record: the number of the first line, and the lines.
    pub(super) fn unsaved(&self) -> (u64, Vec<Vec<u8>>) {
        let lines = self.lines();
        let first = lines.unsaved.max(lines.first);
        let skipped = usize::try_from(first - lines.first).unwrap_or(usize::MAX);
        (first, lines.held.iter().skip(skipped).take(CHUNK).map(|line| line.to_vec()).collect())
    }

    /// Lines before this one are on record.
    pub(super) fn saved(&self, next: u64) {
        let mut lines = self.lines();
        lines.unsaved = lines.unsaved.max(next);
        lines.is_unrecorded = false;
        self.show(&lines);
    }

    /// The record can't be had now: those who follow don't wait for it.
    pub(super) fn unrecorded(&self) {
        let mut lines = self.lines();
        lines.is_unrecorded = true;
        self.show(&lines);
    }

    fn show(&self, lines: &Lines) {
        self.shown.send_replace(lines.shown());
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn next(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    /// The first that isn't given out.
    fn shown(&self) -> u64 {
        if self.is_unrecorded { self.next() } else { self.unsaved.max(self.first) }
    }

    fn push(&mut self, line: Bytes) {
        self.bytes += line.len();
        self.held.push_back(line);
        while self.held.len() > 1 && (self.held.len() > LINES_MAX || self.bytes > BYTES_MAX) {
            let gone = self.held.pop_front();
            self.bytes -= gone.map_or(0, |line| line.len());
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repod_proto::agent::Chunk;

    fn text(text: &str) -> AgentEvent {
        AgentEvent::Text(Chunk { text: text.into(), ..Chunk::default() })
    }

    #[test]
    fn nobody_sees_what_is_not_on_record_unless_there_is_none() {
        let log = TurnLog::new(1);
        let mut changes = log.changes();
        log.tell(text("a"));
        log.tell(text("b"));
        log.close();
        assert_eq!(log.after(0), Had::Nothing);
        log.saved(2);
        assert!(changes.has_changed().unwrap());
        let Had::Lines(lines) = log.after(0) else { panic!("there is one") };
        assert_eq!((lines.len(), log.after(1)), (1, Had::Nothing));
        log.unrecorded();
        assert!(matches!(log.after(1), Had::Lines(_)));
        assert_eq!(log.after(2), Had::End);
        changes.mark_unchanged();
        log.saved(3);
        assert_eq!((log.after(2), log.last().unwrap().0), (Had::End, 2));
    }

    #[test]
    fn lines_are_numbered_and_can_be_had_from_any_point_on() {
        let log = TurnLog::new(7);
        log.tell(text("a"));
        log.tell(text("b"));
        log.saved(9);
        let Had::Lines(lines) = log.after(7) else { panic!("there is one") };
        assert_eq!(lines[0].0, 8);
        let line: TurnLine = serde_json::from_slice(&lines[0].1).unwrap();
        assert_eq!((line.id, line.event), (8, text("b")));
        assert_eq!((log.after(8), log.after(3)), (Had::Nothing, Had::Older));
        log.close();
        log.tell(text("late"));
        assert_eq!(log.after(8), Had::End);
    }

    #[test]
    fn what_is_held_is_bounded_and_what_isnt_on_record_is_told_once() {
        let log = TurnLog::new(1);
        (0..LINES_MAX + 10).for_each(|_| log.tell(text("x")));
        let (first, lines) = log.unsaved();
        assert_eq!((first, lines.len()), (11, CHUNK));
        log.saved(first + lines.len() as u64);
        assert_eq!(log.unsaved().0, 11 + CHUNK as u64);
        assert_eq!(log.after(3), Had::Older);
        log.tell(text(&"y".repeat(BYTES_MAX + 1)));
        assert_eq!(log.lines().held.len(), 1);
    }
}

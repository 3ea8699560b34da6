//! The last events of a hub. It is the queue of all readers at once: each has a place in it, so
//! that a reader costs the same whether it is quick or slow, and a lost connection can go on.

use super::Limits;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Instant;

/// Bytes kept for nobody: what a program that comes back after a minute may still want.
const LONELY_BYTES: usize = 128 * 1024;

/// One event, as it goes to every reader.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) directory: Option<Box<str>>,
    /// `sync` copies go to readers of all directories only, as OpenCode does it.
    pub(super) is_sync: bool,
    /// Whether the database has it as well: to be told of it again changes nothing.
    pub(super) is_durable: bool,
    /// `id:` and the whole event.
    frame: Bytes,
    /// Where in `frame` the payload is.
    payload: Range<usize>,
    /// `id:` and the payload alone, made when the first reader wants it.
    unwrapped: OnceLock<Bytes>,
    at: Instant,
}

impl Logged {
    pub(super) fn new(
        directory: Option<Box<str>>,
        is_sync: bool,
        frame: Bytes,
        payload: Range<usize>,
    ) -> Self {
        let at = Instant::now();
        Self {
            directory,
            is_sync,
            is_durable: is_sync,
            frame,
            payload,
            unwrapped: OnceLock::new(),
            at,
        }
    }

    pub(super) fn whole(&self) -> Bytes {
        self.frame.clone()
    }

    pub(super) fn unwrapped(&self, id: &str) -> Bytes {
        let make = || super::sse::encode(id, &self.frame[self.payload.clone()]);
        self.unwrapped.get_or_init(make).clone()
    }

    /// What it may come to hold.
    fn weight(&self) -> usize {
        let text = self.frame.len() + self.payload.len();
        text + self.directory.as_ref().map_or(0, |directory| directory.len()) + size_of::<Self>()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Logged>,
    /// The number of the first event held; numbers begin at 1.
    first: u64,
    bytes: usize,
    limits: Limits,
}

impl Ring {
    pub(super) fn new(limits: Limits) -> Self {
        Self { events: VecDeque::new(), first: 1, bytes: 0, limits }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, number: u64) -> Option<&Logged> {
        let at = number.checked_sub(self.first)?;
        self.events.get(usize::try_from(at).ok()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Logged)> {
        (self.first..).zip(&self.events)
    }

    /// Notes that this event, if it is still held, is a durable one.
    pub(super) fn set_durable(&mut self, number: u64) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(event) = at.and_then(|at| self.events.get_mut(at)) {
            event.is_durable = true;
        }
    }

    pub(super) fn push(&mut self, event: Logged) {
        self.bytes += event.weight();
        self.events.push_back(event);
    }

    /// Takes out the oldest if there is more than the limits allow, or if it is too old; to be
    /// asked until there is none. The newest stays, whatever its size, until it is too old. While
    /// nobody reads (`lonely`) little is kept.
    pub(super) fn let_go(&mut self, lonely: bool) -> Option<(u64, Logged)> {
        let oldest = self.events.front()?;
        let bytes_max = if lonely { LONELY_BYTES } else { usize::MAX }.min(self.limits.ring_bytes);
        let too_many = self.events.len() > self.limits.ring_events || self.bytes > bytes_max;
        let too_old = oldest.at.elapsed() > self.limits.ring_age;
        if !too_old && (!too_many || self.events.len() == 1) {
            return None;
        }
        let event = self.events.pop_front()?;
        self.bytes -= event.weight();
        self.first += 1;
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        Some((self.first - 1, event))
    }
}

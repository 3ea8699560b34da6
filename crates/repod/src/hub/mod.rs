//! The event hub of one repo: one stream of events from its backend, any number of readers.
//!
//! ```text
//!  backend ──/global/event──► pump ──► core { ring, track } ──► Reader, Reader, …
//!     ▲                         │
//!     └──── gap: history, repair ┘      (when a generation or a stream ended)
//! ```
//!
//! A reader's stream outlives the backend: what the next generation knows of the time between is
//! fetched, and turns that died are told to have ended. Readers share the ring: each is a number
//! in it, so a slow one costs nothing and is cut when the ring has moved past it.
//!
//! A stream here differs from OpenCode's own in two ways: events have an `id:`, and `/event` does
//! not end with `server.instance.disposed`.

mod core;
mod doing;
mod gap;
mod noted;
mod open;
mod pace;
mod pump;
mod reader;
mod repair;
mod ring;
mod sse;
mod taps;
#[cfg(test)]
mod tests;
mod track;

pub(crate) use noted::Noted;
pub(crate) use reader::{CutSignal, Reader};
pub(crate) use taps::{Tap, Tapped};

use self::core::Core;
use repod_proto::SessionActivity;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A backend that is there. One that is merely slow should stay named: when its generation is
/// followed by another one, its turns are told to have died.
#[derive(Clone)]
pub(crate) struct Upstream {
    /// Which one it is: the same number means the same process.
    pub(crate) generation: u64,
    pub(crate) port: u16,
    pub(crate) password: String,
    /// Whether it has just been started: then there is nothing it has been doing.
    pub(crate) fresh: bool,
    /// Since when readers may have missed what it did, because another daemon served them then.
    /// Milliseconds since 1970; `None` when nobody can have.
    pub(crate) missed_since: Option<u64>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, port, .. } = self;
        write!(f, "Upstream {{ generation: {generation}, port: {port}, .. }}")
    }
}

/// What a reader wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Everything, as `/global/event` has it.
    Global,
    /// One directory, as `/event` has it. Compared as text, like OpenCode does it; a trailing
    /// slash is left out.
    Directory(String),
}

/// Where the hub stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Events kept, which is how far a reader may fall behind and how far back it may go on.
    pub(crate) ring_events: usize,
    /// The same in bytes.
    pub(crate) ring_bytes: usize,
    /// The same in time.
    pub(crate) ring_age: Duration,
    /// Largest event taken from a backend.
    pub(crate) event_bytes: usize,
    /// How often each reader gets a heartbeat.
    pub(crate) heartbeat: Duration,
    /// How long a backend may take to begin its stream.
    pub(crate) connect: Duration,
    /// How long, after a daemon died, its readers may take to come back. They don't say what they
    /// have seen (OpenCode's terminal comes without `Last-Event-ID`, up to 30 s later).
    pub(crate) welcome: Duration,
    /// How long what happened in a gap is asked for, before readers go on without it.
    pub(crate) gap: Duration,
    /// How long a stream lasts before it is broken off, in tests.
    pub(crate) stream: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_events: 16 * 1024,
            ring_bytes: 8 * 1024 * 1024,
            ring_age: Duration::from_mins(10),
            event_bytes: 16 * 1024 * 1024,
            heartbeat: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            welcome: Duration::from_secs(45),
            gap: Duration::from_secs(8),
            stream: crate::fault::stream_life(),
        }
    }
}

/// What the events say of the backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    /// Whether anything is known: a hub that was never subscribed to has asked nobody. Unknown is
    /// not idle.
    pub(crate) known: bool,
    /// Sessions with a turn in flight.
    pub(crate) busy: Vec<String>,
    /// Permissions that wait for a person.
    pub(crate) permissions: usize,
    /// Questions that wait for a person.
    pub(crate) questions: usize,
    /// Terminals that run in it.
    pub(crate) terminals: usize,
    /// When the last event came; heartbeats are none.
    pub(crate) last_event: Option<Instant>,
    /// Readers there are now.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the metrics"))]
    pub(crate) readers: usize,
}

/// What the hub has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events given out.
    pub(crate) events: u64,
    /// Events that had been given out already.
    pub(crate) duplicates: u64,
    /// Events too large, or no events.
    pub(crate) malformed: u64,
    /// Readers that fell too far behind.
    pub(crate) cut: u64,
    /// Streams opened to backends.
    pub(crate) streams: u64,
    /// Turns told to have ended because their backend had.
    pub(crate) interrupted: u64,
    /// Gaps that could not be closed.
    pub(crate) lost: u64,
}

/// See the module. Cheap to clone; the last one dropped ends its readers.
#[derive(Clone)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

/// What readers, pump and hub have in common.
struct Shared {
    core: Mutex<Core>,
    /// Becomes true with the first reader.
    wanted: watch::Sender<bool>,
    /// The generation whose events are heard, while they are.
    heard: watch::Sender<Option<u64>>,
}

struct Tasks {
    shared: Arc<Shared>,
    running: [JoinHandle<()>; 2],
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
        self.shared.with(Core::close);
    }
}

impl Shared {
    /// Does something to the core, and wakes whom it concerns when the lock is free again.
    fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut core);
        let wakers = core.take_wakers();
        drop(core);
        wakers.into_iter().for_each(std::task::Waker::wake);
        done
    }
}

impl Hub {
    /// A hub that follows whatever backend `upstream` names. Must be called within the runtime.
    pub(crate) fn new(upstream: watch::Receiver<Option<Upstream>>, limits: Limits) -> Self {
        let core = Mutex::new(Core::new(limits));
        let shared = Arc::new(Shared {
            core,
            wanted: watch::Sender::new(false),
            heard: watch::Sender::new(None),
        });
        let running = [
            tokio::spawn(pump::run(Arc::clone(&shared), upstream, limits)),
            tokio::spawn(pump::beat(Arc::clone(&shared), limits.heartbeat)),
        ];
        let tasks = Arc::new(Tasks { shared: Arc::clone(&shared), running });
        Self { shared, _tasks: tasks }
    }

    /// The events from now on, or from behind `last_event_id` where they are still held.
    pub(crate) fn subscribe(&self, filter: Filter, last_event_id: Option<&str>) -> Reader {
        let reader = Reader::new(&self.shared, filter, last_event_id);
        self.shared.wanted.send_replace(true);
        reader
    }

    /// Gives an event of the daemon's own to every reader, as `/global/event` has them.
    pub(crate) fn tell(&self, event: impl Into<bytes::Bytes>) {
        let event = event.into();
        self.shared.with(|core| core.publish(event));
    }

    /// Tells one listener in the daemon what happens to sessions.
    pub(crate) fn tap(&self, tap: mpsc::Sender<Noted>) {
        self.shared.with(|core| core.tap = Some(tap));
    }

    /// The raw events of one session and its subagents, from now on.
    pub(crate) fn tap_session(&self, session: &str) -> Tap {
        self.shared.wanted.send_replace(true);
        Tap::new(&self.shared, session)
    }

    /// Whether a session is another one, or a subagent of it.
    pub(crate) fn is_kin(&self, session: &str, root: &str) -> bool {
        self.shared.with(|core| core.taps.is_kin(session, root))
    }

    /// What goes on in a directory that would end with its instance.
    pub(crate) fn is_busy_in(&self, directory: &str) -> bool {
        self.shared.with(|core| !core.stand.known || core.track.is_busy_in(directory))
    }

    /// Follows the backend even without a reader, for [`activity`](Self::activity).
    pub(crate) fn follow(&self) {
        self.shared.wanted.send_replace(true);
    }

    /// Returns when the events of this generation are heard, or those of a later one.
    pub(crate) async fn heard(&self, generation: u64) {
        let mut heard = self.shared.heard.subscribe();
        let _ = heard.wait_for(|heard| heard.is_some_and(|heard| heard >= generation)).await;
    }

    /// What is known of the backend.
    pub(crate) fn activity(&self) -> Activity {
        self.shared.with(|core| core.activity())
    }

    /// What the most urgent sessions do, so many at most, and how many more are known.
    pub(crate) fn doing(&self, most: usize) -> (Vec<SessionActivity>, u64) {
        self.shared.with(|core| core.doing(most))
    }

    /// Readers there are now.
    pub(crate) fn readers(&self) -> usize {
        self.shared.with(|core| core.readers())
    }

    /// Events given out in the last 10 seconds.
    pub(crate) fn recent_events(&self) -> u64 {
        self.shared.with(|core| core.pace.recent())
    }

    /// What happened so far.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.with(|core| core.counts)
    }
}

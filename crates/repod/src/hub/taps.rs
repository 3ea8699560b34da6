//! Raw events of single sessions, for the daemon's own engine: a queue for each, bounded. One that
//! overflows is emptied and says that something was missed, and so does every stream that begins anew:
//! whoever reads it asks the backend then. The events of a session's subagents come with its own.

use super::Shared;
use super::core::Core;
use bytes::Bytes;
use repod_opencode::v1_18::agent::{Incoming, Kin};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Events that wait for one reader, and their bytes.
const EVENTS_MAX: usize = 8 * 1024;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Something for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tapped {
    /// An event as `/global/event` has it.
    Event(Bytes),
    /// Events before this point may be missing.
    Missed,
}

/// The events of one session from the moment this was made. Dropping it ends them.
pub(crate) struct Tap {
    shared: Arc<Shared>,
    session: String,
    queue: Arc<Queue>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("session", &self.session).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Tapped>,
    bytes: usize,
    ended: bool,
}

/// All taps of a hub.
#[derive(Debug, Default)]
pub(super) struct Taps {
    queues: HashMap<String, Vec<Arc<Queue>>>,
    kin: Kin,
}

impl Queue {
    fn push(&self, data: Bytes) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += data.len();
        waiting.items.push_back(Tapped::Event(data));
        if waiting.items.len() > EVENTS_MAX || waiting.bytes > BYTES_MAX {
            waiting.items.clear();
            waiting.bytes = 0;
            waiting.items.push_back(Tapped::Missed);
        }
        drop(waiting);
        self.came.notify_one();
    }

    fn missed(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.items.back() != Some(&Tapped::Missed) {
            waiting.items.push_back(Tapped::Missed);
        }
        drop(waiting);
        self.came.notify_one();
    }

    fn end(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.came.notify_one();
    }

    /// The next, or whether there will be none.
    fn take(&self) -> Result<Option<Tapped>, ()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.items.pop_front() {
            Some(Tapped::Event(data)) => {
                waiting.bytes -= data.len();
                Ok(Some(Tapped::Event(data)))
            }
            Some(Tapped::Missed) => Ok(Some(Tapped::Missed)),
            None if waiting.ended => Err(()),
            None => Ok(None),
        }
    }
}

impl Taps {
    /// Gives an event to whom it concerns.
    pub(super) fn offer(&mut self, data: &Bytes) {
        if self.queues.is_empty() {
            return;
        }
        let Some(event) = Incoming::read(data) else { return };
        self.kin.note(&event);
        if let Some(queues) = self.queues.get(self.kin.root(event.session())) {
            queues.iter().for_each(|queue| queue.push(data.clone()));
        }
    }

    pub(super) fn is_kin(&self, session: &str, root: &str) -> bool {
        self.kin.root(session) == root
    }

    /// Something may have been missed, whosever it was.
    pub(super) fn missed(&self) {
        self.queues.values().flatten().for_each(|queue| queue.missed());
    }

    pub(super) fn close(&mut self) {
        std::mem::take(&mut self.queues).values().flatten().for_each(|queue| queue.end());
    }
}

impl Tap {
    pub(super) fn new(shared: &Arc<Shared>, session: &str) -> Self {
        let queue = Arc::<Queue>::default();
        shared.with(|core| {
            let queues = core.taps.queues.entry(session.to_owned()).or_default();
            queues.push(Arc::clone(&queue));
        });
        Self { shared: Arc::clone(shared), session: session.to_owned(), queue }
    }

    /// The next event; `None` when the hub is gone. Nothing is lost when this is dropped.
    pub(crate) async fn next(&mut self) -> Option<Tapped> {
        loop {
            match self.queue.take() {
                Ok(Some(item)) => return Some(item),
                Err(()) => return None,
                Ok(None) => self.queue.came.notified().await,
            }
        }
    }

    /// Whether a session is this one's subagent, at whatever depth.
    pub(crate) fn is_kin(&self, session: &str) -> bool {
        self.shared.with(|core| core.taps.is_kin(session, &self.session))
    }

    /// Learns of a subagent that was there before anybody listened.
    pub(crate) fn child(&self, child: &str, parent: &str) {
        self.shared.with(|core| core.taps.kin.child(child, parent));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.with(|core: &mut Core| {
            let Some(queues) = core.taps.queues.get_mut(&self.session) else { return };
            queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
            if queues.is_empty() {
                core.taps.queues.remove(&self.session);
            }
            if core.taps.queues.is_empty() {
                core.taps = Taps::default();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Limits;
    use tokio::sync::watch;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            core: Mutex::new(Core::new(Limits::default())),
            wanted: watch::Sender::new(false),
            heard: watch::Sender::new(None),
        })
    }

    fn idle(session: &str, id: u32) -> Bytes {
        let text = format!(
            r#"{{"directory":"/r","payload":{{"id":"evt_{id}","type":"session.idle","properties":{{"sessionID":"{session}"}}}}}}"#
        );
        Bytes::from(text)
    }

    #[tokio::test]
    async fn a_tap_has_its_own_session_s_events_and_those_of_its_subagents() {
        let shared = shared();
        let mut one = Tap::new(&shared, "ses_1");
        let mut two = Tap::new(&shared, "ses_2");
        let child = r#"{"directory":"/r","payload":{"id":"evt_9","type":"session.created","properties":{"sessionID":"ses_3","info":{"id":"ses_3","parentID":"ses_1"}}}}"#;
        shared.with(|core| {
            for event in [child.into(), idle("ses_2", 1), idle("ses_3", 2), idle("ses_4", 3)] {
                core.publish(event);
            }
        });
        assert_eq!(one.next().await, Some(Tapped::Event(child.into())));
        assert_eq!(one.next().await, Some(Tapped::Event(idle("ses_3", 2))));
        assert_eq!(two.next().await, Some(Tapped::Event(idle("ses_2", 1))));
        assert!(one.is_kin("ses_3") && !one.is_kin("ses_4") && !two.is_kin("ses_3"));
        shared.with(|core| core.taps.missed());
        assert_eq!(two.next().await, Some(Tapped::Missed));
        drop(one);
        assert_eq!(shared.with(|core| core.taps.queues.len()), 1);
        shared.with(Core::close);
        assert_eq!(two.next().await, None);
    }

    #[tokio::test]
    async fn one_that_nobody_reads_is_bounded_and_says_what_is_missing() {
        let shared = shared();
        let mut tap = Tap::new(&shared, "ses_1");
        let all = u32::try_from(EVENTS_MAX).unwrap() + 10;
        shared.with(|core| (0..all).for_each(|n| core.publish(idle("ses_1", n))));
        assert_eq!(tap.next().await, Some(Tapped::Missed));
        for n in 0..9 {
            let number = u32::try_from(EVENTS_MAX).unwrap() + 1 + n;
            assert_eq!(tap.next().await, Some(Tapped::Event(idle("ses_1", number))));
        }
        assert_eq!(tap.queue.waiting.lock().unwrap().bytes, 0);
    }
}

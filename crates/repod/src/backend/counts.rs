//! What has become of a repo's backends since this daemon manages it: counted by the one task that
//! owns them, read by the metrics.

use crate::tally::{Label, label};
use repod_proto::{BackendState, Generation};
use repod_supervisor::lifecycle::Event;
use std::sync::atomic::{AtomicU64, Ordering};

label! {
    /// Why a backend was started in the place of another.
    Restart, "reason":
    /// It had ended by itself.
    Crashed = "crashed";
    /// Its start had come to nothing.
    StartFailed = "start_failed";
    /// Somebody else had its port.
    PortLost = "port_lost";
    /// Somebody asked for it.
    Asked = "asked";
    /// It used, or would have used, too much memory, and somebody listened to it.
    Recycled = "recycled";
}

/// See the module.
#[derive(Default)]
pub(crate) struct Counts {
    starts: AtomicU64,
    restarts: [AtomicU64; Restart::ALL.len()],
    wakes: AtomicU64,
    hibernations: AtomicU64,
    /// The last generation whose start some caller has been answered with.
    claimed: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) starts: u64,
    pub(crate) restarts: Vec<(Restart, u64)>,
    pub(crate) wakes: u64,
    pub(crate) hibernations: u64,
}

impl Counts {
    pub(crate) fn restarted(&self, why: Restart) {
        self.restarts[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether nobody else was answered with the start of this generation: one of all who waited caused
    /// it.
    pub(crate) fn claim(&self, generation: Generation) -> bool {
        self.claimed.fetch_max(generation.0, Ordering::Relaxed) < generation.0
    }

    pub(crate) fn now(&self) -> Counted {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let restarts = Restart::ALL.iter().map(|why| (*why, count(&self.restarts[*why as usize])));
        Counted {
            starts: count(&self.starts),
            restarts: restarts.collect(),
            wakes: count(&self.wakes),
            hibernations: count(&self.hibernations),
        }
    }
}

/// What of the way to a start decides as what it counts.
#[derive(Debug, Default)]
pub(super) struct Since {
    asleep: bool,
    why: Option<Restart>,
}

impl Since {
    pub(super) fn new(state: BackendState) -> Self {
        Self { asleep: state == BackendState::Hibernated, why: None }
    }

    /// After an event: what it was, and the states before and after it.
    pub(super) fn note(
        &mut self,
        counts: &Counts,
        why: Option<Restart>,
        (before, after): (BackendState, BackendState),
    ) {
        // What comes after an end that somebody asked for is no restart of anything.
        match after {
            BackendState::Hibernated if before != after => {
                counts.hibernations.fetch_add(1, Ordering::Relaxed);
                *self = Self { asleep: true, why: None };
            }
            BackendState::Stopped | BackendState::Failed => *self = Self::default(),
            // What happens on the way down follows from why it goes down.
            _ if before.is_live() && before != BackendState::Stopping && why.is_some() => {
                self.why = why;
            }
            _ => {}
        }
    }

    /// A start begins.
    pub(super) fn start(&mut self, counts: &Counts) {
        counts.starts.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.asleep) {
            counts.wakes.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(why) = self.why.take() {
            counts.restarted(why);
        }
    }
}

/// Why there will be another start, if this event leads to one.
pub(super) fn reason(event: &Event, had_been_ready: bool) -> Option<Restart> {
    match event {
        Event::Restart => Some(Restart::Asked),
        Event::PortLost { .. } => Some(Restart::PortLost),
        Event::StartFailed { .. } => Some(Restart::StartFailed),
        Event::Exited { .. } if had_been_ready => Some(Restart::Crashed),
        Event::Exited { .. } => Some(Restart::StartFailed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BackendState::{Failed, Hibernated, Ready, Starting, Stopped, Stopping};

    fn restarts(counts: &Counts, why: Restart) -> u64 {
        counts.now().restarts.iter().find(|(it, _)| *it == why).unwrap().1
    }

    #[test]
    fn a_start_counts_as_what_led_to_it() {
        let counts = Counts::default();
        let mut since = Since::new(Stopped);
        since.start(&counts);
        since.note(&counts, None, (Starting, Ready));
        since.note(&counts, Some(Restart::Crashed), (Ready, Stopping));
        since.note(&counts, None, (Stopping, Starting));
        since.start(&counts);
        assert_eq!((counts.now().starts, restarts(&counts, Restart::Crashed)), (2, 1));
        since.note(&counts, None, (Stopping, Hibernated));
        since.note(&counts, None, (Hibernated, Hibernated));
        since.start(&counts);
        let now = counts.now();
        assert_eq!((now.starts, now.wakes, now.hibernations), (3, 1, 1));
        assert_eq!(now.restarts.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }

    #[test]
    fn what_was_stopped_or_given_up_is_started_and_not_restarted() {
        for end in [Stopped, Failed] {
            let counts = Counts::default();
            let mut since = Since::new(Hibernated);
            since.note(&counts, Some(Restart::StartFailed), (Starting, Stopping));
            since.note(&counts, None, (Stopping, end));
            since.start(&counts);
            let now = counts.now();
            assert_eq!((now.starts, now.wakes), (1, 0));
            assert_eq!(restarts(&counts, Restart::StartFailed), 0);
        }
        // The process that is ended by a restart ends, and that is no crash.
        let counts = Counts::default();
        let mut since = Since::new(Ready);
        since.note(&counts, Some(Restart::Asked), (Ready, Stopping));
        since.note(&counts, Some(Restart::Crashed), (Stopping, Stopping));
        since.start(&counts);
        let asked = [Restart::Asked, Restart::Crashed].map(|why| restarts(&counts, why));
        assert_eq!(asked, [1, 0]);
        // Asked for while it did not run, it is a start.
        let counts = Counts::default();
        let mut since = Since::new(Stopped);
        since.note(&counts, Some(Restart::Asked), (Stopped, Starting));
        since.start(&counts);
        assert_eq!(restarts(&counts, Restart::Asked), 0);
    }

    #[test]
    fn of_all_who_wait_for_a_start_one_has_caused_it() {
        let counts = Counts::default();
        let claims = [1, 1, 1, 2, 1].map(|generation| counts.claim(Generation(generation)));
        assert_eq!(claims, [true, false, false, true, false]);
    }
}

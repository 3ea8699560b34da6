//! Who uses a repo, and since when nobody does: counted by what is held, not guessed from connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

/// What somebody does with a repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Waits for an answer. One that `stirs` may leave work behind that goes on after the answer.
    Request { stirs: bool },
    /// Only listens to events.
    Listener,
    /// Says by an open stream that the backend should stay awake (the shim's `opencode serve`).
    Handle,
}

/// The clock of a repo's last use, and the count of its clients.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Inner>);

struct Inner {
    born: Instant,
    /// When it was last asked for or had a client, in milliseconds since `born`.
    touched: AtomicU64,
    /// The same, of what may leave work behind.
    stirred: AtomicU64,
    requests: AtomicUsize,
    listeners: AtomicUsize,
    handles: AtomicUsize,
}

/// Its clients at one moment, and its quiet until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clients {
    pub(crate) requests: usize,
    pub(crate) listeners: usize,
    pub(crate) handles: usize,
    /// How long nobody has come, asked or left.
    pub(crate) untouched: Duration,
    /// How long no request has ended that may have left work behind.
    pub(crate) unstirred: Duration,
}

impl Clients {
    pub(crate) fn all(&self) -> usize {
        self.requests + self.listeners + self.handles
    }
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            born: Instant::now(),
            touched: AtomicU64::new(0),
            stirred: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            handles: AtomicUsize::new(0),
        }))
    }

    /// Notes that it was used just now.
    pub(crate) fn touch(&self) {
        self.0.touched.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// Counts a client, until what is returned is dropped.
    pub(super) fn client(&self, what: Use) -> ClientGuard {
        self.count(what).fetch_add(1, Ordering::SeqCst);
        self.touch();
        // Counted before anything is read: whoever closes the door and then counts, sees this one,
        // or this one sees the door closed.
        fence(Ordering::SeqCst);
        ClientGuard { activity: self.clone(), what }
    }

    pub(crate) fn clients(&self) -> Clients {
        fence(Ordering::SeqCst);
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        Clients {
            requests: count(&self.0.requests),
            listeners: count(&self.0.listeners),
            handles: count(&self.0.handles),
            untouched: self.since(&self.0.touched),
            unstirred: self.since(&self.0.stirred),
        }
    }

    fn count(&self, what: Use) -> &AtomicUsize {
        match what {
            Use::Request { .. } => &self.0.requests,
            Use::Listener => &self.0.listeners,
            Use::Handle => &self.0.handles,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(moment.load(Ordering::SeqCst)))
    }
}

/// One request or stream being served: a client as long as it is held.
pub(crate) struct ClientGuard {
    activity: Activity,
    what: Use,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        // Touched first: nobody may see it idle since long ago in between.
        self.activity.touch();
        if self.what == (Use::Request { stirs: true }) {
            let now = self.activity.now();
            self.activity.0.stirred.fetch_max(now, Ordering::SeqCst);
        }
        self.activity.count(self.what).fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_counts_as_what_it_is_and_as_long_as_it_is_held() {
        let activity = Activity::new();
        let one = activity.client(Use::Request { stirs: true });
        let two = activity.client(Use::Listener);
        let three = activity.client(Use::Handle);
        let now = activity.clients();
        assert_eq!((now.requests, now.listeners, now.handles, now.all()), (1, 1, 1, 3));
        drop((one, two, three));
        assert_eq!(activity.clients().all(), 0);
    }
}

//! Who uses a repo, and since when nobody does: counted by what is held, not guessed from connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The clock of a repo's last use, and the count of its clients.
#[derive(Clone)]
pub(crate) struct Activity {
    /// When it was last asked for or had a client, in milliseconds since `born`.
    touched: Arc<AtomicU64>,
    clients: Arc<AtomicUsize>,
    born: Instant,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            touched: Arc::new(AtomicU64::new(0)),
            clients: Arc::new(AtomicUsize::new(0)),
            born: Instant::now(),
        }
    }

    /// Notes that it was used just now.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.touched.fetch_max(now, Ordering::Relaxed);
    }

    /// How long nobody has asked for it; nothing while somebody is served.
    pub(super) fn idle_for(&self) -> Duration {
        if self.clients() > 0 {
            return Duration::ZERO;
        }
        let touched = Duration::from_millis(self.touched.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(touched)
    }

    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }
}

/// One request or stream being served: a client as long as it is held.
pub(crate) struct ClientGuard(Activity);

impl ClientGuard {
    pub(super) fn new(activity: Activity) -> Self {
        activity.clients.fetch_add(1, Ordering::AcqRel);
        activity.touch();
        Self(activity)
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        // Touched first: nobody may see it idle since long ago in between.
        self.0.touch();
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_counts_as_long_as_it_is_held() {
        let activity = Activity::new();
        let one = ClientGuard::new(activity.clone());
        let two = ClientGuard::new(activity.clone());
        assert_eq!((activity.clients(), activity.idle_for()), (2, Duration::ZERO));
        drop((one, two));
        assert_eq!(activity.clients(), 0);
    }
}

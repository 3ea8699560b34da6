//! What the desk stands on in the daemon: the lock files of its home, and what the hubs hear of turns.

use super::Inner;
use super::desk::{Ground, NotLocked};
use super::lock::{self, BranchLock};
use repod_coordination::lease::{LeaseKey, OwnerId};
use repod_proto::Home;
use std::sync::Weak;

/// See the module.
#[derive(Clone)]
pub(super) struct House {
    home: Home,
    coordination: Weak<Inner>,
}

impl House {
    pub(super) fn new(home: Home, coordination: Weak<Inner>) -> Self {
        Self { home, coordination }
    }
}

impl Ground for House {
    type Lock = BranchLock;

    fn take(&self, key: &LeaseKey, fence: u64) -> Result<BranchLock, NotLocked> {
        lock::take(&self.home, key, fence)
    }

    /// An event may have been lost, so what its hub knows counts.
    fn is_over(&self, owner: &OwnerId) -> bool {
        let OwnerId::Session { repo, root } = owner else { return false };
        let handle = self.coordination.upgrade().and_then(|inner| inner.handle(repo));
        handle.is_some_and(|handle| {
            let events = handle.standing().events;
            events.known && !events.busy.contains(root)
        })
    }
}

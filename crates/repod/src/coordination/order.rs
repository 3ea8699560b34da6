//! Calls that a session makes at once come in line in the order it made them: each names the one before
//! it, and what is found out about a call takes one longer than another.

use super::CallId;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Calls remembered to have come in line.
const KEPT: usize = 4096;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Order(Arc<Inner>);

#[derive(Default)]
struct Inner {
    passed: Mutex<Passed>,
    moved: Notify,
}

#[derive(Default)]
struct Passed {
    calls: HashSet<CallId>,
    oldest_first: VecDeque<CallId>,
}

/// A call on its way to the line. When this is dropped it is in it, or needs no place there.
pub(crate) struct OnItsWay {
    order: Order,
    call: CallId,
}

impl Order {
    pub(super) fn comes(&self, call: CallId) -> OnItsWay {
        OnItsWay { order: self.clone(), call }
    }

    /// Whether this call is in line, or comes there within the limit.
    pub(super) async fn after(&self, call: &CallId, limit: Duration) -> bool {
        let passing = async {
            loop {
                let moved = self.0.moved.notified();
                if self.has_passed(call) {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout(limit, passing).await.is_ok()
    }

    fn has_passed(&self, call: &CallId) -> bool {
        self.0.passed.lock().unwrap_or_else(PoisonError::into_inner).calls.contains(call)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut passed = self.order.0.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.calls.insert(self.call.clone()) {
            passed.oldest_first.push_back(self.call.clone());
        }
        if passed.oldest_first.len() > KEPT {
            let oldest = passed.oldest_first.pop_front();
            oldest.map(|oldest| passed.calls.remove(&oldest));
        }
        drop(passed);
        self.order.0.moved.notify_waiters();
    }
}

//! Who is connected to an endpoint, and who has to go when it gets crowded.
//!
//! Anybody on the machine can open connections, and keep them open by saying little. So those that
//! have not shown the endpoint's secret have places of their own, which go to the newest: the oldest
//! of them leaves, once it has had time to say who it is. Connections that have shown it keep theirs; when there are too many, the
//! ones that were used least recently are asked to end after the request they serve, if any.

use super::listener::Limits;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a new one waits for somebody to have left.
const ROOM_LIMIT: Duration = Duration::from_secs(1);

/// The connections of one endpoint.
pub(crate) struct Guests {
    limits: Limits,
    book: Mutex<Book>,
    left: Notify,
}

#[derive(Default)]
struct Book {
    /// Counts connections and their uses; what is lower was earlier.
    now: u64,
    strangers: BTreeMap<u64, Stranger>,
    known: HashMap<u64, Known>,
}

struct Stranger {
    since: Instant,
    leave: Arc<Notify>,
}

struct Known {
    used: u64,
    leave: Arc<Notify>,
    asked: bool,
}

/// One connection's place, until it is dropped.
pub(crate) struct Guest {
    guests: Arc<Guests>,
    id: u64,
    leave: Arc<Notify>,
}

/// How a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Now,
    /// When the request it serves has been answered.
    WhenDone,
}

impl Guests {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let (book, left) = (Mutex::default(), Notify::new());
        Arc::new(Self { limits, book, left })
    }

    /// A place for a new connection, as soon as there is one.
    pub(crate) async fn admit(self: &Arc<Self>) -> Guest {
        loop {
            let left = self.left.notified();
            match self.try_admit() {
                Ok(guest) => return guest,
                Err(until) => drop(timeout_at(until, left).await),
            }
        }
    }

    /// An error says until when the oldest stranger keeps its place.
    fn try_admit(self: &Arc<Self>) -> Result<Guest, Instant> {
        let (now, leave) = (Instant::now(), Arc::new(Notify::new()));
        let mut book = self.book();
        if book.strangers.len() >= self.limits.strangers
            && let Some(oldest) = book.strangers.first_entry()
        {
            let until = oldest.get().since + self.limits.newcomer;
            if now < until {
                return Err(until);
            }
            oldest.remove().leave.notify_one();
        }
        book.now += 1;
        let id = book.now;
        book.strangers.insert(id, Stranger { since: now, leave: Arc::clone(&leave) });
        Ok(Guest { guests: Arc::clone(self), id, leave })
    }

    /// Connections there are: strangers, and the others.
    pub(crate) fn count(&self) -> (usize, usize) {
        let book = self.book();
        (book.strangers.len(), book.known.len())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// It has shown the secret: whether there is a place for it.
    pub(crate) async fn introduce(&self) -> bool {
        let deadline = Instant::now() + ROOM_LIMIT;
        loop {
            let left = self.guests.left.notified();
            match self.settle() {
                Some(settled) => return settled,
                None if timeout_at(deadline, left).await.is_err() => return false,
                None => {}
            }
        }
    }

    /// `None` while all places are taken, and somebody was asked to leave.
    fn settle(&self) -> Option<bool> {
        let mut book = self.guests.book();
        book.now += 1;
        let used = book.now;
        if let Some(known) = book.known.get_mut(&self.id) {
            known.used = used;
            return Some(true);
        }
        if !book.strangers.contains_key(&self.id) {
            // Its place has gone to somebody else.
            return Some(false);
        }
        if book.known.len() >= self.guests.limits.known {
            let others = book.known.values_mut().filter(|known| !known.asked);
            if let Some(oldest) = others.min_by_key(|known| known.used) {
                oldest.asked = true;
                oldest.leave.notify_one();
            }
            return None;
        }
        book.strangers.remove(&self.id);
        book.known.insert(self.id, Known { used, leave: Arc::clone(&self.leave), asked: false });
        drop(book);
        self.guests.left.notify_waiters();
        Some(true)
    }

    pub(crate) fn is_stranger(&self) -> bool {
        !self.guests.book().known.contains_key(&self.id)
    }

    /// Returns when its place is needed.
    pub(crate) async fn told_to_leave(&self) -> Leave {
        self.leave.notified().await;
        if self.is_stranger() { Leave::Now } else { Leave::WhenDone }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut book = self.guests.book();
        book.strangers.remove(&self.id);
        book.known.remove(&self.id);
        drop(book);
        self.guests.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn guests(strangers: usize, known: usize, newcomer: Duration) -> Arc<Guests> {
        Guests::new(Limits { strangers, known, newcomer, ..Limits::default() })
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room() {
        let guests = guests(2, 8, Duration::ZERO);
        let (first, second) = (guests.admit().await, guests.admit().await);
        assert!(second.introduce().await);
        let third = guests.admit().await;
        assert_eq!((guests.count(), first.told_to_leave().now_or_never()), ((2, 1), None));
        let fourth = guests.admit().await;
        assert_eq!(first.told_to_leave().now_or_never(), Some(Leave::Now));
        assert!(!first.introduce().await, "too late: its place is taken");
        assert_eq!((third.told_to_leave().now_or_never(), guests.count()), (None, (2, 1)));
        drop((second, third, fourth));
        assert_eq!(guests.count(), (0, 0));
    }

    #[tokio::test]
    async fn a_newcomer_has_time_to_say_who_it_is() {
        let guests = guests(1, 8, Duration::from_secs(60));
        let first = guests.admit().await;
        let mut second = std::pin::pin!(guests.admit());
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert_eq!(first.told_to_leave().now_or_never(), None);
        let (known, second) = tokio::join!(first.introduce(), second);
        assert_eq!((known, guests.count()), (true, (1, 1)));
        let mut third = std::pin::pin!(guests.admit());
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        third.await;
    }

    #[tokio::test]
    async fn who_was_not_used_for_longest_is_asked_to_end() {
        let guests = guests(8, 2, Duration::ZERO);
        let (first, second) = (guests.admit().await, guests.admit().await);
        let third = guests.admit().await;
        assert!(first.introduce().await && second.introduce().await && first.introduce().await);
        let leaving = async {
            assert_eq!(second.told_to_leave().await, Leave::WhenDone);
            drop(second);
        };
        let (came, ()) = tokio::join!(third.introduce(), leaving);
        assert!(came);
        // Nobody leaves: it is told so.
        let fourth = guests.admit().await;
        assert!(!fourth.introduce().await);
        assert_eq!(first.told_to_leave().now_or_never(), Some(Leave::WhenDone));
        assert_eq!(guests.count(), (1, 2));
    }
}

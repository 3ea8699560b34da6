//! Handles: to a program that ran `opencode serve`, the shim's process is its server. What the program
//! still has open when it closes that server must end, as it would with a real one: an SDK's event
//! stream that stays open keeps its whole program from ending.
//!
//! A handle is there as long as its own connection is. Nothing is remembered of it but, for a while,
//! that it was closed; a handle nobody knows (the daemon is a new one) is as good as any.

use super::refuse::{Reason, Refusal};
use crate::capability::Handle;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Handles that are there at once.
const OPEN_MAX: usize = 4096;
/// Closed ones that are remembered.
const CLOSED_MAX: usize = 256;

/// The handles of one repo.
#[derive(Clone, Default)]
pub(super) struct Handles(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    open: HashMap<String, Entry>,
    closed: VecDeque<String>,
}

struct Entry {
    /// Says whether it was closed.
    says: watch::Sender<bool>,
    /// Its own connections: for a moment there are two when it comes back.
    owners: usize,
}

/// What ties a request to the handle it came in by; to none, for most.
#[derive(Default)]
pub(super) struct Tie {
    closed: Option<watch::Receiver<bool>>,
    owner: Option<Owner>,
}

/// The handle itself, which is there from its first good answer on.
struct Owner {
    handles: Handles,
    id: String,
    is_there: bool,
}

/// Resolves when the handle is closed.
pub(super) type Closed = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl Handles {
    pub(super) fn tie(&self, handle: Option<&Handle>) -> Result<Tie, Refusal> {
        let Some(Handle { id, is_owner }) = handle else { return Ok(Tie::default()) };
        let mut book = self.book();
        if !is_owner && book.closed.contains(id) {
            return Err(closed());
        }
        if !book.open.contains_key(id) {
            book.open.retain(|_, entry| entry.owners > 0 || entry.says.receiver_count() > 0);
            if book.open.len() >= OPEN_MAX {
                let message = format!("{OPEN_MAX} programs use this repo already");
                return Err(Refusal::new(Reason::HoldFull, message));
            }
        }
        let entry = book.open.entry(id.clone());
        let entry = entry.or_insert_with(|| Entry { says: watch::Sender::new(false), owners: 0 });
        let owner = || Owner { handles: self.clone(), id: id.clone(), is_there: false };
        Ok(Tie { closed: Some(entry.says.subscribe()), owner: is_owner.then(owner) })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut book = self.handles.book();
        let Some(entry) = book.open.get_mut(&self.id).filter(|_| self.is_there) else { return };
        entry.owners = entry.owners.saturating_sub(1);
        if entry.owners > 0 {
            return;
        }
        entry.says.send_replace(true);
        book.open.remove(&self.id);
        if book.closed.len() >= CLOSED_MAX {
            book.closed.pop_front();
        }
        let id = std::mem::take(&mut self.id);
        book.closed.push_back(id);
    }
}

impl Tie {
    /// The request is being served: from now on the handle is there, if it is the handle's own.
    pub(super) fn settle(mut self) -> Self {
        if let Some(owner) = &mut self.owner {
            let mut book = owner.handles.book();
            if let Some(entry) = book.open.get_mut(&owner.id) {
                entry.owners += 1;
                owner.is_there = true;
            }
            book.closed.retain(|closed| *closed != owner.id);
        }
        self
    }

    /// Whether there is a handle at all.
    pub(super) fn is_tied(&self) -> bool {
        self.closed.is_some()
    }

    /// Resolves when the handle is closed.
    pub(super) fn closed(&self) -> Closed {
        let Some(mut says) = self.closed.clone() else { return Box::pin(pending()) };
        Box::pin(async move {
            if says.wait_for(|is_closed| *is_closed).await.is_err() {
                pending::<()>().await;
            }
        })
    }
}

/// What a request is answered that came in by a closed one.
pub(super) fn closed() -> Refusal {
    Refusal::new(Reason::HandleClosed, "the server this URL was given for has been closed")
        .hint("start another one, or take the URL of `repod ensure`, which stays")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn handle(id: &str, is_owner: bool) -> Handle {
        Handle { id: id.into(), is_owner }
    }

    #[test]
    fn what_came_in_by_a_handle_ends_with_it_and_nothing_else_does() {
        let handles = Handles::default();
        let tie = |id, is_owner| handles.tie(Some(&handle(id, is_owner))).unwrap().settle();
        // A program may be faster than its handle.
        let (early, owner, other) = (tie("a", false), tie("a", true), tie("b", false));
        let again = tie("a", true);
        drop(owner);
        // One that got no good answer was never there.
        drop(handles.tie(Some(&handle("a", true))));
        assert!(early.closed().now_or_never().is_none(), "it has come back");
        drop(again);
        assert!(early.closed().now_or_never().is_some());
        assert!(other.closed().now_or_never().is_none());
        let refused = handles.tie(Some(&handle("a", false))).err().unwrap();
        assert_eq!(refused.reason(), Reason::HandleClosed);
        // One that was only away is as good as before.
        let _owner = tie("a", true);
        assert!(tie("a", false).closed().now_or_never().is_none());
        assert!(!handles.tie(None).unwrap().is_tied());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let handles = Handles::default();
        for n in 0..2 * OPEN_MAX {
            drop(handles.tie(Some(&handle(&n.to_string(), n % 2 == 0))).unwrap().settle());
        }
        let kept: Vec<_> =
            (0..OPEN_MAX).map(|n| handles.tie(Some(&handle(&format!("k{n}"), false)))).collect();
        assert!(kept.iter().all(Result::is_ok));
        assert!(handles.tie(Some(&handle("more", false))).is_err());
        assert_eq!(handles.book().closed.len(), CLOSED_MAX);
    }
}

//! Who was let in: invitations, which are good for one login, and passes, which are what it gives.
//!
//! They live in memory, so that they end with the daemon; there are never more than a few, the oldest
//! gives way. All are compared in constant time.

use crate::secret::random_hex;
use repod_proto::ApiError;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long somebody may take from the terminal to the browser.
const INVITATION: Duration = Duration::from_mins(10);
/// A working day.
const PASS: Duration = Duration::from_hours(12);
const KEPT: usize = 16;

/// All keys of one daemon.
pub(super) struct Keys {
    invitation: Duration,
    pass: Duration,
    book: Mutex<Book>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { invitation: INVITATION, pass: PASS, book: Mutex::default() }
    }
}

#[derive(Default)]
struct Book {
    invitations: VecDeque<Key>,
    passes: VecDeque<Key>,
}

struct Key {
    text: String,
    until: Instant,
    /// Dropped with the key, which ends what it had opened.
    alive: watch::Sender<()>,
}

/// What a pass opens, for as long as it is good.
#[derive(Clone)]
pub(super) struct Pass {
    until: Instant,
    alive: watch::Receiver<()>,
}

impl Pass {
    /// Returns when it is no longer good.
    pub(super) async fn ended(mut self) {
        let gone = async { while self.alive.changed().await.is_ok() {} };
        let _ = tokio::time::timeout_at(self.until, gone).await;
    }
}

impl Keys {
    /// A new invitation, and until when it is good.
    pub(super) fn invite(&self) -> Result<(String, String), ApiError> {
        let text = random_hex::<32>()?;
        add(&mut self.book().invitations, text.clone(), self.invitation);
        Ok((text, from_now(self.invitation)))
    }

    /// A pass for an invitation that is good, and until when that is good. The invitation is used up.
    pub(super) fn admit(&self, sent: &str) -> Result<Option<(String, String)>, ApiError> {
        let text = random_hex::<32>()?;
        let mut book = self.book();
        let Some(at) = find(&mut book.invitations, sent) else { return Ok(None) };
        book.invitations.remove(at);
        add(&mut book.passes, text.clone(), self.pass);
        Ok(Some((text, from_now(self.pass))))
    }

    /// What this pass opens, if it is one.
    pub(super) fn pass(&self, sent: &str) -> Option<Pass> {
        let mut book = self.book();
        let at = find(&mut book.passes, sent)?;
        let key = book.passes.get(at)?;
        Some(Pass { until: key.until, alive: key.alive.subscribe() })
    }

    /// Ends a pass.
    pub(super) fn end(&self, sent: &str) {
        let mut book = self.book();
        if let Some(at) = find(&mut book.passes, sent) {
            book.passes.remove(at);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(keys: &mut VecDeque<Key>, text: String, good_for: Duration) {
    if keys.len() >= KEPT {
        keys.pop_front();
    }
    let key = Key { text, until: Instant::now() + good_for, alive: watch::Sender::new(()) };
    keys.push_back(key);
}

/// Where it is among those that are still good. All are compared, whichever it is.
fn find(keys: &mut VecDeque<Key>, sent: &str) -> Option<usize> {
    let now = Instant::now();
    keys.retain(|key| key.until > now);
    let mut found = None;
    for (at, key) in keys.iter().enumerate() {
        let same: Choice = key.text.as_bytes().ct_eq(sent.as_bytes());
        if same.into() {
            found = Some(at);
        }
    }
    found
}

fn from_now(span: Duration) -> String {
    let at = jiff::Timestamp::now().checked_add(span).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn an_invitation_is_good_once_and_for_a_while() {
        let keys = Keys::default();
        let (invitation, _) = keys.invite().unwrap();
        assert!(keys.pass(&invitation).is_none(), "an invitation is no pass");
        for wrong in ["", "x", &invitation[1..], &format!("{invitation}0")] {
            assert!(keys.admit(wrong).unwrap().is_none(), "{wrong}");
        }
        let (pass, _) = keys.admit(&invitation).unwrap().unwrap();
        assert!(keys.pass(&pass).is_some() && keys.admit(&pass).unwrap().is_none());
        assert!(keys.admit(&invitation).unwrap().is_none(), "it is used up");
        let keys = Keys { invitation: Duration::ZERO, ..Keys::default() };
        let (late, _) = keys.invite().unwrap();
        assert!(keys.admit(&late).unwrap().is_none(), "it has expired");
        let keys = Keys { pass: Duration::ZERO, ..Keys::default() };
        let (pass, _) = keys.admit(&keys.invite().unwrap().0).unwrap().unwrap();
        assert!(keys.pass(&pass).is_none(), "so has this");
    }

    #[tokio::test]
    async fn what_a_pass_opened_ends_with_it() {
        let keys = Keys::default();
        let (pass, _) = keys.admit(&keys.invite().unwrap().0).unwrap().unwrap();
        let mut ended = std::pin::pin!(keys.pass(&pass).unwrap().ended());
        assert!(ended.as_mut().now_or_never().is_none());
        keys.end(&pass);
        ended.await;
        assert!(keys.pass(&pass).is_none());
        let short = Duration::from_secs(1);
        let keys = Keys { pass: short, ..Keys::default() };
        let before = Instant::now();
        let (pass, _) = keys.admit(&keys.invite().unwrap().0).unwrap().unwrap();
        keys.pass(&pass).unwrap().ended().await;
        assert!(before.elapsed() >= short, "its day is over");
    }

    #[tokio::test]
    async fn there_are_never_many() {
        let keys = Keys::default();
        let first = keys.invite().unwrap().0;
        for _ in 0..KEPT {
            keys.invite().unwrap();
        }
        assert!(keys.admit(&first).unwrap().is_none(), "the oldest gives way");
    }
}

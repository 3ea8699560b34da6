//! hold: while a backend starts, restarts or is woken, requests wait for it, bounded in time, in
//! number and in what they announce.

use super::refuse::{Reason, Refusal};
use super::upstream::Upstream;
use super::{Gate, Visit};
use crate::backend::{Asked, RepoHandle};
use crate::tally::label;
use repod_proto::{ApiError, BackendState, ErrorCode};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

label! {
    /// How a request that had to wait for a backend went on.
    Waited, "outcome":
    /// To a backend that answers.
    Served = "served";
    /// It was refused.
    Refused = "refused";
    /// Its client did not wait.
    Left = "left";
}

/// Requests held for one repo at most.
const REQUESTS_MAX: u64 = 1000;
/// Bytes of bodies, as announced, held for one repo at most.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Between two looks at a backend that can't be reached though nobody has said that it is dead.
const PAUSE: Duration = Duration::from_millis(10);

/// What is held for one repo.
#[derive(Default)]
pub(super) struct Held {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A place among them.
struct Place<'a>(&'a Held, u64);

impl Held {
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    fn enter(&self, size: u64) -> Result<Place<'_>, Refusal> {
        let requests = self.requests.fetch_add(1, Ordering::AcqRel);
        let bytes = self.bytes.fetch_add(size, Ordering::AcqRel);
        let place = Place(self, size);
        if requests >= REQUESTS_MAX || bytes.saturating_add(size) > BYTES_MAX {
            let message = format!(
                "the backend is not ready, and {REQUESTS_MAX} requests or {} MiB wait for it already",
                BYTES_MAX >> 20
            );
            return Err(Refusal::new(Reason::HoldFull, message));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.0.bytes.fetch_sub(self.1, Ordering::AcqRel);
    }
}

/// The way to a backend that answers and whose events are heard; waits for one if need be, and has
/// it started.
pub(super) async fn hold(visit: &Visit, size: u64) -> Result<Arc<Upstream>, Refusal> {
    let upstream = find(visit, size).await?;
    if !upstream.is_heard() {
        visit.handle.heard(upstream.generation()).await;
        upstream.set_heard();
    }
    Ok(upstream)
}

async fn find(visit: &Visit, size: u64) -> Result<Arc<Upstream>, Refusal> {
    if let Some(upstream) = visit.gate.upstream(&visit.handle.view()) {
        return Ok(upstream);
    }
    let _place = visit.gate.held.enter(size)?;
    let ready = ready(&visit.gate, &visit.handle);
    let timing = visit.gate.gateway.holds.begin(Waited::Left);
    let found = timeout_at(visit.deadline, ready).await.unwrap_or_else(|_| Err(expired(visit)));
    timing.end(if found.is_ok() { Waited::Served } else { Waited::Refused });
    found
}

async fn ready(gate: &Gate, handle: &RepoHandle) -> Result<Arc<Upstream>, Refusal> {
    loop {
        let view = handle.view();
        if view.is_adopting() || view.has_just_died() {
            handle.settled().await;
        }
        let view = handle.ensure(Asked::default()).await.map_err(Refusal::no_backend)?;
        if let Some(upstream) = gate.upstream(&view) {
            return Ok(upstream);
        }
        // It died again at once.
        sleep(PAUSE).await;
    }
}

/// After a request that could not be sent: lets the death of the backend be heard of, and goes on
/// as long as the request may be held.
pub(super) async fn pause(visit: &Visit, error: &io::Error) -> Result<(), Refusal> {
    tracing::debug!(%error, "the backend can't be reached");
    if Instant::now() >= visit.deadline {
        return Err(expired(visit));
    }
    sleep(PAUSE).await;
    Ok(())
}

fn expired(visit: &Visit) -> Refusal {
    let view = visit.handle.view();
    let doing = view.step.map_or(view.state.as_str(), |step| step.as_str());
    let limit = humantime::format_duration(visit.gate.settings().hold_timeout);
    if view.state == BackendState::Unresponsive {
        let message = format!("the backend is alive but has not answered for {limit}");
        let error = ApiError::new(ErrorCode::BackendUnresponsive, message).hint(
            "it may be busy: a slow backend is never killed; `repod restart` ends it by force",
        );
        return Refusal::no_backend(error);
    }
    Refusal::new(Reason::HoldExpired, format!("the backend was not ready within {limit}: {doing}"))
        .hint("ask again; `repod status` shows what it is doing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_in_number_and_size_and_given_back() {
        let held = Held::default();
        let places: Vec<_> = (0..REQUESTS_MAX).map(|_| held.enter(0).unwrap()).collect();
        assert_eq!(held.enter(0).err().unwrap().reason(), Reason::HoldFull);
        drop(places);
        let most = held.enter(BYTES_MAX).unwrap();
        assert!(held.enter(1).is_err());
        drop(most);
        assert!(held.enter(BYTES_MAX + 1).is_err());
        assert!(held.enter(u64::MAX).is_err());
        assert!(held.enter(1).is_ok());
        assert_eq!(held.bytes.load(Ordering::Relaxed), 0);
    }
}

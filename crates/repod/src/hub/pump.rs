//! Keeps one stream open to the backend there is, whatever becomes of it.

use super::gap;
use super::{Limits, Shared, Upstream};
use bytes::Bytes;
use repod_opencode::{BackendClient, ProbeError, SseDecoder};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pause before a stream that broke is opened again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A stream that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(5);
/// How long the stream of a backend that is no longer the one is read to its end.
const DRAIN: Duration = Duration::from_millis(250);
/// Events given out in one go, before readers get their turn.
const BATCH: usize = 64;

/// Follows the backends until there is nobody to name them any more.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut upstream: watch::Receiver<Option<Upstream>>,
    limits: Limits,
) {
    if shared.wanted.subscribe().wait_for(|wanted| *wanted).await.is_err() {
        return;
    }
    let mut repairs = JoinSet::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let generation = upstream.borrow().as_ref().map(|backend| backend.generation);
        shared.with(|core| core.backend_is(generation));
        let named = upstream.wait_for(Option::is_some).await.map(|named| named.clone());
        let Ok(named) = named else { return };
        let Some(backend) = named else { continue };
        let began = Instant::now();
        {
            let mut stream = pin!(follow(&shared, &backend, &limits, &mut repairs));
            let ended = tokio::select! {
                ended = &mut stream => Some(ended),
                () = broken_off(limits.stream) => None,
                () = another(&mut upstream, backend.generation) => {
                    // What it sent before its end may still be on the way.
                    tokio::time::timeout(DRAIN, &mut stream).await.ok()
                }
            };
            if let Some(Err(error)) = ended {
                tracing::debug!(?backend, %error, "the event stream broke");
            }
        }
        shared.heard.send_replace(None);
        shared.with(super::core::Core::stream_ended);
        if began.elapsed() > GOOD {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = another(&mut upstream, backend.generation) => pause = FIRST_PAUSE,
        }
        while repairs.try_join_next().is_some() {}
    }
}

async fn broken_off(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

/// Waits until this generation is no longer the one; forever when nobody will tell.
async fn another(upstream: &mut watch::Receiver<Option<Upstream>>, generation: u64) {
    let is_other = |now: &Option<Upstream>| now.as_ref().map(|b| b.generation) != Some(generation);
    if upstream.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How long that answer is waited for.
const LISTENS: Duration = Duration::from_secs(1);

/// One stream, from its begin to its end.
async fn follow(
    shared: &Arc<Shared>,
    backend: &Upstream,
    limits: &Limits,
    repairs: &mut JoinSet<()>,
) -> Result<(), ProbeError> {
    let client = BackendClient::new(backend.port, backend.password.clone());
    let mut body = client.global_events(limits.connect).await?;
    let mut decoder = SseDecoder::new(limits.event_bytes);
    // `server.connected`, which OpenCode 1.18.33 says just before it listens: whatever it answers after
    // that is answered when it does. From there on nothing is missed.
    let first = tokio::time::timeout(limits.connect, body.next()).await;
    let first = first.map_err(|_| ProbeError::TimedOut(limits.connect))?;
    let Some(first) = first else { return Ok(()) };
    let first = decoder.push(&first?);
    // One that doesn't answer shows in its stream, too.
    let _ = client.health(LISTENS).await;
    shared.with(|core| core.counts.streams += 1);
    shared.heard.send_replace(Some(backend.generation));
    gap::close(shared, &client, backend, limits, repairs).await?;
    // What isn't in the history (text that grows, requests) may have been missed.
    shared.with(|core| core.taps.missed());
    publish(shared, &first).await;
    while let Some(bytes) = body.next().await {
        let events = decoder.push(&bytes?);
        let oversized = decoder.take_oversized();
        if oversized > 0 {
            shared.with(|core| {
                core.counts.malformed += oversized;
                core.taps.missed();
            });
        }
        publish(shared, &events).await;
    }
    Ok(())
}

async fn publish(shared: &Shared, events: &[Bytes]) {
    for batch in events.chunks(BATCH) {
        shared.with(|core| batch.iter().for_each(|event| core.publish(event.clone())));
        if batch.len() == BATCH {
            tokio::task::yield_now().await;
        }
    }
}

/// Heartbeats, as long as the hub lives.
pub(super) async fn beat(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        shared.with(super::core::Core::beat);
    }
}

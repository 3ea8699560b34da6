//! The synchronisation around the lease table, as it is, under a model checker: the same files, compiled
//! with a `tokio` whose every step is a choice of the scheduler (`shuttle`). Each test runs hundreds of
//! random interleavings (ten thousands with `REPOD_TEST_FULL`); one in which everybody waits is a failure.
//!
//! `SHUTTLE_RANDOM_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

extern crate shuttle_tokio as tokio;

#[path = "../../src/router/alone.rs"]
mod alone;
#[path = "../../src/coordination/desk.rs"]
mod desk;
#[path = "../../src/coordination/guards.rs"]
mod guards;
mod leases;
#[path = "../../src/coordination/line.rs"]
mod line;
mod waits;
mod yard;

/// Interleavings per test.
const RUNS: usize = 400;

/// Runs this in many interleavings.
fn check<F: Future<Output = ()> + 'static>(body: fn() -> F) {
    let runs = std::env::var("REPOD_TEST_FULL").map_or(RUNS, |_| 50 * RUNS);
    shuttle::check_random(move || shuttle::future::block_on(body()), runs);
    shuttle::check_pct(move || shuttle::future::block_on(body()), runs, 3);
}

/// Lets others go first, some of the time.
async fn waver() {
    use shuttle::rand::Rng as _;
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..4) {
        tokio::task::yield_now().await;
    }
}

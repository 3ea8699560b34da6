//! events: how long an event is on its way, for one reader and for 200.
//!
//! A p99 is that of one round, and the middle round counts: one hiccup of the machine makes one bad
//! round, and would be everybody's p99 otherwise.

use crate::figures::{median, quantile, verdict};
use crate::listen::{Readers, emit};
use crate::stage::Stage;
use std::path::Path;
use std::time::Duration;

const MANY: usize = 200;
const ROUNDS: usize = 20;
const EVENTS: usize = 100;
const EVERY_MS: u64 = 4;

/// The p50 and p99 of each round.
#[derive(Default)]
struct Times {
    p50: Vec<Duration>,
    p99: Vec<Duration>,
}

pub(crate) fn events(repod: &Path) {
    println!("\n== events: from the backend's sending to the reader");
    let stage = Stage::fake(repod);
    println!("   -- one reader (target: p99 <= 0.2 ms more than without repod)");
    let [direct, ours] = side_by_side(&stage, 1);
    let more = ours.saturating_sub(direct);
    println!("   added p99  {more:>9.1?}   {}", verdict(more <= Duration::from_micros(200)));
    println!(
        "   -- the last of {MANY} readers (target: p99 <= 2 ms; direct is the backend writing to {MANY} sockets)"
    );
    let [direct, ours] = side_by_side(&stage, MANY);
    let times = ours.as_secs_f64() / direct.as_secs_f64();
    println!(
        "   p99        {ours:>9.1?}   {times:.2} x direct   {}",
        verdict(ours <= Duration::from_millis(2))
    );
    stage.world.finish();
}

/// The p99 without repod and through it.
fn side_by_side(stage: &Stage, readers: usize) -> [Duration; 2] {
    let backend = stage.backend.port;
    let mut ways = [
        ("direct", Readers::open(readers, backend, ""), Times::default()),
        ("gateway", Readers::open(readers, stage.port, &stage.opens), Times::default()),
    ];
    for round in 0..=ROUNDS {
        for (to, readers, times) in &mut ways {
            let emitting = emit(backend, to, EVENTS, EVERY_MS);
            let mut took = readers.collect(EVENTS);
            emitting.join().expect("it was sent");
            // The first round warms up.
            if round > 0 {
                times.p50.push(quantile(&mut took, 0.5));
                times.p99.push(quantile(&mut took, 0.99));
            }
        }
    }
    ways.map(|(to, _, times)| {
        let best = times.p99.iter().min().copied().unwrap_or_default();
        let (p50, p99) = (median(times.p50), median(times.p99));
        println!("   {to:<10} p50 {p50:>9.1?}  p99 {p99:>9.1?} (best round {best:.1?})");
        p99
    })
}

//! audit: a whole `repod audit`, process start included, beside 12 real backends and 300 processes.

use crate::figures::{median, quantile, timed, verdict};
use repod_testkit::World;
use std::path::Path;
use std::time::Duration;

const BACKENDS: usize = 12;
const PROCESSES: usize = 300;
const TARGET: Duration = Duration::from_millis(300);

pub(crate) fn audit(repod: &Path) {
    println!(
        "\n== audit: {PROCESSES} processes and {BACKENDS} backends (target: <= 300 ms for a whole audit)"
    );
    let world = World::builder(repod).settings("[limits]\nnofile = 1024\n").build();
    let repos: Vec<_> = (0..BACKENDS).map(|n| world.git_repo(&format!("r{n}"))).collect();
    let _ = world.repod(["up"]).args(&repos).bound(Duration::from_mins(5)).ok();
    let idle: Vec<_> = (0..PROCESSES).map(|_| world.command("sleep").arg("600").spawn()).collect();
    let mut times = Vec::new();
    let mut code = 0;
    for _ in 0..21 {
        times.push(timed(|| code = world.repod(["audit", "--json"]).arg(world.root()).run().code));
    }
    let (p50, p95) = (median(times.clone()), quantile(&mut times, 0.95));
    println!(
        "   repod audit            p50 {p50:>9.2?}   p95 {p95:>9.2?}   {}   (exit code {code})",
        verdict(p50 <= TARGET)
    );
    drop(idle);
    world.finish();
}

//! idle: what a reader that waits, and a repo that sleeps, cost the daemon in memory.

use crate::figures::{rss_mb, verdict};
use crate::listen::{Readers, emit};
use crate::stage::{Kept, Stage};
use std::path::Path;
use std::time::{Duration, Instant};

const READERS: usize = 500;
const REPOS: usize = 300;
/// How long threads that have nothing to do may stay.
const SETTLE: Duration = Duration::from_secs(30);

pub(crate) fn idle(repod: &Path) {
    println!(
        "\n== idle: memory of the daemon (targets: <= 16 KiB a reader, <= 64 KiB a stopped repo)"
    );
    readers(repod);
    repos(repod);
}

fn readers(repod: &Path) {
    let stage = Stage::fake(repod);
    let daemon = stage.daemon();
    let mut one = Kept::open(stage.port, "/path", &stage.opens);
    (0..2000).for_each(|_| one.ask());
    let mut first = Readers::open(1, stage.port, &stage.opens);
    events(&stage, &mut first, 200);
    let before = rss_mb(daemon);
    let idle: Vec<_> = (0..READERS)
        .map(|_| {
            let mut kept = Kept::open(stage.port, "/path", &stage.opens);
            kept.ask();
            kept
        })
        .collect();
    let with_connections = rss_mb(daemon);
    drop(idle);
    row("a kept connection without a request", with_connections - before, READERS, None);
    drop(stage);
    // A daemon that has had no connections yet, so that nothing is taken from what they left.
    let stage = Stage::fake(repod);
    let daemon = stage.daemon();
    let mut one = Kept::open(stage.port, "/path", &stage.opens);
    (0..2000).for_each(|_| one.ask());
    let mut first = Readers::open(1, stage.port, &stage.opens);
    events(&stage, &mut first, 200);
    let before = rss_mb(daemon);
    let mut readers = Readers::open(READERS, stage.port, &stage.opens);
    let waiting = rss_mb(daemon);
    row("a reader that waits", waiting - before, READERS, Some(16.0));
    let both = emit(stage.backend.port, "gateway", 200, 2);
    readers.collect(200);
    first.collect(200);
    both.join().expect("it was sent");
    row("the same after 200 events", rss_mb(daemon) - before, READERS, Some(16.0));
    drop((first, readers));
    stage.world.finish();
}

fn events(stage: &Stage, readers: &mut Readers, count: usize) {
    let emitting = emit(stage.backend.port, "gateway", count, 1);
    readers.collect(count);
    emitting.join().expect("it was sent");
}

fn repos(repod: &Path) {
    let stage = Stage::fake(repod);
    let daemon = stage.daemon();
    let dirs = |from: usize, count: usize| -> Vec<_> {
        (from..from + count).map(|n| stage.world.plain_dir(&format!("dir{n}"))).collect()
    };
    // What a few need once is no repo's.
    let at_rest = threads(daemon);
    register(&stage, &dirs(0, 10));
    settle(daemon, at_rest);
    let before = rss_mb(daemon);
    for from in (10..10 + REPOS).step_by(50) {
        register(&stage, &dirs(from, 50));
    }
    settle(daemon, at_rest);
    row("a stopped repo", rss_mb(daemon) - before, REPOS, Some(64.0));
    stage.world.finish();
}

/// Waits until the threads that did the starting and stopping have ended: they take their stacks along.
fn settle(daemon: u32, at_rest: usize) {
    let begun = Instant::now();
    while threads(daemon) > at_rest && begun.elapsed() < SETTLE {
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

fn threads(pid: u32) -> usize {
    fs_err::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Starts and stops them.
fn register(stage: &Stage, dirs: &[std::path::PathBuf]) {
    let bound = Duration::from_mins(4);
    stage.world.repod(["up"]).args(dirs).bound(bound).ok();
    stage.world.repod(["stop", "--all"]).bound(bound).ok();
}

/// Megabytes for so many, in kilobytes for one.
fn row(what: &str, megabytes: f64, count: usize, target: Option<f64>) {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let each = megabytes * 1024.0 / count as f64;
    let verdict = target.map_or("", |target| verdict(each <= target));
    println!("   {what:<36} {each:>7.1} KiB   {verdict}");
}

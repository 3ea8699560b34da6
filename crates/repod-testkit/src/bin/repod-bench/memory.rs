//! memory: the daemon with 12 backends.

use crate::figures::{rss_mb, timed, verdict};
use repod_testkit::World;
use std::path::Path;
use std::time::Duration;

/// Memory of the daemon with 12 backends.
pub(crate) fn memory(repod: &Path) {
    println!("\n== memory: daemon RSS with 12 backends (target: <= 15 MB)");
    let world = World::builder(repod).build();
    let repos: Vec<_> = (0..12).map(|i| world.git_repo(&format!("repo{i}"))).collect();
    let up = timed(|| drop(world.repod(["up"]).args(&repos).bound(Duration::from_secs(240)).ok()));
    for _ in 0..200 {
        world.repod(["ensure"]).arg(&repos[0]).ok();
    }
    world.repod(["ps"]).ok();
    let mut daemon = 0.0;
    for process in world.processes() {
        if process.cmdline.starts_with("repod daemon") {
            let rss = rss_mb(process.pid);
            println!("   {:<24} {rss:>7.1} MB", process.cmdline);
            if !process.cmdline.contains("--standby") {
                daemon = rss;
            }
        }
    }
    println!("   daemon                 {daemon:>7.1} MB   {}", verdict(daemon <= 15.0));
    println!("   12 cold backends up in {up:.1?}");
    world.finish();
}

//! many: warm ensure with 1 and with 1,000 registered repos.

use crate::figures::{median, ratio, rss_mb, timed, verdict};
use crate::socket::Socket;
use repod_proto::Endpoint;
use repod_testkit::{World, proc};
use std::path::Path;

/// Warm ensure with 1 and with 1,000 registered repos.
pub(crate) fn many(repod: &Path) {
    println!("\n== many: warm ensure with 1 and with 1,000 registered repos (target: flat)");
    let (one, full) = (World::builder(repod).build(), World::builder(repod).build());
    let mut sockets = Vec::new();
    for world in [&one, &full] {
        let repo = world.git_repo("web");
        let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
        sockets.push((Socket::open(&world.layout()), repo));
    }
    // Registered but not running: their start is refused at once, for want of an OpenCode.
    for i in 0..999 {
        let dir = full.plain_dir(&format!("dir{i}"));
        full.repod(["ensure"]).arg(&dir).env("REPOD_OPENCODE", "/nonexistent").run();
    }
    let rows: Vec<serde_json::Value> = full.repod(["ps", "--json"]).json();
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..4000 {
        let [(a, a_repo), (b, b_repo)] = &mut sockets[..] else {
            return;
        };
        small.push(timed(|| a.ensure(a_repo)));
        large.push(timed(|| b.ensure(b_repo)));
    }
    let (small, large) = (median(small), median(large));
    let times = ratio(large, small);
    println!("   1 repo                 p50 {small:>9.2?}");
    println!(
        "   {:<4} repos             p50 {large:>9.2?}   {times:.2} x   {}",
        rows.len(),
        verdict(times <= 1.1)
    );
    let daemon = full.processes().into_iter().find(|p| p.cmdline == "repod daemon");
    if let Some(daemon) = daemon.filter(|d| proc::is_running(d.pid)) {
        println!("   daemon with {} repos: {:.1} MB", rows.len(), rss_mb(daemon.pid));
    }
    one.finish();
    full.finish();
}

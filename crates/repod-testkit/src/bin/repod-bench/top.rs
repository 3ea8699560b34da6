//! top: what somebody who looks at 12 real backends costs, in parts of a core: `repod top` itself in a
//! terminal, and the daemon that answers it.

use crate::figures::verdict;
use repod_testkit::{Terminal, World};
use std::path::Path;
use std::time::{Duration, Instant};

const BACKENDS: usize = 12;
/// How long it is measured.
const SPAN: Duration = Duration::from_secs(20);
const BOUND: Duration = Duration::from_secs(60);
/// Ticks of `/proc/PID/stat` in a second, on every Linux there is.
const TICKS: f64 = 100.0;

pub(crate) fn top(repod: &Path) {
    println!("\n== top: `repod top` with {BACKENDS} backends (target: <= 1 % of a core)");
    let world = World::builder(repod).build();
    let repos: Vec<_> = (0..BACKENDS).map(|n| world.git_repo(&format!("r{n}"))).collect();
    let _ = world.repod(["up"]).args(&repos).bound(Duration::from_mins(5)).ok();
    let pid = |what: &str| {
        let all = world.processes();
        let found =
            all.iter().find(|it| it.cmdline.ends_with(what) && !it.cmdline.contains("tmux"));
        found.expect("it runs").pid
    };
    let daemon = pid("repod daemon");
    let [alone] = cores([daemon]);
    let says = verdict(alone <= 0.005);
    println!(
        "   the daemon, unwatched  {:>7.2} %   {says} (memory log and all: 0.5)",
        alone * 100.0
    );
    for interval in ["1s", "100ms"] {
        let args = ["top", "--interval", interval];
        let terminal = Terminal::start(&world, &format!("top-{interval}"), repod, args);
        terminal.wait("the list", BOUND, |screen| screen.text.contains("12 ready"));
        let top = pid(interval);
        let [watcher, watched] = cores([top, daemon]);
        let verdict = if interval == "1s" { verdict(watcher <= 0.01) } else { "" };
        println!("   repod top, every {interval:<5} {:>7.2} %   {verdict}", watcher * 100.0);
        println!("   the daemon meanwhile   {:>7.2} %", watched * 100.0);
        terminal.keys(&["q"]);
    }
    world.finish();
}

/// What these processes take of a core over a while: processor time, so that others' load hardly
/// counts.
fn cores<const N: usize>(pids: [u32; N]) -> [f64; N] {
    let before = pids.map(seconds);
    let begun = Instant::now();
    std::thread::park_timeout(SPAN);
    let took = begun.elapsed().as_secs_f64();
    let after = pids.map(seconds);
    std::array::from_fn(|n| (after[n] - before[n]) / took)
}

/// Processor time so far. In nanoseconds from the scheduler where it counts, else in ticks.
fn seconds(pid: u32) -> f64 {
    let threads = fs_err::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: fs_err::DirEntry| {
        let text = fs_err::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let spent: f64 = threads.filter_map(of_thread).sum();
    if spent > 0.0 {
        return spent / 1e9;
    }
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

//! metrics: a scrape of the socket, with 12 real backends that are all measured and listened to.

use crate::figures::{median, quantile, timed, verdict};
use repod_testkit::World;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const BACKENDS: usize = 12;
const SCRAPES: usize = 300;
const TARGET: Duration = Duration::from_millis(5);

pub(crate) fn metrics(repod: &Path) {
    println!("\n== metrics: a scrape with {BACKENDS} backends (target: p95 <= 5 ms)");
    let world = World::builder(repod).settings("[limits]\nmemory_sample = \"1s\"\n").build();
    let repos: Vec<_> = (0..BACKENDS).map(|n| world.git_repo(&format!("r{n}"))).collect();
    let _ = world.repod(["up"]).args(&repos).bound(Duration::from_mins(5)).ok();
    let socket = world.layout().socket();
    let scrape = || {
        let mut stream = UnixStream::connect(&socket).expect("a daemon");
        let head = b"GET /metrics HTTP/1.1\r\nhost: repod\r\nconnection: close\r\n\r\n";
        stream.write_all(head).expect("it listens");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    };
    let measured = |text: &str| text.matches("repod_backend_memory_bytes{").count() / 4;
    let mut text = scrape();
    for _ in 0..200 {
        if measured(&text) == BACKENDS {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(100));
        text = scrape();
    }
    let mut times: Vec<_> = (0..SCRAPES).map(|_| timed(|| text = scrape())).collect();
    let (p50, p95) = (median(times.clone()), quantile(&mut times, 0.95));
    println!(
        "   GET /metrics           p50 {p50:>9.2?}   p95 {p95:>9.2?}   {}   ({} lines, {} KiB, {} measured)",
        verdict(p95 <= TARGET),
        text.lines().count(),
        text.len() / 1024,
        measured(&text),
    );
    world.finish();
}

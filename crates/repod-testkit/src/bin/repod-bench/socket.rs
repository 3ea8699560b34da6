//! socket: warm ensure over the daemon's socket.

use crate::figures::{median, quantile, timed, verdict};
use repod_proto::{Endpoint, Home};
use repod_testkit::World;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Warm ensure over the socket.
pub(crate) fn socket(repod: &Path) {
    println!("\n== socket: warm ensure over the socket (target: p50 <= 100 us)");
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let home = world.layout();
    let mut kept = Socket::open(&home);
    for _ in 0..500 {
        kept.ensure(&repo);
    }
    let (mut one, mut fresh) = (Vec::new(), Vec::new());
    for _ in 0..5000 {
        one.push(timed(|| kept.ensure(&repo)));
        fresh.push(timed(|| Socket::open(&home).ensure(&repo)));
    }
    let p99 = quantile(&mut one.clone(), 0.99);
    let p50 = median(one);
    println!(
        "   kept connection        p50 {p50:>9.2?}  p99 {p99:>9.2?}   {}",
        verdict(p50 <= Duration::from_micros(100))
    );
    println!("   a connection each      p50 {:>9.2?}", median(fresh));
    world.finish();
}

/// A connection to the daemon that is kept.
pub(crate) struct Socket {
    stream: BufReader<UnixStream>,
}

impl Socket {
    pub(crate) fn open(home: &Home) -> Self {
        Self { stream: BufReader::new(UnixStream::connect(home.socket()).expect("a daemon")) }
    }

    pub(crate) fn ensure(&mut self, path: &Path) {
        let body = format!("{{\"path\":\"{}\"}}", path.display());
        let request = format!(
            "POST /v1/ensure HTTP/1.1\r\nhost: repod\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("it listens");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("it answers");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
    }
}

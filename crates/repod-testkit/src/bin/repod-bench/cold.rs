//! cold: a cold ensure beside a bare `opencode serve`.

use crate::figures::{median, timed, verdict};
use repod_proto::Endpoint;
use repod_testkit::World;
use repod_testkit::world::Running;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A cold ensure beside a bare `opencode serve`, both until an authenticated health answer.
pub(crate) fn cold(repod: &Path) {
    println!(
        "\n== cold: ensure of a stopped repo beside a bare `opencode serve` (target: <= 30 ms more)"
    );
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let bare_repo = world.git_repo("bare");
    let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let first = bare_until_it_answers(&world, &bare_repo);
    first.handle().kill().expect("it runs");
    drop(first.wait(Duration::from_secs(10)));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..15 {
        world.repod(["stop"]).arg(&repo).ok();
        let mut first = || ours.push(timed(|| drop(world.repod(["ensure"]).arg(&repo).ok())));
        let mut second = || {
            let begun = Instant::now();
            let server = bare_until_it_answers(&world, &bare_repo);
            bare.push(begun.elapsed());
            server.handle().kill().expect("it runs");
            drop(server.wait(Duration::from_secs(10)));
        };
        // Whoever comes second finds warmer caches: take turns.
        if round % 2 == 0 {
            first();
            second();
        } else {
            second();
            first();
        }
    }
    let (ours, bare) = (median(ours), median(bare));
    let more = ours.as_secs_f64() * 1e3 - bare.as_secs_f64() * 1e3;
    println!("   bare opencode serve    {bare:>10.1?}");
    println!("   cold repod ensure      {ours:>10.1?}   {more:+.0} ms   {}", verdict(more <= 30.0));
    world.finish();
}

/// `opencode serve` as a user would start it, until its first authenticated answer.
pub(crate) fn bare_until_it_answers(world: &World, repo: &Path) -> Running {
    let server = world
        .command(world.opencode())
        .args(["serve", "--hostname", "127.0.0.1", "--port", "0"])
        .env("OPENCODE_SERVER_PASSWORD", "bench")
        .dir(repo)
        .spawn();
    let line = server.wait_line("the ready line", Duration::from_secs(60), |line| {
        line.starts_with("opencode server listening")
    });
    let port = line.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok());
    let mut stream = TcpStream::connect(("127.0.0.1", port.expect("a port"))).expect("it listens");
    // `opencode:bench`
    let head = "GET /global/health HTTP/1.1\r\nhost: x\r\nauthorization: Basic b3BlbmNvZGU6YmVuY2g=\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    assert!(answer.contains("200"), "{answer}");
    server
}

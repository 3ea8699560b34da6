//! wake: a request to a hibernated repo beside the cold start of a bare `opencode serve`.

use crate::cold::bare_until_it_answers;
use crate::figures::{median, verdict};
use base64::Engine as _;
use repod_proto::Endpoint;
use repod_testkit::World;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Until the status line of the answer, both.
pub(crate) fn wake(repod: &Path) {
    println!(
        "\n== wake: a request to a hibernated repo beside a bare cold start (target: <= 50 ms more)"
    );
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let bare_repo = world.git_repo("bare");
    let endpoint: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let first = bare_until_it_answers(&world, &bare_repo);
    first.handle().kill().expect("it runs");
    drop(first.wait(Duration::from_secs(10)));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..15 {
        world.repod(["hibernate"]).arg(&repo).ok();
        let mut first = || ours.push(ask(&endpoint));
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
    println!("   woken by a request     {ours:>10.1?}   {more:+.0} ms   {}", verdict(more <= 50.0));
    world.finish();
}

fn ask(endpoint: &Endpoint) -> Duration {
    let pair = format!("{}:{}", endpoint.username, endpoint.password.as_deref().unwrap_or(""));
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    let url = endpoint.url.as_deref().expect("an endpoint");
    let begun = Instant::now();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("it listens");
    let head = format!(
        "GET /global/health HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {pair}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    let taken = begun.elapsed();
    assert!(answer.contains("200"), "{answer}");
    taken
}

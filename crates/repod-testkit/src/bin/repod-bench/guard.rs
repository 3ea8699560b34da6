//! guard: what asking costs a write call, and how long a lease takes from hand to hand.

use crate::figures::{quantile, verdict};
use repod_proto::{Endpoint, Home, RepoId};
use repod_testkit::World;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// As the guard asks: a connection for each word, HTTP/1.0.
pub(crate) fn guard(repod: &Path) {
    println!(
        "\n== guard: ask, grant, report; uncontended (target: p50 <= 300 us), and the hand-over"
    );
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let endpoint: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let layout = world.layout();
    let (token, _) = token(&layout, &endpoint.repo_id);
    let socket = layout.socket();
    let mut times = Vec::new();
    for n in 0..2_000 {
        let ask = json!({ "token": token, "directory": repo, "session": "ses_bench",
            "root": "ses_bench", "title": "bench", "call": format!("call_{n}"), "tool": "write",
            "args": { "filePath": "a.txt" } });
        let report = json!({ "token": token, "session": "ses_bench", "call": format!("call_{n}") });
        let begun = Instant::now();
        let answer = post(&socket, "/v1/guard/ask", &ask);
        post(&socket, "/v1/guard/report", &report);
        if n >= 100 {
            times.push(begun.elapsed());
        }
        assert!(answer.contains("\"run\":true"), "{answer}");
    }
    let p50 = quantile(&mut times, 0.5);
    println!(
        "   ask, grant, report     {p50:>10.1?}   {}",
        verdict(p50 <= Duration::from_micros(300))
    );
    println!("   p99                    {:>10.1?}", quantile(&mut times, 0.99));

    let mut times = Vec::new();
    let mut held = hold(&socket, &repo);
    for _ in 0..200 {
        let (said, heard) = mpsc::sync_channel(1);
        let (waiting, path) = (socket.clone(), repo.clone());
        let waiter = std::thread::spawn(move || {
            let next = hold(&waiting, &path);
            let _ = said.send(Instant::now());
            next
        });
        in_line(&world);
        let begun = Instant::now();
        drop(held);
        let got = heard.recv_timeout(Duration::from_secs(10)).expect("the next one has it");
        times.push(got.saturating_duration_since(begun));
        held = waiter.join().expect("it holds");
    }
    drop(held);
    let p50 = quantile(&mut times, 0.5);
    println!(
        "   hand-over to the next  {p50:>10.1?}   {}",
        verdict(p50 <= Duration::from_millis(5))
    );
    println!("   p99                    {:>10.1?}", quantile(&mut times, 0.99));
    world.finish();
}

/// The token of a backend's guards, and what is on record of the backend.
pub(crate) fn token(layout: &Home, repo: &RepoId) -> (String, Value) {
    let record = fs_err::read_to_string(layout.repo(repo).endpoint()).expect("a record");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    let token = record["backend"]["guard"].as_str().expect("a guard's token").to_owned();
    (token, record["backend"].clone())
}

pub(crate) fn post(socket: &Path, path: &str, body: &Value) -> String {
    let mut stream = UnixStream::connect(socket).expect("the daemon listens");
    send(&mut stream, path, body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn send(stream: &mut UnixStream, path: &str, body: &Value) {
    let body = body.to_string();
    let length = body.len();
    let text =
        format!("POST {path} HTTP/1.0\r\nhost: repod\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).expect("it listens");
}

/// Holds the branch until it is dropped.
fn hold(socket: &Path, repo: &Path) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).expect("the daemon listens");
    send(&mut stream, "/v1/lease/hold", &json!({ "path": repo, "title": "bench" }));
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("\"fence\"") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).expect("it answers"), 0, "it is held");
    }
    lines
}

fn in_line(world: &World) {
    let begun = Instant::now();
    loop {
        let leases: Value = world.repod(["leases", "--json"]).json();
        if leases[0]["waiters"].as_array().is_some_and(|waiters| waiters.len() == 1) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{leases}");
    }
}

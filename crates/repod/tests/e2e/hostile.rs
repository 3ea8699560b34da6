//! Clients that mean harm, or break: refused and counted, and nothing of them stays.

use crate::{BOUND, builder, daemon_pid, ensure, oc, pid, ps, world};
use base64::Engine as _;
use repod_proto::Endpoint;
use repod_testkit::{Script, World, proc, wait_until};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn port(endpoint: &Endpoint) -> u16 {
    endpoint.url.as_deref().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

fn basic(endpoint: &Endpoint) -> String {
    let pair = format!("{}:{}", endpoint.username, endpoint.password.as_deref().unwrap());
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("authorization: Basic {pair}\r\n")
}

/// Says this, and hears everything until the end.
fn talk(mut stream: impl std::io::Read + std::io::Write, said: &str) -> String {
    stream.write_all(said.as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

/// The daemon's metrics, as a scraper on its socket reads them.
pub(crate) fn metrics(world: &World) -> String {
    let stream = UnixStream::connect(world.layout().socket()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let get = "GET /metrics HTTP/1.1\r\nhost: repod\r\nconnection: close\r\n\r\n";
    let answer = talk(stream, get);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
    answer
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no `{name}` in {text}"))
}

fn refused(world: &World, reason: &str) -> u64 {
    let name = format!("repod_gateway_refused_requests_total{{reason=\"{reason}\"}}");
    metric(&metrics(world), &name)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_told_why_and_counted() {
    let world = world();
    let ours = ensure(&world, &world.git_repo("web"));
    let other = ensure(&world, &world.git_repo("other"));
    let token = other.capability_url.as_deref().unwrap().rsplit('/').next().unwrap().to_owned();
    let (good, wrong) = (basic(&ours), basic(&other));
    let request = |line: &str, host: &str, head: &str| {
        format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{head}\r\n")
    };
    let get = "GET /global/health";
    let here = "localhost";
    let cases = [
        ("a foreign host", request(get, "evil.example", &good), "403", "forbidden", "foreign_host"),
        (
            "a foreign origin",
            request(get, here, &format!("{good}origin: https://evil.example\r\n")),
            "403",
            "forbidden",
            "foreign_origin",
        ),
        ("no password", request(get, here, ""), "401", "unauthorized", "no_credentials"),
        (
            "a wrong password",
            request(get, here, "authorization: Basic b3BlbmNvZGU6eA==\r\n"),
            "401",
            "unauthorized",
            "wrong_credentials",
        ),
        (
            "another repo's password",
            request(get, here, &wrong),
            "401",
            "unauthorized",
            "wrong_credentials",
        ),
        (
            "another repo's token",
            request(&format!("GET /{token}/global/health"), here, &good),
            "401",
            "unauthorized",
            "wrong_credentials",
        ),
        (
            "a closed route",
            request("POST /global/dispose", here, &good),
            "403",
            "forbidden",
            "closed_route",
        ),
        (
            "two codings",
            request("POST /session", here, &format!("{good}transfer-encoding: gzip, chunked\r\n")),
            "400",
            "invalid_request",
            "malformed",
        ),
    ];
    for (who, said, status, code, reason) in cases {
        let before = refused(&world, reason);
        let answer = talk(connect(port(&ours)), &said);
        assert_refused(who, &answer, status, code, reason);
        assert_eq!(refused(&world, reason), before + 1, "{who}");
    }
    if is_root() {
        let said = request(get, here, &good).replace('\r', "\\r").replace('\n', "\\n");
        let port = port(&ours);
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{said}' >&3; cat <&3");
        let command = world.command("setpriv").args(["--reuid=65534", "--clear-groups", "bash"]);
        let answer = command.args(["-c", &script]).dir("/").ok().stdout;
        assert_refused("another user", &answer, "403", "forbidden", "foreign_user");
        assert_eq!(refused(&world, "foreign_user"), 1);
    } else {
        println!("another user was not tried: only root can become one (run ./test as root)");
    }
    // What is no HTTP at all is ended, and counted too: when its connection is, which is after the answer.
    let before = refused(&world, "malformed");
    assert!(talk(connect(port(&ours)), "\x16\x03\x01\x02\r\n\r\n").starts_with("HTTP/1.1 400"));
    wait_until("the count", BOUND, async || {
        (refused(&world, "malformed") == before + 1).then_some(())
    })
    .await;
    world.finish();
}

fn assert_refused(who: &str, answer: &str, status: &str, code: &str, reason: &str) {
    assert_eq!(answer.get(9..12), Some(status), "{who}: {answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let error = &serde_json::from_str::<Value>(body).unwrap()["error"];
    assert_eq!(
        (&error["code"], &error["details"]["reason"]),
        (&code.into(), &reason.into()),
        "{who}"
    );
    assert_eq!(error["details"]["fault"], "client", "{who}");
    assert!(error["message"].as_str().is_some_and(|it| !it.is_empty()), "{who}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What could leak.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    backend_files: usize,
    threads: u64,
    rss_kib: u64,
    connections: u64,
    zombies: usize,
}

fn held(world: &World, daemon: u32, endpoint: &Endpoint) -> Held {
    let files = |pid: u32| fs_err::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let status = fs_err::read_to_string(format!("/proc/{daemon}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse().unwrap()
    };
    let text = metrics(world);
    let open = |known: &str| {
        let id = &endpoint.repo_id;
        let name = "repod_gateway_connections";
        metric(&text, &format!("{name}{{repo_id=\"{id}\",authorised=\"{known}\"}}"))
    };
    Held {
        files: files(daemon),
        backend_files: files(pid(endpoint)),
        threads: number("Threads:"),
        rss_kib: number("VmRSS:"),
        connections: open("yes") + open("no"),
        zombies: world.processes().iter().filter(|it| proc::is_zombie(it.pid)).count(),
    }
}

/// The ways to break off: of a thousand how many do it so, what is said, and what is heard before.
fn breaks(endpoint: &Endpoint) -> [(usize, String, &'static str); 5] {
    let head = format!("host: localhost\r\n{}", basic(endpoint));
    [
        (300, format!("GET /session HTTP/1.1\r\n{head}x: "), ""),
        (
            200,
            format!("POST /session HTTP/1.1\r\n{head}content-length: 900\r\n\r\n{{\"title\":\"x"),
            "",
        ),
        (
            200,
            format!("POST /session HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n5\r\n{{"),
            "",
        ),
        (50, format!("GET /doc HTTP/1.1\r\n{head}\r\n"), "HTTP/1.1 200"),
        (250, format!("GET /global/event HTTP/1.1\r\n{head}\r\n"), "HTTP/1.1 200"),
    ]
}

/// Says it, hears the first of the answer if there is to be one, and is gone without a goodbye.
fn break_off(port: u16, said: &str, first: &str) {
    let mut stream = connect(port);
    stream.write_all(said.as_bytes()).unwrap();
    if !first.is_empty() {
        let mut heard = vec![0; first.len()];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), first);
    }
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

/// So many clients break off at each of these, eight at a time.
fn storm(endpoints: &[Endpoint], clients: usize) {
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for endpoint in endpoints {
                    for (share, said, first) in breaks(endpoint) {
                        for _ in (worker..clients * share / 1000).step_by(8) {
                            break_off(port(endpoint), &said, first);
                        }
                    }
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_clients_that_break_off_leave_nothing_behind() {
    let world = builder().build();
    let repos = ["web", "other"].map(|name| world.git_repo(name));
    let endpoints = repos.each_ref().map(|repo| ensure(&world, repo));
    let daemon = daemon_pid(&world);
    let quiet = async || {
        let clients = ps(&world).iter().all(|row| row.clients == Some(0));
        let all = endpoints.each_ref().map(|endpoint| held(&world, daemon, endpoint));
        (clients && all.iter().all(|it| it.connections == 0 && it.zombies == 0)).then_some(all)
    };
    // Warm: pools, hubs and allocators have what they keep.
    storm(&endpoints, 2500);
    let before = wait_until("quiet", BOUND, quiet).await;
    let started = Instant::now();
    let (done, mut ended) = tokio::sync::watch::channel(false);
    let stormy = endpoints.clone();
    let storming = tokio::task::spawn_blocking(move || {
        storm(&stormy, 5000);
        done.send_replace(true);
    });
    // Meanwhile everybody else is served, and by their own repo.
    let mut served = 0;
    while !*ended.borrow_and_update() {
        for (repo, endpoint) in repos.iter().zip(&endpoints) {
            let path = oc(endpoint).get("/path", Some(repo)).await.unwrap();
            assert_eq!(path["directory"].as_str(), repo.to_str(), "{path}");
            served += 1;
        }
    }
    storming.await.unwrap();
    let took = started.elapsed();
    let mut after = wait_until("quiet", BOUND, quiet).await;
    let calm = async || {
        after = quiet().await?;
        let back = |(before, after): (&Held, &Held)| {
            after.files <= before.files + 8 && after.backend_files <= before.backend_files + 8
        };
        before.iter().zip(&after).all(back).then_some(())
    };
    wait_until("all files to be closed", BOUND, calm).await;
    println!("10,000 broke off in {took:.1?}, {served} others served; {before:?} -> {after:?}");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.threads, before.threads);
        assert!(after.rss_kib < before.rss_kib + 16 * 1024, "{before:?} -> {after:?}");
    }
    for (repo, endpoint) in repos.iter().zip(&endpoints) {
        let sessions = oc(endpoint).get("/session", Some(repo)).await.unwrap();
        assert_eq!(sessions.as_array().map(Vec::len), Some(0), "half a body made one");
        let turn = oc(endpoint).turn(repo, Script::new().text("still here").prompt("hi")).await;
        assert_eq!(turn.unwrap().succeeded().text, "still here");
        assert_eq!(pid(&ensure(&world, repo)), pid(endpoint));
    }
    assert_eq!(daemon_pid(&world), daemon);
    world.finish();
}

//! The metrics move with what they count; the port they may be had on; and one name for a request, from the
//! command line to the log.

use crate::leases::leases;
use crate::sleep::put_to_sleep;
use crate::{BOUND, builder, client, daemon_pid, ensure, oc, pid, world};
use base64::Engine as _;
use repod_client::SessionName;
use repod_proto::agent::{AgentEvent, TurnOutcome};
use repod_proto::{
    Endpoint, ErrorBody, ErrorCode, RouteFile, RouteWriteRequest, SessionRequest, TurnRequest,
};
use repod_testkit::{Script, World, proc, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Says this, and hears everything until the end.
fn talk(mut stream: impl std::io::Read + std::io::Write, said: &str) -> String {
    stream.write_all(said.as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

fn over_socket(world: &World, head: &str) -> String {
    let stream = UnixStream::connect(world.layout().socket()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    talk(stream, &format!("{head}host: repod\r\nconnection: close\r\n\r\n"))
}

/// Every series with its value, without the prefix and without which repo it is.
fn scrape(world: &World) -> BTreeMap<String, f64> {
    let text = over_socket(world, "GET /metrics HTTP/1.1\r\n");
    let lines = text.lines().filter_map(|line| line.strip_prefix("repod_"));
    let series = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let labels = labels.strip_suffix('}')?.split(',');
        let labels: Vec<_> =
            labels.filter(|it| !it.is_empty() && !it.starts_with("repo_id=")).collect();
        let labels = labels.join(",").replace('"', "");
        Some((format!("{name} {labels}").trim().to_owned(), value.parse().ok()?))
    });
    series.collect()
}

/// What it says of one, which there is.
fn value(world: &World, series: &str) -> f64 {
    let all = scrape(world);
    *all.get(series).unwrap_or_else(|| panic!("no `{series}` in {all:?}"))
}

async fn becomes(world: &World, series: &str, wanted: f64) {
    wait_until(series, BOUND, async || (value(world, series) == wanted).then_some(())).await;
}

/// By how much these have risen.
fn risen(before: &BTreeMap<String, f64>, world: &World, wanted: &[(&str, f64)]) {
    let after = scrape(world);
    for (series, by) in wanted {
        let of = |all: &BTreeMap<String, f64>| all.get(*series).copied().unwrap_or_default();
        assert_eq!(of(&after) - of(before), *by, "{series}: {before:?} {after:?}");
    }
}

async fn prompt(world: &World, repo: &Path, script: &Script) -> TurnOutcome {
    let client = client(world).request_id("turn-of-7".parse().unwrap());
    let path = repo.display().to_string();
    let request = SessionRequest { path, session_id: Some("work".into()), ..Default::default() };
    let session = client.ensure_session(request).await.unwrap().session;
    let turn = TurnRequest { text: script.prompt("do"), ..Default::default() };
    let mut told = client.prompt_session(&SessionName::of(&session), turn).await.unwrap();
    let mut outcome = None;
    while let Some(line) = told.next().await.unwrap() {
        if let AgentEvent::Turn(end) = line.event {
            outcome = Some(end.outcome);
        }
    }
    outcome.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_count_moves_with_what_it_counts() {
    let world = world();
    let repo = world.git_repo("web");
    world.repod(["ps"]).ok();
    let asking = client(&world);
    let none = scrape(&world);

    // One start for all who ask at once, of whom one has caused it; then from memory; then none.
    let all = (0..8).map(|_| asking.ensure_running(&repo));
    for ensured in futures_util::future::join_all(all).await {
        ensured.unwrap();
    }
    let endpoint = ensure(&world, &repo);
    let missing = asking.ensure_running(world.repos().join("missing")).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::PathNotFound);
    assert!(missing.details["request_id"].as_str().unwrap().starts_with("req-"));
    risen(
        &none,
        &world,
        &[
            ("ensure_duration_seconds_count outcome=cold", 1.0),
            ("ensure_duration_seconds_count outcome=joined", 7.0),
            ("ensure_duration_seconds_count outcome=warm", 1.0),
            ("ensure_duration_seconds_count outcome=failed", 1.0),
            ("api_errors_total code=path_not_found", 1.0),
            ("backend_starts_total", 1.0),
            ("backend_restarts_total reason=crashed", 0.0),
            ("backend_wakes_total", 0.0),
            ("backend_up", 1.0),
            ("backend_state state=ready", 1.0),
            ("backend_state state=stopped", 0.0),
        ],
    );
    let took = value(&world, "ensure_duration_seconds_sum outcome=cold");
    assert!(took > 0.05 && took < 600.0, "in seconds: {took}");

    // A script holds the branch, another waits for it.
    let hold = |what: &str| {
        let cmd = world.repod(["lease", "hold"]).arg(&repo).args(["--", "sh", "-c", what]);
        cmd.dir(&repo).spawn()
    };
    let mut holder = hold("echo held; read x");
    holder.wait_line("the lease", BOUND, |line| line == "held");
    assert_eq!(value(&world, "leases state=held"), 1.0);
    let waiter = hold("true");
    becomes(&world, "lease_waiters", 1.0).await;
    let before = scrape(&world);
    holder.send("go\n");
    drop((holder.wait(BOUND).ok(), waiter.wait(BOUND).ok()));
    becomes(&world, "leases state=held", 0.0).await;
    risen(&before, &world, &[("lease_wait_duration_seconds_count outcome=granted", 1.0)]);

    // A request that is refused, and a reader of events.
    let port: u16 = endpoint.url.as_deref().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let before = scrape(&world);
    let get = "GET /session HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let refused = talk(TcpStream::connect(("127.0.0.1", port)).unwrap(), get);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    risen(&before, &world, &[("gateway_refused_requests_total reason=no_credentials", 1.0)]);
    let events = oc(&endpoint).global_events().await.unwrap();
    becomes(&world, "hub_readers", 1.0).await;
    drop(events);
    becomes(&world, "hub_readers", 0.0).await;

    // A turn that writes; and one that a person ends before it has begun.
    let before = scrape(&world);
    let script = Script::new().write(repo.join("a.txt"), "one\n").text("done");
    assert_eq!(prompt(&world, &repo, &script).await, TurnOutcome::Completed);
    wait_until("nobody writes", BOUND, async || leases(&world).is_empty().then_some(())).await;
    risen(
        &before,
        &world,
        &[
            ("turns_total outcome=completed", 1.0),
            ("turns_total outcome=failed", 0.0),
            ("turns_open state=running", 0.0),
            ("tickets_granted_total", 1.0),
            ("lease_wait_duration_seconds_count outcome=granted", 1.0),
        ],
    );
    let after = scrape(&world);
    assert!(after["hub_events_total"] > before["hub_events_total"] + 3.0, "{after:?}");

    // A write from outside.
    let content = base64::engine::general_purpose::STANDARD.encode("new\n");
    let file = RouteFile {
        path: repo.join("README.md").display().to_string(),
        content_base64: Some(content),
        executable: None,
        expected_sha256: None,
    };
    let before = scrape(&world);
    let write = RouteWriteRequest { files: vec![file], by: Default::default() };
    asking.route_write(write).await.unwrap();
    risen(&before, &world, &[("mutations_total outcome=applied", 1.0)]);

    // Asleep and woken by a request, which is held meanwhile; restarted by hand; killed.
    let before = scrape(&world);
    put_to_sleep(&world, &repo).await;
    assert_eq!(value(&world, "backend_state state=hibernated"), 1.0);
    assert_eq!(value(&world, "backend_up"), 0.0);
    oc(&endpoint).get("/session", Some(&repo)).await.unwrap();
    risen(
        &before,
        &world,
        &[
            ("backend_hibernations_total", 1.0),
            ("backend_wakes_total", 1.0),
            ("backend_starts_total", 1.0),
            ("gateway_hold_duration_seconds_count outcome=served", 1.0),
            ("backend_restarts_total reason=asked", 0.0),
        ],
    );
    let restarted: Vec<Endpoint> = world.repod(["restart", "--json"]).arg(&repo).json();
    assert_eq!(value(&world, "backend_restarts_total reason=asked"), 1.0);
    assert_eq!(value(&world, "backend_restarts_total reason=crashed"), 0.0);
    proc::Handle::open(pid(&restarted[0])).unwrap().kill().unwrap();
    becomes(&world, "backend_restarts_total reason=crashed", 1.0).await;
    assert_eq!(value(&world, "backend_starts_total"), 4.0);
    world.finish();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_serves_who_has_the_token_and_nobody_else() {
    let port = free_port();
    let world = builder().settings(format!("[gateway]\nmetrics_port = {port}\n")).build();
    world.repod(["ps"]).ok();
    let file = world.layout().metrics_token();
    let connect = async || TcpStream::connect(("127.0.0.1", port)).ok();
    let ask = async |head: &str| {
        let stream = wait_until("the port", BOUND, connect).await;
        stream.set_read_timeout(Some(BOUND)).unwrap();
        talk(stream, &format!("GET /metrics HTTP/1.1\r\n{head}\r\n"))
    };
    assert!(ask("host: localhost\r\n").await.starts_with("HTTP/1.1 401"));
    let token = fs_err::read_to_string(&file).unwrap();
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let right = format!("authorization: Bearer {}\r\n", token.trim());
    let good = ask(&format!("host: localhost\r\n{right}")).await;
    assert!(good.starts_with("HTTP/1.1 200") && good.trim_end().ends_with("# EOF"), "{good}");
    assert!(good.contains("repod_info{version="), "{good}");
    let wrong = ask("host: localhost\r\nauthorization: Bearer 0000\r\n").await;
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    let foreign = ask(&format!("host: evil.example\r\n{right}")).await;
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    // The next daemon has the same, after a death too.
    let daemon = proc::Handle::open(daemon_pid(&world)).unwrap();
    daemon.kill().unwrap();
    assert!(daemon.wait_exit(BOUND));
    world.repod(["ps"]).ok();
    let again = ask(&format!("host: localhost\r\n{right}")).await;
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    assert!(!fs_err::read_to_string(world.layout().log()).unwrap().contains(token.trim()));
    world.finish();
}

/// The lines of the daemon's log that are of this request.
fn logged(world: &World, id: &str) -> Vec<Value> {
    let log = fs_err::read_to_string(world.layout().log()).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_of = |line: &Value| {
        line["request_id"] == id
            || line["spans"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["request_id"] == id))
    };
    lines.filter(is_of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_called_the_same_in_the_command_the_log_and_the_answer() {
    let world = builder().settings("[log]\nformat = \"json\"\n").build();
    let repo = world.git_repo("web");
    world.repod(["ensure"]).arg(&repo).env("REPOD_REQUEST_ID", "ci/build-7").ok();
    let lines = logged(&world, "ci/build-7");
    let wanted = lines.iter().find(|line| line["message"] == "a backend is wanted");
    let wanted = wanted.unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((&wanted["level"], &wanted["span"]["path"]), (&"INFO".into(), &"/v1/ensure".into()));
    // The backend, which lives on, is not named after it.
    let backend = proc::environ(pid(&ensure(&world, &repo)));
    assert!(!backend.iter().any(|pair| pair.starts_with("REPOD_REQUEST_ID=")), "{backend:?}");

    let wrong = world.repod(["ensure", "--json"]).arg(&repo).env("REPOD_REQUEST_ID", "a b").run();
    assert_eq!((wrong.code, wrong.json::<ErrorBody>().error.code), (2, ErrorCode::InvalidRequest));

    let answer = over_socket(&world, "GET /v1/nothing HTTP/1.1\r\nx-request-id: mine-8\r\n");
    assert!(answer.contains("\r\nx-request-id: mine-8\r\n"), "{answer}");
    assert!(answer.contains("\"request_id\":\"mine-8\""), "{answer}");
    let replaced = over_socket(&world, "GET /v1/ps HTTP/1.1\r\nx-request-id: a;b\r\n");
    assert!(replaced.contains("\r\nx-request-id: req-"), "{replaced}");

    assert_eq!(prompt(&world, &repo, &Script::new().text("done")).await, TurnOutcome::Completed);
    let lines = logged(&world, "turn-of-7");
    for message in ["a turn begins", "a turn has ended"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}: {lines:?}");
    }
    world.finish();
}

//! The endpoint: who may come in, and that it outlives what is behind it.

use crate::{BOUND, builder, daemon_pid, ensure, oc, pid, ps, world};
use base64::Engine as _;
use repod_proto::{BackendState, Endpoint};
use repod_testkit::{Oc, Script, World, proc, wait_until};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

fn port(endpoint: &Endpoint) -> u16 {
    endpoint.url.as_deref().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

fn pair(endpoint: &Endpoint) -> String {
    let pair = format!("{}:{}", endpoint.username, endpoint.password.as_deref().unwrap());
    base64::engine::general_purpose::STANDARD.encode(pair)
}

/// One request in plain bytes; the whole answer.
fn raw(port: u16, line: &str, head: &[String]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
    if !head.iter().any(|header| header.starts_with("host:")) {
        text.push_str("host: localhost\r\n");
    }
    for header in head {
        text.push_str(&format!("{header}\r\n"));
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

async fn turn_of(client: &Oc, repo: &Path, text: &str) {
    let turn = client.turn(repo, Script::new().text(text).prompt("hi")).await.unwrap();
    assert_eq!(turn.succeeded().text, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_by_password_by_capability_and_by_auth_token() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let backend = endpoint.backend.clone().unwrap();
    assert_ne!(backend.port, port(&endpoint), "the endpoint is the gateway's");
    turn_of(&oc(&endpoint), &repo, "by password").await;
    let capability = Oc::new(endpoint.capability_url.clone().unwrap());
    turn_of(&capability, &repo, "by capability").await;
    let path = format!("/session?auth_token={}", pair(&endpoint));
    let open = Oc::new(endpoint.url.clone().unwrap());
    assert_eq!(open.get(&path, Some(&repo)).await.unwrap().as_array().unwrap().len(), 2);

    // The endpoint's password opens nothing behind it.
    let direct = format!("http://127.0.0.1:{}", backend.port);
    let direct = Oc::new(direct).with_auth("opencode", endpoint.password.as_deref().unwrap());
    assert!(direct.health().await.unwrap_err().to_string().contains("401"));
    let own = world.layout().repo(&endpoint.repo_id).endpoint();
    let own: Value = serde_json::from_str(&fs_err::read_to_string(own).unwrap()).unwrap();
    let own = own["backend"]["password"].as_str().unwrap().to_owned();
    assert!(!serde_json::to_string(&endpoint).unwrap().contains(&own), "never leaves the daemon");

    // What a reader of events holds counts as a client.
    let mut events = oc(&endpoint).global_events().await.unwrap();
    events.next(BOUND).await.unwrap();
    assert_eq!((ps(&world)[0].clients, ps(&world)[0].idle_seconds), (Some(1), None));
    drop(events);
    wait_until("no clients", BOUND, async || (ps(&world)[0].clients == Some(0)).then_some(()))
        .await;
    world.finish();
}

#[test]
fn strangers_are_refused() {
    let world = world();
    let endpoint = ensure(&world, &world.git_repo("web"));
    let other = ensure(&world, &world.git_repo("other"));
    let port = port(&endpoint);
    let ours = format!("authorization: Basic {}", pair(&endpoint));
    let theirs = format!("authorization: Basic {}", pair(&other));
    let token = other.capability_url.as_deref().unwrap().rsplit('/').next().unwrap();
    let evil_host = "host: evil.example".to_owned();
    let evil_origin = "origin: https://evil.example".to_owned();
    let get = "GET /global/health";
    assert_eq!(status(&raw(port, get, std::slice::from_ref(&ours))), "200");
    assert_eq!(status(&raw(port, get, &[])), "401");
    assert_eq!(status(&raw(port, get, &[theirs])), "401");
    assert_eq!(status(&raw(port, &format!("GET /{token}/global/health"), &[])), "401");
    assert_eq!(status(&raw(port, get, &[ours.clone(), evil_host])), "403");
    assert_eq!(status(&raw(port, get, &[ours.clone(), evil_origin])), "403");
    for line in ["POST /api/session", "POST /global/upgrade", "POST /global/dispose"] {
        let answer = raw(port, line, &[ours.clone(), "content-length: 0".into()]);
        assert_eq!(status(&answer), "403", "{line}");
        assert!(answer.contains("\"reason\":\"closed_route\""), "{answer}");
    }
    assert_eq!(status(&raw(port, "GET /api/session", std::slice::from_ref(&ours))), "200");
    // Only root can become somebody else to try.
    if is_root() {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /global/health HTTP/1.1\\r\\nhost: \
             localhost\\r\\nconnection: close\\r\\n{ours}\\r\\n\\r\\n' >&3; cat <&3"
        );
        let command = world.command("setpriv").args(["--reuid=65534", "--clear-groups", "bash"]);
        let answer = command.args(["-c", &script]).dir("/").ok().stdout;
        assert_eq!(status(&answer), "403");
        assert!(answer.contains("\"reason\":\"foreign_user\""), "{answer}");
    }
    world.finish();
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A WebSocket to a terminal that echoes, after it has done so.
fn open_terminal(endpoint: &Endpoint, repo: &Path, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port(endpoint))).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let directory = repo.display();
    let head = format!(
        "GET /pty/{id}/connect?directory={directory}&auth_token={} HTTP/1.1\r\nhost: localhost\r\n\
         connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        pair(endpoint)
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A text frame, masked with zeros.
    stream.write_all(b"\x81\x86\0\0\0\0hello\n").unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("hello") {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..length]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_reached_by_websocket() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let made = client.post("/pty", Some(&repo), json!({ "command": "cat" })).await.unwrap();
    let id = made["id"].as_str().unwrap();
    let stream = open_terminal(&endpoint, &repo, id);
    assert_eq!(ps(&world)[0].clients, Some(1));
    drop(stream);
    wait_until("no clients", BOUND, async || (ps(&world)[0].clients == Some(0)).then_some(()))
        .await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_url_works_when_the_backend_was_killed() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    let client = oc(&before);
    turn_of(&client, &repo, "one").await;
    let process = proc::Handle::open(pid(&before)).unwrap();
    process.kill().unwrap();
    // A read that comes into the middle of it is answered by the next one.
    client.get("/session", Some(&repo)).await.unwrap();
    turn_of(&client, &repo, "two").await;
    let after = ensure(&world, &repo);
    assert_eq!((&after.url, &after.password), (&before.url, &before.password));
    assert_eq!(after.capability_url, before.capability_url);
    assert_eq!(after.generation.0, before.generation.0 + 1);
    // Nobody asks for it here but the client: a change is held as soon as the death is known.
    let process = proc::Handle::open(pid(&after)).unwrap();
    process.kill().unwrap();
    assert!(process.wait_exit(BOUND));
    turn_of(&client, &repo, "three").await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_held_while_a_backend_starts() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    world.repod(["stop"]).arg(&repo).ok();
    let client = oc(&endpoint);
    let sessions = (0..20).map(|_| client.create_session(&repo));
    let made = futures_util::future::join_all(sessions).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    assert_eq!(ps(&world)[0].endpoint.generation.0, 2, "one start for all of them");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_start_is_said_with_whose_fault_it_is() {
    let world = builder().build();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    world.repod(["stop"]).arg(&repo).ok();
    fs_err::write(world.repod_home().join("repod.toml"), "[backend]\nopencode = \"/nowhere\"\n")
        .unwrap();
    let reply = oc(&endpoint).call("GET", "/session", Some(&repo), None, BOUND).await.unwrap();
    assert_eq!(reply.status, 503, "{reply:?}");
    let error = &reply.body["error"];
    assert_eq!(
        (&error["code"], &error["details"]["fault"]),
        (&json!("opencode_missing"), &json!("backend"))
    );
    assert!(error["hint"].is_string(), "{error}");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_has_its_port_back_within_a_second() {
    let world = world();
    let repos = ["a", "b", "c"].map(|name| world.git_repo(name));
    let before = repos.each_ref().map(|repo| ensure(&world, repo));
    let open = before.each_ref().map(|endpoint| TcpStream::connect(("127.0.0.1", port(endpoint))));
    let mut events = oc(&before[0]).global_events().await.unwrap();
    events.next(BOUND).await.unwrap();
    proc::Handle::open(daemon_pid(&world)).unwrap().kill().unwrap();
    let killed = Instant::now();
    for endpoint in &before {
        wait_until("the endpoint", BOUND, async || oc(endpoint).health().await.ok()).await;
    }
    let took = killed.elapsed();
    println!("three endpoints back after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(open);
    for (repo, before) in repos.iter().zip(&before) {
        let after = ensure(&world, repo);
        assert_eq!(&after, before);
    }
    turn_of(&oc(&before[1]), &repos[1], "as before").await;
    world.finish();
}

#[test]
fn a_stolen_port_is_said_and_replaced() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    world.repod(["shutdown"]).ok();
    let thief = wait_for_port(port(&before));
    let after = ensure(&world, &repo);
    assert_ne!(port(&after), port(&before));
    assert!(after.warnings[0].contains(&port(&before).to_string()), "{after:?}");
    assert_eq!((pid(&after), &after.password), (pid(&before), &before.password));
    let dir = world.layout().repo(&after.repo_id);
    let file = fs_err::read_to_string(dir.port()).unwrap();
    assert_eq!(file.trim(), port(&after).to_string());
    let basic = format!("authorization: Basic {}", pair(&after));
    assert_eq!(status(&raw(port(&after), "GET /global/health", &[basic])), "200");
    drop(thief);
    world.finish();
}

/// Takes the port as soon as the daemon has let it go.
fn wait_for_port(port: u16) -> std::net::TcpListener {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bind = async || std::net::TcpListener::bind(("127.0.0.1", port)).ok();
    runtime.block_on(wait_until("the port", BOUND, bind))
}

#[test]
fn rotated_credentials_replace_the_old_ones() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    let rotated: Vec<Endpoint> = world.repod(["restart", "--rotate", "--json"]).arg(&repo).json();
    let after = &rotated[0];
    assert_eq!((after.state, &after.url), (BackendState::Ready, &before.url));
    assert_ne!(after.password, before.password);
    assert_ne!(after.capability_url, before.capability_url);
    let health = |endpoint: &Endpoint| {
        let basic = format!("authorization: Basic {}", pair(endpoint));
        status(&raw(port(endpoint), "GET /global/health", &[basic])).to_owned()
    };
    assert_eq!((health(&before), health(after)), ("401".into(), "200".into()));
    let plain: Vec<Endpoint> = world.repod(["restart", "--json"]).arg(&repo).json();
    assert_eq!(plain[0].password, after.password, "kept unless asked");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_when_the_credentials_were_rotated_ends() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let mut events = client.global_events().await.unwrap();
    events.next(BOUND).await.unwrap();
    let made = client.post("/pty", Some(&repo), json!({ "command": "cat" })).await.unwrap();
    let mut terminal = open_terminal(&endpoint, &repo, made["id"].as_str().unwrap());
    let session = client.create_session(&repo).await.unwrap();
    let prompt = Script::new().gate("never").text("x").prompt("go");
    let turn = tokio::spawn(async move { client.turn_in(&session, prompt).await });
    wait_until("three clients", BOUND, async || (ps(&world)[0].clients == Some(3)).then_some(()))
        .await;

    let restart = world.repod(["restart", "--rotate", "--json"]).arg(&repo);
    let rotated: Vec<Endpoint> = restart.json();
    assert!(turn.await.unwrap().is_err());
    while let Ok(Some(_)) = events.next(BOUND).await {}
    let mut rest = Vec::new();
    let _ = terminal.read_to_end(&mut rest);
    wait_until("no clients", BOUND, async || (ps(&world)[0].clients == Some(0)).then_some(()))
        .await;
    assert!(oc(&endpoint).global_events().await.is_err(), "the old ones open nothing");
    world.model().open("never");
    turn_of(&oc(&rotated[0]), &repo, "by the new ones").await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_not_disposed_of_under_a_turn() {
    let world = world();
    let repo = world.git_repo("web");
    let side = world.worktree(&repo, "side");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let prompt = Script::new().gate("open").text("whole").prompt("go");
    client.start_turn(&session, prompt).await.unwrap();
    let dispose = async |directory: &Path| {
        client.call("POST", "/instance/dispose", Some(directory), None, BOUND).await.unwrap()
    };
    let refused = dispose(&repo).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("backend_busy")));
    assert_eq!(dispose(&side).await.status, 200, "nobody works there");
    world.model().open("open");
    client.wait_idle(&session, &repo, BOUND).await;
    assert_eq!(client.last_turn(&session).await.unwrap().succeeded().text, "whole");
    assert_eq!(dispose(&repo).await.status, 200);
    world.finish();
}

#[test]
fn a_record_from_before_the_gateway_is_taken_over() {
    let world: World = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    world.repod(["shutdown"]).ok();
    let file = world.layout().repo(&before.repo_id).endpoint();
    let mut record: Value = serde_json::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap();
    record["url"] = format!("http://127.0.0.1:{}", record["backend"]["port"]).into();
    record["password"] = record["backend"]["password"].clone();
    record.as_object_mut().unwrap().remove("capability_url");
    fs_err::write(&file, record.to_string()).unwrap();
    let after = ensure(&world, &repo);
    assert_eq!((pid(&after), after.generation), (pid(&before), before.generation));
    assert_ne!(after.password.as_deref(), record["password"].as_str());
    assert_ne!(u64::from(port(&after)), record["backend"]["port"].as_u64().unwrap());
    let basic = format!("authorization: Basic {}", pair(&after));
    assert_eq!(status(&raw(port(&after), "GET /global/health", &[basic])), "200");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_s_stream_outlives_the_backend_and_sees_the_turn_that_died_end() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let mut events = client.global_events().await.unwrap();
    let session = client.create_session(&repo).await.unwrap();
    client.start_turn(&session, Script::new().gate("never").text("x").prompt("go")).await.unwrap();
    let backend = proc::Handle::open(pid(&endpoint)).unwrap();
    backend.kill().unwrap();
    assert!(backend.wait_exit(BOUND));
    // The same stream, which nobody opened again.
    for kind in ["session.error", "session.idle"] {
        events
            .next_where(kind, BOUND, |event| {
                event["type"] == kind && event["properties"]["sessionID"] == session.as_str()
            })
            .await
            .unwrap();
    }
    world.model().open("never");
    let turn = client.turn_in(&session, Script::new().text("again").prompt("go on")).await.unwrap();
    assert_eq!(turn.succeeded().text, "again");
    let text = |event: &Value| event["properties"]["part"]["text"] == "again";
    events.next_where("the next turn's text", BOUND, text).await.unwrap();
    assert_ne!(pid(&ensure(&world, &repo)), pid(&endpoint));
    world.finish();
}

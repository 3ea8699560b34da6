//! `repod web`, in a real browser: what a person sees of real repositories, and who is not let in.

use crate::leases::leases;
use crate::{BOUND, builder, client, ensure, oc, world};
use repod_client::SessionName;
use repod_proto::{Endpoint, ErrorBody, MemoryHistory, SessionRequest, TurnRequest, WebOpened};
use repod_testkit::{Script, World, wait_until};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// Everything that a daemon of a debug build, a browser and a dozen pages take on a busy machine.
const TOUR: std::time::Duration = std::time::Duration::from_secs(420);

fn opened(world: &World) -> WebOpened {
    world.repod(["web", "--json"]).json()
}

fn web_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web")
}

/// Has `web/test/tour.js` look at the dashboard, and at what it is told to expect there.
fn tour(world: &World, expected: &Value) {
    let sources = web_sources();
    assert!(
        sources.join("node_modules/playwright-core").is_dir(),
        "no browser tests without their packages: run ./test, which fetches them (`npm ci` in web/)"
    );
    let mut node = world.command("node").arg(sources.join("test/tour.js")).bound(TOUR);
    for name in ["REPOD_CHROMIUM", "REPOD_PICTURES"] {
        if let Some(value) = std::env::var_os(name) {
            node = node.env(name, value);
        }
    }
    let running = node.arg(expected.to_string()).spawn();
    if expected.get("session").is_some() {
        // It has seen what is before the gate, and waits for what comes after.
        running.wait_line("the gate", TOUR, |line| line == "open the gate");
        world.model().open("go on");
    }
    let done = running.wait(TOUR);
    assert_eq!(done.code, 0, "{}\n{}", done.stdout, done.stderr);
}

async fn session(world: &World, repo: &Path, name: &str, title: &str, script: &Script) {
    let client = client(world);
    let request = SessionRequest {
        path: repo.display().to_string(),
        session_id: Some(name.to_owned()),
        title: Some(title.to_owned()),
        ..SessionRequest::default()
    };
    let ensured = client.ensure_session(request).await.unwrap();
    let turn = TurnRequest { text: script.prompt("do"), ..TurnRequest::default() };
    client.begin_turn(&SessionName::of(&ensured.session), &turn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_twelve_repos_their_sessions_leases_writes_and_faults() {
    let world = builder().settings("[limits]\nmemory_sample = \"3s\"\n").build();
    let repos: Vec<_> = (1..=12).map(|n| world.git_repo(&format!("repo{n:02}"))).collect();
    // Three are awake, the others known and asleep.
    let up: Vec<Endpoint> = world.repod(["up", "--json"]).args(&repos).bound(4 * BOUND).json();
    let ids: Vec<_> = up.iter().map(|endpoint| endpoint.repo_id.to_string()).collect();
    for repo in &repos[3..] {
        wait_until("asleep", BOUND, async || {
            (world.repod(["hibernate"]).arg(repo).run().code == 0).then_some(())
        })
        .await;
    }
    // One wrote in another repo, holds its own branch, and goes on when it is let.
    let crossing = Script::new()
        .reasoning("first the other one")
        .write(repos[1].join("from-one.txt"), "crossed\n")
        .write("mine.txt", "mine\n")
        .bash("echo said by a command")
        .gate("go on")
        .text("and done at last");
    session(&world, &repos[0], "writer", "Write across", &crossing).await;
    wait_until("its lease", BOUND, async || {
        (world.model().waiting_at("go on") == 1 && !leases(&world).is_empty()).then_some(())
    })
    .await;
    session(&world, &repos[0], "second", "Wait in line", &Script::new().write("mine.txt", "x"))
        .await;
    wait_until("one in line", BOUND, async || {
        leases(&world).iter().any(|lease| lease.waiters.len() == 1).then_some(())
    })
    .await;
    // Something for the audit to find.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(world.layout().repo(&ids[4].parse().unwrap()).dir(), open).unwrap();

    let secrets: Vec<_> = repos[..3]
        .iter()
        .flat_map(|repo| {
            let endpoint = ensure(&world, repo);
            let url = endpoint.capability_url.unwrap();
            [endpoint.password.unwrap(), url.rsplit_once('~').unwrap().1.to_owned()]
        })
        .collect();
    tour(
        &world,
        &json!({
            "url": opened(&world).url,
            "repos": ids,
            "awake": 3,
            "session": { "repo": ids[0], "id": "writer", "title": "Write across",
                "before": "mine.txt", "after": "and done at last", "tool": "said by a command" },
            "waiting": { "title": "Wait in line", "owner": "Write across", "branch": "main" },
            "mutation": { "from": ids[0], "to": ids[1], "file": "from-one.txt" },
            "finding": ids[4],
            "secrets": secrets,
            "stop": ids[2],
        }),
    );
    assert_eq!(fs_err::read_to_string(repos[1].join("from-one.txt")).unwrap(), "crossed\n");
    let stopped = crate::status(&world, &repos[2]).summary.endpoint.state;
    assert_eq!(stopped, repod_proto::BackendState::Stopped, "it was stopped by a click");
    oc(&ensure(&world, &repos[0]));
    world.finish();
}

#[test]
fn the_dashboard_of_an_empty_home_says_how_to_begin() {
    let world = world();
    tour(&world, &json!({ "url": opened(&world).url, "repos": [], "awake": 0 }));
    world.finish();
}

/// One request in plain bytes, and the whole answer.
fn ask(origin: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(origin.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let length = body.len();
    write!(stream, "{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn pass_of(opened: &WebOpened) -> Option<String> {
    let invitation = opened.url.split_once("#login=").unwrap().1;
    let body = json!({ "invitation": invitation }).to_string();
    let host = opened.origin.trim_start_matches("http://");
    let head = format!("POST /login HTTP/1.1\r\nhost: {host}\r\norigin: {}", opened.origin);
    let answer = ask(&opened.origin, &head, &body);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if !head.starts_with("HTTP/1.1 200") {
        assert!(head.starts_with("HTTP/1.1 401"), "{answer}");
        return None;
    }
    serde_json::from_str::<Value>(body).unwrap()["pass"].as_str().map(str::to_owned)
}

#[test]
fn nobody_comes_in_without_a_pass_from_elsewhere_or_under_another_name() {
    let world = world();
    let link = opened(&world);
    let host = link.origin.trim_start_matches("http://").to_owned();
    let pass = pass_of(&link).unwrap();
    assert_eq!(pass_of(&link), None, "a link is good once");
    let get = |path: &str, more: &str| {
        ask(&link.origin, &format!("GET {path} HTTP/1.1\r\nhost: {host}{more}"), "")
    };
    let bearer = format!("\r\nauthorization: Bearer {pass}");
    let code = |answer: &str| answer.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(code(&get("/v1/ps", &bearer)), "200");
    let wrong = format!("\r\nauthorization: Bearer {}", "0".repeat(64));
    for (more, status) in [
        ("", "401"),
        (wrong.as_str(), "401"),
        (&format!("\r\nauthorization: Basic {pass}"), "401"),
        (&format!("{bearer}\r\norigin: http://evil.example"), "403"),
        (&format!("{bearer}\r\norigin: http://127.0.0.1:1"), "403"),
        (&format!("{bearer}\r\norigin: null"), "403"),
        (&format!("{bearer}\r\nsec-fetch-site: cross-site"), "403"),
        (&format!("{bearer}\r\nsec-fetch-site: same-site"), "403"),
        (&format!("{bearer}\r\nhost: evil.example"), "400"),
    ] {
        let answer = get("/v1/ps", more);
        let got = code(&answer);
        assert!(got == status || got == "403", "{more}: {answer}");
    }
    let named = format!("GET /v1/ps HTTP/1.1\r\nhost: evil.example:80{bearer}");
    assert_eq!(code(&ask(&link.origin, &named, "")), "403", "a name that DNS has a say in");
    // Nothing of the API that tells secrets or does more is there.
    for path in ["/v1/status?path=/", "/v1/ensure", "/v1/web", "/metrics", "/v1/shutdown"] {
        assert_eq!(code(&get(path, &bearer)), "404", "{path}");
    }
    // Every answer forbids the same things, also one that refuses.
    for answer in [get("/", ""), get("/app.js", ""), get("/v1/ps", ""), get("/nothing", "")] {
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
        assert!(!answer.contains("access-control-allow"), "{answer}");
    }
    let tag =
        get("/app.js", "").lines().find(|it| it.starts_with("etag: ")).unwrap()[6..].to_owned();
    assert_eq!(code(&get("/app.js", &format!("\r\nif-none-match: {tag}"))), "304");
    // A pass ends when it is given back.
    let head = format!("POST /logout HTTP/1.1\r\nhost: {host}{bearer}");
    assert_eq!(code(&ask(&link.origin, &head, "")), "204");
    assert_eq!(code(&get("/v1/ps", &bearer)), "401");
    // The next daemon serves it at the same place, and knows none of the old keys.
    let unused = opened(&world);
    assert_eq!(unused.origin, link.origin);
    world.repod(["shutdown"]).ok();
    let next = opened(&world);
    assert_eq!((next.origin.clone(), next.warning.clone()), (link.origin.clone(), None));
    assert_eq!(pass_of(&unused), None);
    assert!(pass_of(&next).is_some());
    assert_eq!(world.repod(["shutdown"]).code(), 0);
    assert_eq!(world.repod(["web", "--no-start"]).code(), 3);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_opened_without_the_link_among_its_arguments() {
    let world = world();
    let bin = world.root().join("bin");
    let seen = world.root().join("seen");
    fs_err::create_dir_all(&bin).unwrap();
    // Whatever would open a page, this does.
    for name in ["xdg-open", "gio", "gnome-open", "kde-open"] {
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\nprintf '%s' \"$last\" >{}.new\nmv {0}.new {0}\n",
            seen.display()
        );
        fs_err::write(bin.join(name), script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(bin.join(name), executable).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let printed = world.repod(["web", "--open"]).env("PATH", path).ok();
    let given = wait_until("the browser", BOUND, async || fs_err::read_to_string(&seen).ok()).await;
    let page = fs_err::read_to_string(&given).unwrap();
    assert!(page.contains(printed.stdout.trim()) && !given.contains("login="), "{given}: {page}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs_err::metadata(&given).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_ask_the_socket_for_what_the_dashboard_shows() {
    let world = builder().settings("[limits]\nmemory_sample = \"200ms\"\n").build();
    let repo = world.git_repo("web");
    let id = ensure(&world, &repo).repo_id;
    let curl = |path: &str| {
        let socket = world.layout().socket();
        let curl = world.command("curl").args(["-sS", "--unix-socket"]).arg(socket);
        curl.arg(format!("http://repod{path}")).ok().stdout
    };
    let all = wait_until("five samples", BOUND, async || {
        let all: MemoryHistory =
            serde_json::from_str(&curl(&format!("/v1/memory?repo_id={id}"))).ok()?;
        (all.samples.len() >= 5).then_some(all)
    })
    .await;
    assert!(all.samples.is_sorted_by(|a, b| a.at < b.at) && all.repo_id == id);
    let path = format!("/v1/memory?path={}&after={}&points=2", repo.display(), all.samples[1].at);
    let some: MemoryHistory = serde_json::from_str(&curl(&path)).unwrap();
    assert!(some.samples.len() <= 2 && some.measured >= 3, "{some:?}");
    assert!(some.samples.iter().all(|sample| sample.at > all.samples[1].at), "{some:?}");
    for wrong in ["/v1/memory", "/v1/memory?repo_id=x", "/v1/memory?path=relative"] {
        let error: ErrorBody = serde_json::from_str(&curl(wrong)).unwrap();
        assert!(!error.error.message.is_empty());
    }
    let (one, other) = (curl("/v1/audit"), curl("/v1/audit"));
    let report: Value = serde_json::from_str(&one).unwrap();
    assert!(
        report["findings"].is_array() && report["checked"].as_array().unwrap().len() > 10,
        "{one}"
    );
    assert_eq!(one, other, "what was found a moment ago is told again");
    world.finish();
}

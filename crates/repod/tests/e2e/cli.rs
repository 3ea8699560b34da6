//! The command line is a contract: shapes, exit codes, and where what is printed.

use crate::{builder, ensure, pid, world};
use repod_proto::{Endpoint, ErrorBody, ErrorCode};
use serde_json::Value;

#[test]
fn look_and_don_t_start() {
    let world = world();
    let repo = world.git_repo("web");
    for args in [&["ensure"][..], &["up"], &["ps"], &["status"], &["stop"], &["restart"], &["gc"]] {
        let mut cmd = world.repod(args).arg("--no-start");
        if !matches!(args, ["ps"] | ["gc"]) {
            cmd = cmd.arg(&repo);
        }
        let output = cmd.run();
        assert_eq!(output.code, 3, "{args:?}: {output:?}");
        assert!(output.stderr.contains("hint: "), "{args:?}: {output:?}");
    }
    assert_eq!(world.repod(["shutdown"]).code(), 3);
    assert!(world.processes().is_empty());
    assert!(!world.layout().socket().exists());
    // A daemon without a backend there: still nothing is started.
    world.repod(["ps"]).ok();
    assert_eq!(world.repod(["ensure", "--no-start"]).arg(&repo).code(), 3);
    assert_eq!(world.repod(["status", "--no-start"]).arg(&repo).code(), 3);
    world.finish();
}

#[test]
fn errors_are_kind_cause_and_hint() {
    let world = world();
    let missing = world.repos().join("missing");
    let output = world.repod(["ensure"]).arg(&missing).run();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.starts_with("error: "), "{output:?}");
    let output = world.repod(["ensure", "--json"]).arg(&missing).run();
    assert_eq!(output.json::<ErrorBody>().error.code, ErrorCode::PathNotFound);
    assert_eq!(world.repod(["ensure", "--nonsense"]).code(), 2);
    assert_eq!(world.repod(["run", "."]).code(), 2);
    assert_eq!(world.repod::<&str>([]).code(), 2);

    let world2 = builder().settings("[backend]\nstart_timout = \"3s\"").build();
    let repo = world2.git_repo("web");
    let output = world2.repod(["ensure"]).arg(&repo).run();
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("did you mean `backend.start_timeout`?"), "{output:?}");
    assert_eq!(world2.repod(["config"]).code(), 2);
    world2.finish();
    world.finish();
}

#[test]
fn run_gives_a_program_the_endpoint_and_its_exit_code() {
    let world = world();
    let repo = world.git_repo("web");
    let script = "echo $REPOD_URL $REPOD_REPO_ID $OPENCODE_SERVER_PASSWORD; exit 7";
    let output = world.repod(["run"]).arg(&repo).args(["--", "sh", "-c", script]).run();
    let endpoint = ensure(&world, &repo);
    assert_eq!(output.code, 7);
    let said: Vec<_> = output.stdout.split_whitespace().collect();
    let password = endpoint.password.clone().unwrap();
    assert_eq!(said, [endpoint.url.as_deref().unwrap(), endpoint.repo_id.as_str(), &password]);
    world.finish();
}

#[test]
fn logs_show_what_the_backend_said_and_follow_it() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let output = world.repod(["logs"]).arg(&repo).ok().stdout;
    assert!(output.contains("opencode server listening"), "{output}");
    let lines: Vec<Value> = world.repod(["logs", "--json"]).arg(&repo).ok().ndjson();
    assert!(lines.iter().any(|l| l["line"].as_str().unwrap().contains("listening")));
    let following = world.repod(["logs", "-f", "-n", "1"]).arg(&repo).spawn();
    following.wait_line("the last line", crate::BOUND, |l| l.contains("listening"));
    world.repod(["restart"]).arg(&repo).ok();
    following.wait_line("the next start", crate::BOUND, |l| l.contains("generation 2 starts"));
    following.handle().kill().unwrap();
    drop(following.wait(crate::BOUND));
    assert_ne!(pid(&ensure(&world, &repo)), pid(&endpoint));
    world.finish();
}

#[test]
fn up_reports_each_repo_and_fails_for_the_one_that_failed() {
    let world = world();
    let good = world.git_repo("good");
    let missing = world.repos().join("missing");
    let output = world.repod(["up", "--json"]).args([&good, &missing]).run();
    assert_eq!(output.code, 1);
    let elements: Vec<Value> = output.json();
    let endpoint: Endpoint = serde_json::from_value(elements[0].clone()).unwrap();
    assert_eq!(endpoint.root, good.to_str().unwrap());
    assert_eq!(elements[1]["error"]["code"], "path_not_found");
    let table = world.repod(["up"]).arg(&good).ok().stdout;
    assert!(table.contains(endpoint.repo_id.as_str()) && table.contains("ready"), "{table}");
    assert!(!table.contains('\u{1b}'));
    world.finish();
}

#[test]
fn completions_manual_config_and_version_need_no_daemon() {
    let world = world();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.repod(["completions", shell]).ok().stdout.contains("repod"));
    }
    assert!(world.repod(["man"]).ok().stdout.contains(".TH repod"));
    let dir = world.root().join("man");
    world.repod(["man"]).arg(&dir).ok();
    assert!(dir.join("repod-ensure.1").exists());
    let config: Vec<Value> = world.repod(["config", "--json"]).json();
    assert!(config.iter().any(|row| row["key"] == "limits.nofile" && row["origin"] == "default"));
    let version: Value = world.repod(["version", "--json"]).json();
    assert_eq!(version["daemon"], Value::Null);
    assert_eq!(version["opencode"]["version"], "1.18.33");
    assert!(world.processes().is_empty());
    world.finish();
}

#[test]
fn the_socket_speaks_plain_http() {
    let world = world();
    let repo = world.git_repo("web");
    let expected = ensure(&world, &repo);
    let ask = |args: &[&str]| {
        let mut cmd = world.command("node").args(["-e", include_str!("http_over_unix.js")]);
        cmd = cmd.arg(world.layout().socket()).args(args);
        cmd.ok().stdout
    };
    let body = format!("{{\"path\":\"{}\"}}", repo.display());
    let (status, answer) = ask(&["POST", "/v1/ensure", &body])
        .split_once('\n')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(status, "200");
    assert_eq!(serde_json::from_str::<Endpoint>(&answer).unwrap(), expected);
    assert!(
        ask(&["GET", "/v1/nothing", ""]).starts_with("404\n{\"error\":{\"code\":\"no_such_route\"")
    );
    assert!(
        ask(&["POST", "/v1/ensure", "{"])
            .starts_with("400\n{\"error\":{\"code\":\"invalid_request\"")
    );
    world.finish();
}

#[test]
fn attach_is_opencode_s_own_interface_on_the_repo_s_backend() {
    let world = world();
    let repo = world.git_repo("web");
    let (screen, repod) = (world.root().join("screen"), env!("CARGO_BIN_EXE_repod"));
    // A terminal of its own, as `script` makes one.
    let command = format!("{repod} attach {}", repo.display());
    let terminal = world
        .command("script")
        .args(["-qfec", &command])
        .arg(&screen)
        .env("TERM", "xterm-256color")
        .spawn();
    tokio::runtime::Runtime::new().unwrap().block_on(repod_testkit::wait_until(
        "the prompt on the screen",
        crate::BOUND,
        async || {
            let seen = fs_err::read(&screen).unwrap_or_default();
            String::from_utf8_lossy(&seen).contains("Ask anything").then_some(())
        },
    ));
    let attached = world.processes().into_iter().find(|p| p.cmdline.contains(" attach http"));
    let attached = attached.expect("the interface runs");
    let endpoint = ensure(&world, &repo);
    assert!(attached.cmdline.contains(&format!("--dir {}", repo.display())), "{attached:?}");
    assert!(!attached.cmdline.contains(&endpoint.password.unwrap()));
    let database = world.home().join(".local/share/opencode/opencode.db");
    assert!(!database.exists(), "no second database");
    repod_testkit::proc::Handle::open(attached.pid).unwrap().terminate().unwrap();
    drop(terminal.wait(crate::BOUND));
    world.finish();
}

//! Slow is not dead, dead is noticed, and a start that fails says why.

use crate::{BOUND, backends, builder, client, ensure, oc, pid, status, world};
use repod_proto::{BackendState, ErrorBody, ErrorCode};
use repod_testkit::{Script, proc, wait_until};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_busy_backend_is_unresponsive_not_killed_and_its_turn_completes() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let session = client.create_session(&repo).await.unwrap();
    let script = Script::new().gate("go").write(repo.join("made.txt"), "x\n").text("done");
    client.start_turn(&session, script.prompt("go")).await.unwrap();
    let process = proc::Handle::open(pid(&endpoint)).unwrap();
    process.stop().unwrap();
    let stopped = std::time::Instant::now();
    let twenty = std::time::Duration::from_secs(20);
    wait_until("`unresponsive`", twenty, async || {
        let state = status(&world, &repo).summary.endpoint.state;
        (state == BackendState::Unresponsive).then_some(())
    })
    .await;
    world.model().open("go");
    wait_until("20 s to pass", BOUND, async || (stopped.elapsed() > twenty).then_some(())).await;
    let state = status(&world, &repo).summary.endpoint;
    assert_eq!((state.state, pid(&state)), (BackendState::Unresponsive, pid(&endpoint)));
    process.cont().unwrap();
    client.wait_idle(&session, &repo, BOUND).await;
    assert_eq!(client.last_turn(&session).await.unwrap().succeeded().text, "done");
    let after = ensure(&world, &repo);
    assert_eq!((after.state, pid(&after)), (BackendState::Ready, pid(&endpoint)));
    assert_eq!(after.generation, endpoint.generation);
    world.finish();
}

#[test]
fn a_crash_is_noticed_at_once_and_the_backend_comes_back() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    kill(pid(&before));
    let after = ensure(&world, &repo);
    assert_ne!(pid(&after), pid(&before));
    assert_eq!(after.generation.0, 2);
    assert_eq!(backends(&world), [pid(&after)]);
    world.finish();
}

fn kill(pid: u32) {
    let process = proc::Handle::open(pid).unwrap();
    process.kill().unwrap();
    assert!(process.wait_exit(BOUND));
}

/// An `opencode` that says its version and then does what `body` says instead of serving.
fn fake_opencode(dir: &Path, body: &str) -> PathBuf {
    let file = dir.join("fake-opencode");
    let script =
        format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo 1.18.33; exit; fi\n{body}\n");
    fs_err::write(&file, script).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    file
}

#[test]
fn a_backend_that_never_comes_up_is_parked_after_five_starts_with_the_reason() {
    let world = world();
    let repo = world.git_repo("web");
    let fake = fake_opencode(world.root(), "echo 'something is very wrong'; exit 9");
    let start = || world.repod(["ensure", "--json"]).arg(&repo).env("REPOD_OPENCODE", &fake).run();
    for _ in 0..5 {
        let output = start();
        let error = output.json::<ErrorBody>().error;
        assert!(
            matches!(error.code, ErrorCode::StartFailed | ErrorCode::BackendParked),
            "{error:?}"
        );
        let tail = error.details.get("log_tail").and_then(|tail| tail.as_str());
        assert!(tail.is_some_and(|tail| tail.contains("very wrong")), "{error:?}");
    }
    let parked = start().json::<ErrorBody>().error;
    assert_eq!(parked.code, ErrorCode::BackendParked, "{parked:?}");
    assert!(parked.message.contains("exited with code 9"), "{parked:?}");
    assert!(parked.hint.unwrap().contains("repod restart"));
    assert!(parked.details["log_tail"].as_str().unwrap().contains("very wrong"));
    assert_eq!(status(&world, &repo).summary.endpoint.state, BackendState::Failed);
    // Mended: restart gives it a new chance.
    let up = world.repod(["restart", "--json"]).arg(&repo).ok();
    assert!(up.stdout.contains("\"ready\""), "{up:?}");
    world.finish();
}

#[test]
fn a_lost_port_is_tried_again() {
    let world = world();
    let repo = world.git_repo("web");
    let once = world.root().join("once");
    // The first time somebody else takes the port between its choice and the start.
    let body = format!(
        "if [ ! -e {once} ]; then echo > {once}; \
         for a; do [ \"$p\" = --port ] && port=$a; p=$a; done; \
         node -e 'require(\"net\").createServer().listen(+process.argv[1], \"127.0.0.1\")' $port & \
         fi; exec {opencode} \"$@\"",
        once = once.display(),
        opencode = world.opencode().display()
    );
    let fake = fake_opencode(world.root(), &body);
    let endpoint: repod_proto::Endpoint =
        world.repod(["ensure", "--json"]).arg(&repo).env("REPOD_OPENCODE", &fake).json();
    assert_eq!(endpoint.state, BackendState::Ready);
    assert!(once.exists());
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_any_step_of_a_start_is_recovered_from() {
    for point in ["slot", "held", "recorded", "released", "booted", "ready"] {
        let world = world();
        let repo = world.git_repo("web");
        // A debug build dies there as a power cut would let it, once.
        fs_err::create_dir_all(world.repod_home()).unwrap();
        fs_err::write(world.repod_home().join(format!("fault-{point}")), "").unwrap();
        let client = client(&world);
        drop(world.repod(["ensure"]).arg(&repo).run());
        // The last of them comes when the caller has his answer.
        let armed = world.repod_home().join(format!("fault-{point}"));
        wait_until(point, BOUND, async || (!armed.exists()).then_some(())).await;
        let endpoint = client.ensure_running(&repo).await.unwrap();
        assert_eq!(endpoint.state, BackendState::Ready, "{point}");
        assert_eq!(backends(&world), [pid(&endpoint)], "{point}");
        let turn = oc(&endpoint).turn(&repo, Script::new().text("ok").prompt("hi")).await.unwrap();
        assert_eq!(turn.succeeded().text, "ok");
        world.finish();
    }
}

#[test]
fn an_unsupported_opencode_is_refused_with_a_hint() {
    let world = builder().build();
    let repo = world.git_repo("web");
    let old = fake_opencode(world.root(), "exit 1");
    for version in ["1.17.9", "2.0.1", "garbage"] {
        let text = fs_err::read_to_string(&old).unwrap();
        let line = text.lines().find(|line| line.contains("--version")).unwrap();
        let new = format!("if [ \"$1\" = --version ]; then echo {version}; exit; fi");
        fs_err::write(&old, text.replace(line, &new)).unwrap();
        let output = world.repod(["ensure", "--json"]).arg(&repo).env("REPOD_OPENCODE", &old).run();
        let error = output.json::<ErrorBody>().error;
        assert_eq!(error.code, ErrorCode::OpencodeUnsupported, "{version}: {error:?}");
        assert!(error.hint.unwrap().contains(if version == "garbage" {
            "--version"
        } else {
            "1.18"
        }));
    }
    world.finish();
}

//! One daemon, one backend, one answer, however many ask and by whatever path.

use crate::{BOUND, backends, builder, client, daemon_pid, ensure, oc, pid, ps, world};
use repod_proto::{BackendState, Endpoint, EnsureStep, ErrorBody, ErrorCode};
use repod_testkit::{Script, proc, wait_until};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_started_once_and_found_again() {
    let world = world();
    let repo = world.git_repo("web");
    let first = ensure(&world, &repo);
    assert_eq!(first.state, BackendState::Ready);
    assert_eq!(first.branch.as_deref(), Some("main"));
    assert_eq!((first.root.as_str(), first.generation.0), (repo.to_str().unwrap(), 1));
    let url = world.repod(["ensure"]).arg(&repo).ok().stdout;
    assert_eq!(url.trim(), first.url.as_deref().unwrap());
    assert_eq!(ensure(&world, &repo), first);

    let turn = oc(&first).turn(&repo, Script::new().text("hello").prompt("hi")).await.unwrap();
    assert_eq!(turn.succeeded().text, "hello");
    let rows = ps(&world);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].sessions, rows[0].busy), (Some(1), Some(0)));
    assert!(rows[0].rss_bytes.unwrap() > 50 << 20);
    assert_eq!(rows[0].endpoint.password, None);
    world.finish();
}

#[test]
fn fifty_at_once_from_cold_get_one_daemon_one_backend_one_answer() {
    let world = world();
    let repo = world.git_repo("web");
    fs_err::create_dir_all(repo.join("a/b")).unwrap();
    let link = world.repos().join("link");
    std::os::unix::fs::symlink(&repo, &link).unwrap();
    let slash = format!("{}/", repo.display());
    let tree = world.worktree(&repo, "topic");
    let ways = [repo.clone(), repo.join("a/b"), link, slash.into(), tree.clone()];

    let asked: Vec<_> = (0..50)
        .map(|i| world.repod(["ensure", "--json"]).arg(&ways[i % ways.len()]).spawn())
        .collect();
    let answers: Vec<Endpoint> = asked.into_iter().map(|r| r.wait(BOUND).ok().json()).collect();

    let one = |what: fn(&Endpoint) -> String| {
        let all: BTreeSet<_> = answers.iter().map(what).collect();
        assert_eq!(all.len(), 1, "{all:?}");
    };
    one(|e| e.repo_id.to_string());
    one(|e| e.url.clone().unwrap());
    one(|e| e.password.clone().unwrap());
    one(|e| pid(e).to_string());
    one(|e| e.generation.to_string());
    assert_eq!(backends(&world), [pid(&answers[0])]);
    assert_eq!(answers[4].directory, tree.to_str().unwrap());
    let daemons: Vec<_> = world
        .processes()
        .into_iter()
        .filter(|p| p.cmdline.starts_with("repod daemon") && !p.cmdline.contains("--standby"))
        .collect();
    assert_eq!(daemons.len(), 1, "{daemons:?}");
    assert_eq!(daemons[0].pid, daemon_pid(&world));
    world.finish();
}

#[test]
fn a_caller_who_leaves_cancels_nothing() {
    let world = world();
    let repo = world.git_repo("web");
    let leaving = world.repod(["ensure"]).arg(&repo).spawn();
    let handle = proc::Handle::open(leaving.pid()).unwrap();
    // It has asked as soon as there is a record of the start.
    let record = world.layout().repos();
    let asked = || std::fs::read_dir(&record).is_ok_and(|mut dir| dir.next().is_some());
    tokio::runtime::Runtime::new().unwrap().block_on(repod_testkit::wait_until(
        "the start",
        BOUND,
        async || asked().then_some(()),
    ));
    handle.kill().unwrap();
    drop(leaving.wait(BOUND));
    let endpoint = ensure(&world, &repo);
    assert_eq!(endpoint.generation.0, 1);
    assert_eq!(backends(&world), [pid(&endpoint)]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_as_many_start_at_once_as_allowed_and_the_others_say_that_they_wait() {
    let world =
        builder().settings("[backend]\nstart_concurrency = 1").env("REPOD_LOG", "debug").build();
    // The daemon is the world's own child, with its environment.
    world.repod(["ps"]).ok();
    let client = client(&world);
    let starts = (0..4).map(|i| {
        let (client, repo) = (client.clone(), world.git_repo(&format!("repo{i}")));
        tokio::spawn(async move {
            let mut steps = Vec::new();
            let ensured = client.ensure_with_progress(&repo, |p| steps.push(p.step)).await;
            assert_eq!(ensured.unwrap().state, BackendState::Ready);
            steps
        })
    });
    let starts: Vec<_> = starts.collect();
    let mut queued = 0;
    for start in starts {
        let steps = start.await.unwrap();
        assert!(steps.contains(&EnsureStep::Booting), "{steps:?}");
        queued += usize::from(steps.contains(&EnsureStep::Queued));
    }
    assert!(queued >= 3, "{queued}");
    // In the log of the daemon a start never begins before the one before is ready.
    let log = fs_err::read_to_string(world.layout().log()).unwrap();
    let order: Vec<_> = log
        .lines()
        .filter_map(|line| {
            let spawns = line.contains("bring-up step=\"spawning\"");
            (spawns || line.contains("state=\"ready\"")).then_some(spawns)
        })
        .collect();
    assert_eq!(order, [true, false].repeat(4), "{log}");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_stopped_tells_its_callers_and_leaves_nothing() {
    let world = world();
    let repo = world.git_repo("web");
    let waiting = world.repod(["ensure", "--json"]).arg(&repo).spawn();
    wait_until("a process", BOUND, async || {
        world.processes().iter().any(|p| p.env("REPOD_BACKEND").is_some()).then_some(())
    })
    .await;
    world.repod(["stop"]).arg(&repo).ok();
    let output = waiting.wait(BOUND);
    let error = output.json::<ErrorBody>().error;
    assert_eq!((output.code, error.code), (1, ErrorCode::Stopped), "{error:?}");
    assert!(!world.processes().iter().any(|p| p.env("REPOD_BACKEND").is_some()));
    assert_eq!(ensure(&world, &repo).state, BackendState::Ready);
    world.finish();
}

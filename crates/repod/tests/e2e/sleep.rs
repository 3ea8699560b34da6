//! Hibernation: who sleeps, who doesn't, and that nobody notices.

use crate::{BOUND, builder, ensure, oc, pid, ps, status, world};
use repod_proto::{BackendState, Endpoint, HibernateReport};
use repod_testkit::{Oc, Permissions, Script, World, proc, wait_until};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

fn hibernate(world: &World, path: &Path) -> HibernateReport {
    let output = world.repod(["hibernate", "--json"]).arg(path).run();
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// By hand, as soon as a request a moment ago allows it.
pub(crate) async fn put_to_sleep(world: &World, path: &Path) {
    wait_until("sleep", BOUND, async || {
        hibernate(world, path).hibernated[0].error.is_none().then_some(())
    })
    .await;
    assert_eq!(state(world, path), BackendState::Hibernated);
}

fn state(world: &World, path: &Path) -> BackendState {
    status(world, path).summary.endpoint.state
}

async fn sleeps(world: &World, path: &Path) {
    wait_until("sleep", BOUND, async || {
        (state(world, path) == BackendState::Hibernated).then_some(())
    })
    .await;
}

async fn turn(client: &Oc, repo: &Path, text: &str) {
    let turn = client.turn(repo, Script::new().text(text).prompt("hi")).await.unwrap();
    assert_eq!(turn.succeeded().text, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_request_wakes_it_and_an_open_stream_outlives_the_sleep() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    turn(&client, &repo, "before").await;
    let mut events = client.global_events().await.unwrap();
    let process = proc::Handle::open(pid(&endpoint)).unwrap();
    put_to_sleep(&world, &repo).await;
    assert!(process.wait_exit(BOUND));
    let row = &ps(&world)[0];
    assert_eq!((row.clients, row.rss_bytes, row.endpoint.backend.as_ref()), (Some(1), None, None));
    // A second time there is nothing to do.
    assert!(!hibernate(&world, &repo).hibernated[0].was_running);

    turn(&client, &repo, "after").await;
    let after = status(&world, &repo).summary.endpoint;
    assert_eq!((after.state, after.generation.0), (BackendState::Ready, 2));
    assert_eq!((after.url, after.password), (endpoint.url, endpoint.password));
    let told = |event: &serde_json::Value| event["type"] == "session.idle";
    events.next_where("the end of the turn after the sleep", BOUND, told).await.unwrap();
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_stays_awake() {
    let world =
        builder().settings("[limits]\nidle = \"1s\"\n").permissions(Permissions::Ask).build();
    let (busy, asking, typing, held) = (
        world.git_repo("busy"),
        world.git_repo("asking"),
        world.git_repo("typing"),
        world.git_repo("held"),
    );
    let endpoints = [&busy, &asking, &typing, &held].map(|repo| ensure(&world, repo));
    let clients = endpoints.each_ref().map(oc);

    let session = clients[0].create_session(&busy).await.unwrap();
    let script = Script::new().gate("go on").text("done").prompt("hi");
    clients[0].start_turn(&session, script).await.unwrap();
    let waiting = clients[1].create_session(&asking).await.unwrap();
    let script = Script::new().bash("echo asked >asked.txt").text("done");
    clients[1].prompt_async(&waiting, script).await.unwrap();
    wait_until("the question", BOUND, async || {
        (!clients[1].permissions(&asking).await.unwrap().is_empty()).then_some(())
    })
    .await;
    clients[2].post("/pty", Some(&typing), json!({ "command": "cat" })).await.unwrap();
    let stream = clients[3].global_events().await.unwrap();

    // One that nobody uses is asleep by then.
    let unused = world.git_repo("unused");
    ensure(&world, &unused);
    sleeps(&world, &unused).await;
    let all = [&busy, &asking, &typing, &held];
    let pids = |world: &World| all.map(|repo| status(world, repo).summary.endpoint.backend);
    let before = pids(&world);
    assert!(before.iter().all(Option::is_some), "{before:?}");
    let unused = world.git_repo("unused too");
    ensure(&world, &unused);
    sleeps(&world, &unused).await;
    assert_eq!(pids(&world), before, "the same processes");
    // By hand neither, and it is said why; but a listener hears nothing of a sleep.
    for (repo, why) in [(&busy, "session is busy"), (&asking, "waiting"), (&typing, "terminal")] {
        let output = world.repod(["hibernate"]).arg(repo).run();
        assert_eq!(output.code, 75, "{output:?}");
        assert!(output.stderr.contains(why), "{output:?}");
    }
    put_to_sleep(&world, &held).await;
    // Of all, those in use are not meant.
    let output = world.repod(["hibernate", "--all"]).ok();
    assert!(output.stderr.contains("session is busy"), "{output:?}");

    world.model().open("go on");
    sleeps(&world, &busy).await;
    drop(stream);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_listens_may_be_told_not_to_keep_it_awake() {
    let world =
        builder().settings("[limits]\nidle = \"1s\"\nlisteners_keep_awake = false\n").build();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let mut events = client.events(&repo).await.unwrap();
    sleeps(&world, &repo).await;
    turn(&client, &repo, "woken").await;
    events
        .next_where("the turn's end", BOUND, |event| event["type"] == "session.idle")
        .await
        .unwrap();
    sleeps(&world, &repo).await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_races_the_sleep_is_served() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let asking = async {
        for made in 0..60 {
            let title = format!("s{made}");
            client.post("/session", Some(&repo), json!({ "title": title })).await.unwrap();
            // Just beyond the time in which a request may still become a turn.
            if made % 20 == 19 {
                tokio::time::sleep(Duration::from_millis(2_000)).await;
            }
        }
    };
    let client = crate::client(&world);
    let request = repod_proto::HibernateRequest {
        target: repod_proto::Target::Path(repo.display().to_string()),
    };
    let mut slept = 0;
    let sleeping = async {
        loop {
            let report = client.hibernate(&request).await.unwrap();
            slept += u32::from(report.hibernated[0].error.is_none());
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = sleeping => {}
    }
    let count = oc(&endpoint).get("/session", Some(&repo)).await.unwrap();
    assert_eq!(count.as_array().unwrap().len(), 60, "each was made once; it slept {slept} times");
    assert!(slept >= 1, "it never slept");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_left_by_an_earlier_daemon_is_asked_before_it_sleeps() {
    let world = builder().settings("[limits]\nidle = \"1s\"\n").build();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let session = client.create_session(&repo).await.unwrap();
    let script = Script::new().gate("go on").text("done").prompt("hi");
    client.start_turn(&session, script).await.unwrap();
    world.repod(["shutdown"]).ok();
    // This daemon has heard of no turn.
    let unused = world.git_repo("unused");
    ensure(&world, &unused);
    sleeps(&world, &unused).await;
    let now = status(&world, &repo).summary;
    assert_eq!((pid(&now.endpoint), now.busy), (pid(&endpoint), Some(1)));
    world.model().open("go on");
    sleeps(&world, &repo).await;
    // And it is known to sleep by the one after.
    world.repod(["shutdown"]).ok();
    assert_eq!(state(&world, &repo), BackendState::Hibernated);
    world.finish();
}

/// Awake, and of those the ones that count: a limit gives way for those in use.
fn awake(world: &World) -> (usize, usize) {
    let rows = ps(world);
    let awake: Vec<_> = rows.iter().filter(|row| row.endpoint.backend.is_some()).collect();
    let busy = awake.iter().filter(|row| row.busy != Some(0)).count();
    (awake.len(), busy)
}

/// `REPOD_TEST_FULL` runs it with forty.
#[tokio::test(flavor = "multi_thread")]
async fn more_repos_than_may_be_awake_all_answer() {
    let (repos, max) =
        if std::env::var_os("REPOD_TEST_FULL").is_some() { (40, 6) } else { (12, 3) };
    let settings = format!("[limits]\nmax_live = {max}\n[gateway]\nhold_timeout = \"5m\"\n");
    let world = builder().settings(settings).build();
    let repos: Vec<_> = (0..repos).map(|n| world.git_repo(&format!("r{n}"))).collect();
    // Each is known, and asleep or stopped, before anybody asks.
    let endpoints: Vec<Endpoint> = repos.iter().map(|repo| ensure(&world, repo)).collect();
    let most = std::sync::atomic::AtomicUsize::new(0);
    let all = async {
        let asked = repos.iter().zip(&endpoints).map(async |(repo, endpoint)| {
            let client = oc(endpoint);
            // The client gives up before the daemon does, and asks again as a person would.
            wait_until("an answer", 5 * BOUND, async || client.create_session(repo).await.ok())
                .await;
        });
        futures_util::future::join_all(asked).await
    };
    let watching = async {
        loop {
            let (awake, busy) = tokio::task::block_in_place(|| awake(&world));
            most.fetch_max(awake.saturating_sub(busy), std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = all => {}
        () = watching => {}
    }
    let most = most.into_inner();
    assert!(most <= max, "{most} were awake without being busy, and {max} may be");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_unused_makes_room_and_the_busy_one_does_not() {
    let world = builder().settings("[limits]\nmax_live = 2\n").build();
    let [one, two, three] = ["one", "two", "three"].map(|name| world.git_repo(name));
    let first = ensure(&world, &one);
    let session = oc(&first).create_session(&one).await.unwrap();
    let script = Script::new().gate("go on").text("done").prompt("hi");
    oc(&first).start_turn(&session, script).await.unwrap();
    ensure(&world, &two);
    ensure(&world, &three);
    assert_eq!(state(&world, &one), BackendState::Ready, "used last of all, and busy");
    assert_eq!(state(&world, &two), BackendState::Hibernated);
    // When all are in use the limit gives way.
    let third = oc(&status(&world, &three).summary.endpoint);
    let session = third.create_session(&three).await.unwrap();
    let script = Script::new().gate("go on").text("done").prompt("hi");
    third.start_turn(&session, script).await.unwrap();
    ensure(&world, &two);
    assert_eq!(awake(&world), (3, 2));
    world.model().open("go on");
    // And it is kept again when they no longer are.
    wait_until("two awake", BOUND, async || (awake(&world).0 == 2).then_some(())).await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_over_the_budget_is_given_back_and_a_large_one_is_recycled() {
    // Each has about 310 MB.
    let world = builder().settings("[limits]\nmemory_budget = \"800MiB\"\n").build();
    let repos = ["one", "two", "three"].map(|name| world.git_repo(name));
    for repo in &repos {
        ensure(&world, repo);
    }
    assert_eq!(state(&world, &repos[0]), BackendState::Hibernated);
    assert_eq!(state(&world, &repos[2]), BackendState::Ready);
    world.finish();

    let world = builder().settings("[limits]\nmemory_max = \"100MiB\"\nidle = \"2s\"\n").build();
    let repo = world.git_repo("large");
    let endpoint = ensure(&world, &repo);
    // With somebody listening it is replaced, once; else it would sleep.
    let mut events = oc(&endpoint).global_events().await.unwrap();
    wait_until("the next generation", BOUND, async || {
        let now = status(&world, &repo).summary.endpoint;
        (now.generation.0 == 2 && now.state == BackendState::Ready).then_some(())
    })
    .await;
    turn(&oc(&endpoint), &repo, "small again").await;
    let idle = |event: &serde_json::Value| event["type"] == "session.idle";
    events.next_where("the turn's end", BOUND, idle).await.unwrap();
    assert_eq!(status(&world, &repo).summary.endpoint.generation.0, 2);
    drop(events);
    sleeps(&world, &repo).await;
    world.finish();
}

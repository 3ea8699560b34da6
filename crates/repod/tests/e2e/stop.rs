//! `stop` ends the whole tree, and nothing else.

use crate::{BOUND, backends, ensure, oc, pid, world};
use repod_proto::BackendState;
use repod_testkit::{proc, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_what_ignores_it_what_left_the_session_and_nothing_else() {
    let world = world();
    let (repo, other) = (world.git_repo("web"), world.git_repo("other"));
    let endpoint = ensure(&world, &repo);
    let neighbour = ensure(&world, &other);
    let stranger = world.command("sleep").arg("601").spawn();
    let client = oc(&endpoint);
    let session = client.create_session(&repo).await.unwrap();
    let script = "\
        setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' >/dev/null 2>&1 & \
        setsid sleep 602 >/dev/null 2>&1 & \
        (setsid sh -c 'sleep 603 &' >/dev/null 2>&1 &) ; echo started";
    client.shell(&session, script, BOUND).await.unwrap();
    let marked = || {
        let mine = |p: &repod_testkit::world::WorldProcess| {
            p.env("REPOD_BACKEND").is_some_and(|m| m.contains(endpoint.repo_id.as_str()))
        };
        world.processes().into_iter().filter(|p| mine(p)).count()
    };
    wait_until("the stubborn ones", BOUND, async || (marked() >= 4).then_some(())).await;

    world.repod(["stop"]).arg(&repo).ok();
    assert_eq!(marked(), 0);
    assert_eq!(backends(&world), [pid(&neighbour)]);
    assert!(proc::is_running(stranger.pid()));
    let state = crate::status(&world, &repo).summary.endpoint;
    assert_eq!((state.state, state.backend), (BackendState::Stopped, None));
    assert_eq!(world.repod(["ensure", "--no-start"]).arg(&repo).code(), 3);
    let again = ensure(&world, &repo);
    assert_eq!(again.generation.0, 2);
    stranger.handle().kill().unwrap();
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_no_child_of_the_agent_behind() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let session = client.create_session(&repo).await.unwrap();
    client.shell(&session, "setsid sleep 604 >/dev/null 2>&1 & echo ok", BOUND).await.unwrap();
    let sleeping = || world.processes().into_iter().any(|p| p.cmdline == "sleep 604");
    wait_until("the child", BOUND, async || sleeping().then_some(())).await;
    let process = proc::Handle::open(pid(&endpoint)).unwrap();
    process.kill().unwrap();
    assert!(process.wait_exit(BOUND));
    ensure(&world, &repo);
    assert!(!sleeping());
    world.finish();
}

#[test]
fn stopping_what_is_stopped_is_no_error() {
    let world = world();
    let repo = world.git_repo("web");
    ensure(&world, &repo);
    world.repod(["stop", "--all"]).ok();
    world.repod(["stop", "--all"]).ok();
    let report: serde_json::Value = world.repod(["stop", "--json"]).arg(&repo).json();
    assert_eq!(report["stopped"][0]["was_running"], false);
    world.finish();
}

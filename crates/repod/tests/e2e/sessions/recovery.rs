//! Deaths in the middle of a turn: of the backend, of the daemon.

use super::{begin, both, ensure, read, run, stored};
use crate::{BOUND, builder, daemon_pid, pid, world};
use repod_proto::agent::{AgentEvent, TurnOutcome, TurnState};
use repod_testkit::{Oc, Script, World, proc, wait_until};

fn kill(pid: u32) {
    let process = proc::Handle::open(pid).unwrap();
    process.kill().unwrap();
    assert!(process.wait_exit(BOUND));
}

async fn at_the_gate(world: &World) {
    wait_until("the model", BOUND, async || (world.model().waiting_at("go") > 0).then_some(()))
        .await;
}

/// The only repo's backend itself, for when no daemon is there.
fn alone(world: &World) -> Oc {
    let repo = fs_err::read_dir(world.layout().repos()).unwrap().next().unwrap().unwrap();
    let record = fs_err::read_to_string(repo.path().join("endpoint.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let backend = &record["backend"];
    Oc::new(format!("http://127.0.0.1:{}", backend["port"]))
        .with_auth("opencode", backend["password"].as_str().unwrap())
}

fn resuming() -> World {
    builder().settings("[sessions]\nresume_interrupted = true\n").build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_interrupted_with_its_backend_and_the_session_goes_on() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, _) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let script = Script::new().write(repo.join("a.txt"), "x").gate("go").text("never");
    let mut stream = begin(&client, &name, &script).await;
    at_the_gate(&world).await;
    kill(pid(&crate::ensure(&world, &repo)));
    let told = read(&mut stream).await;
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    let next = run(&client, &name, &Script::new().text("next")).await;
    assert_eq!(next.transcript().text, "next");
    let oc = crate::oc(&crate::ensure(&world, &repo));
    let has = stored(&oc, &made).await;
    assert_eq!(has.len(), 2, "nothing was sent again");
    assert_eq!(has, [told.transcript(), next.transcript()]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_ended_after_its_daemon_s_death_and_those_in_line_run() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let mut first = begin(&client, &name, &Script::new().gate("go").text("never")).await;
    at_the_gate(&world).await;
    let mut second = begin(&client, &name, &Script::new().text("second")).await;
    kill(daemon_pid(&world));
    let (told, next) = tokio::join!(read(&mut first), read(&mut second));
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    assert_eq!((next.end().outcome, &*next.transcript().text), (TurnOutcome::Completed, "second"));
    assert_eq!(stored(&oc, &made).await.len(), 2);
    world.model().open("go");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_ended_while_no_daemon_was_there_is_settled_with_the_truth() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let script = Script::new().bash("echo 1").gate("go").text("done meanwhile");
    let mut stream = begin(&client, &name, &script).await;
    at_the_gate(&world).await;
    let id = made.session.agent_session_id.clone().unwrap();
    world.repod(["shutdown"]).ok();
    world.model().open("go");
    // The backend works on alone.
    let backend = alone(&world);
    wait_until("the end", BOUND, async || {
        backend.is_busy(&id, &repo).await.is_ok_and(|busy| !busy).then_some(())
    })
    .await;
    let told = read(&mut stream).await;
    assert_eq!(
        (told.end().outcome, &*told.transcript().text),
        (TurnOutcome::Completed, "done meanwhile")
    );
    assert_eq!([told.transcript()], stored(&oc, &made).await[..]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_may_goes_on_with_a_turn_where_it_was() {
    let world = resuming();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let script = Script::new().bash("echo 1").gate("go").paced(
        "after the death",
        5,
        std::time::Duration::from_millis(5),
    );
    let mut stream = begin(&client, &name, &script).await;
    at_the_gate(&world).await;
    kill(daemon_pid(&world));
    world.repod(["version"]).ok();
    world.model().open("go");
    let told = read(&mut stream).await;
    assert_eq!(told.end().outcome, TurnOutcome::Completed);
    assert_eq!([told.transcript()], stored(&oc, &made).await[..]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_may_be_resumed_is_sent_once_more_after_its_backend_s_death_and_not_twice() {
    let world = resuming();
    let repo = world.git_repo("web");
    let (client, _) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let mut stream = begin(&client, &name, &Script::new().gate("go").text("done")).await;
    at_the_gate(&world).await;
    kill(pid(&crate::ensure(&world, &repo)));
    let mut resumed = false;
    while !resumed {
        let line = stream.next().await.unwrap().expect("the turn goes on");
        resumed = matches!(&line.event, AgentEvent::Status(it) if it.state == TurnState::Resumed);
    }
    wait_until("the second prompt", BOUND, async || {
        (world.model().waiting_at("go") > 0).then_some(())
    })
    .await;
    // Once only: with its second backend it is interrupted.
    kill(pid(&crate::ensure(&world, &repo)));
    let told = read(&mut stream).await;
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    let oc = crate::oc(&crate::ensure(&world, &repo));
    assert_eq!(stored(&oc, &made).await.len(), 2);
    world.model().open("go");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_before_it_has_sent_the_prompt_does_not_send_it_later() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    fs_err::write(world.repod_home().join("fault-turn-started"), "").unwrap();
    let told = run(&client, &name, &Script::new().text("never")).await;
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    assert!(stored(&oc, &made).await.is_empty());
    assert_eq!(run(&client, &name, &Script::new().text("next")).await.transcript().text, "next");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_taken_up_at_first_is_taken_up_later_and_in_order() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let mut first = begin(&client, &name, &Script::new().gate("go").text("never")).await;
    at_the_gate(&world).await;
    let mut second = begin(&client, &name, &Script::new().text("second")).await;
    let fault = world.repod_home().join("fault-fails-take-up");
    fs_err::write(&fault, "").unwrap();
    kill(daemon_pid(&world));
    let (told, next) = tokio::join!(read(&mut first), read(&mut second));
    assert!(!fault.exists(), "it did fail");
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    assert_eq!((next.end().outcome, &*next.transcript().text), (TurnOutcome::Completed, "second"));
    assert_eq!(stored(&oc, &made).await.len(), 2);
    world.model().open("go");
    world.finish();
}

/// Nobody asks for the session: the daemon goes on with it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_tries_on_by_itself_to_take_up_what_was_left() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, _) = both(&world, &repo);
    let (_, name) = ensure(&client, &repo, "work").await;
    let first = begin(&client, &name, &Script::new().gate("go").text("never")).await;
    at_the_gate(&world).await;
    let second = begin(&client, &name, &Script::new().write("by-itself.txt", "x").text("2")).await;
    drop((first, second));
    let fault = world.repod_home().join("fault-fails-take-up");
    fs_err::write(&fault, "").unwrap();
    kill(daemon_pid(&world));
    let written = repo.join("by-itself.txt");
    wait_until("the second turn", BOUND, async || written.exists().then_some(())).await;
    assert!(!fault.exists(), "it did fail");
    world.model().open("go");
    world.finish();
}

//! One writing session per branch, seen from outside: the real OpenCode, its guard, the daemon's desk.

use crate::{BOUND, builder, ensure, oc, pid, world};
use repod_proto::{Endpoint, LeaseInfo, LeaseState};
use repod_testkit::{Oc, Script, ToolCall, World, proc, wait_until};
use std::path::Path;
use std::time::Duration;

pub(crate) fn leases(world: &World) -> Vec<LeaseInfo> {
    world.repod(["leases", "--json"]).json()
}

/// A turn that writes these, one after the other.
fn writing(files: &[&str], text: &str) -> Script {
    files.iter().fold(Script::new(), |script, file| script.write(file, text))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_session_writes_when_the_first_turn_has_ended_and_a_reader_passes_both() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let sessions = [
        client.create_session(&repo).await.unwrap(),
        client.create_session(&repo).await.unwrap(),
        client.create_session(&repo).await.unwrap(),
    ];
    // The first writes, and holds on in the middle of its turn.
    let first =
        Script::new().write("a.txt", "first").gate("go on").write("b.txt", "first").text("1");
    client.start_turn(&sessions[0], first.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;
    let second = Script::new().write("a.txt", "second").write("b.txt", "second").text("2");
    client.start_turn(&sessions[1], second.prompt("write")).await.unwrap();
    wait_until("the second in line", BOUND, async || {
        (leases(&world)[0].waiters.len() == 1).then_some(())
    })
    .await;
    let held = &leases(&world)[0];
    assert_eq!((held.branch.as_str(), held.fence), ("main", 1));
    assert_eq!(held.owner.session_id, sessions[0]);
    assert_eq!((held.waiters[0].session_id.as_str(), held.waiters[0].position), (&*sessions[1], 1));
    // A third that only reads is done meanwhile.
    let reading = Script::new().read(repo.join("README.md")).bash("git log --oneline").text("3");
    let turn = client.turn_in(&sessions[2], reading.prompt("read")).await.unwrap();
    assert_eq!(turn.succeeded().text, "3");
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "first");

    world.model().open("go on");
    client.wait_idle(&sessions[1], &repo, BOUND).await;
    client.wait_idle(&sessions[0], &repo, BOUND).await;
    let turn = client.last_turn(&sessions[1]).await.unwrap();
    assert_eq!(turn.succeeded().text, "2");
    for file in ["a.txt", "b.txt"] {
        assert_eq!(fs_err::read_to_string(repo.join(file)).unwrap(), "second");
    }
    wait_until("nobody writes", BOUND, async || leases(&world).is_empty().then_some(())).await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_worktrees_on_two_branches_are_written_side_by_side() {
    let world = world();
    let repo = world.git_repo("web");
    let other = world.worktree(&repo, "other");
    let client = oc(&ensure(&world, &repo));
    let mut sessions = Vec::new();
    for directory in [&repo, &other] {
        let session = client.create_session(directory).await.unwrap();
        let script = Script::new().write("a.txt", "x").gate("go on").text("done");
        client.start_turn(&session, script.prompt("write")).await.unwrap();
        sessions.push(session);
    }
    // Both hold theirs at the same time.
    wait_until("two leases", BOUND, async || (leases(&world).len() == 2).then_some(())).await;
    wait_until("both files", BOUND, async || {
        (repo.join("a.txt").exists() && other.join("a.txt").exists()).then_some(())
    })
    .await;
    assert_eq!(leases(&world).len(), 2);
    world.model().open("go on");
    for (session, directory) in sessions.iter().zip([&repo, &other]) {
        client.wait_idle(session, directory, BOUND).await;
    }
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_says_who_has_the_branch_and_what_to_do() {
    let world = builder().settings("[policy]\nwrite_conflict = \"refuse\"\n").build();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let first = client.create_session(&repo).await.unwrap();
    let script = Script::new().write("a.txt", "first").gate("go on").text("1");
    client.start_turn(&first, script.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;
    let second = client.create_session(&repo).await.unwrap();
    let turn = client.turn_in(&second, writing(&["a.txt"], "second").text("2").prompt("x")).await;
    let turn = turn.unwrap();
    let error = turn.tools[0].error.as_deref().unwrap();
    assert!(error.contains("`main`") && error.contains(&first), "{error}");
    assert!(error.contains("git worktree add"), "{error}");
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "first");
    world.model().open("go on");
    client.wait_idle(&first, &repo, BOUND).await;
    world.finish();
}

/// A session of another repo's backend that waits for a branch of this one.
async fn foreign_waiter(world: &World, to: &Path) -> (std::path::PathBuf, Endpoint, Oc, String) {
    let from = world.git_repo("from");
    let endpoint = ensure(world, &from);
    let client = oc(&endpoint);
    let session = client.create_session(&from).await.unwrap();
    let script = Script::new().write(to.join("a.txt"), "waiter").gate("look").text("2");
    client.start_turn(&session, script.prompt("write")).await.unwrap();
    wait_until("the waiter", BOUND, async || {
        leases(world).iter().any(|lease| lease.waiters.len() == 1).then_some(())
    })
    .await;
    (from, endpoint, client, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_dead_backend_goes_to_the_next_with_a_higher_fence() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let client = oc(&endpoint);
    let first = client.create_session(&repo).await.unwrap();
    let script = Script::new().write("a.txt", "first").gate("go on").text("1");
    client.start_turn(&first, script.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;
    let (from, _, waiting, session) = foreign_waiter(&world, &repo).await;
    let process = proc::Handle::open(pid(&endpoint)).unwrap();
    process.kill().unwrap();
    let killed = std::time::Instant::now();
    let fence = wait_until("the next owner", BOUND, async || {
        let held = leases(&world);
        let next = held.iter().find(|lease| lease.owner.session_id == session);
        next.filter(|lease| lease.state == LeaseState::Held).map(|lease| lease.fence)
    })
    .await;
    let handed_over = killed.elapsed();
    println!("handed over {handed_over:?} after the kill");
    assert!(fence > 1, "{fence}");
    assert!(handed_over < Duration::from_secs(2), "{handed_over:?}");
    world.model().open("look");
    waiting.wait_idle(&session, &from, BOUND).await;
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "waiter");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_aborted_while_it_waited_writes_nothing_then_or_later() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let first = client.create_session(&repo).await.unwrap();
    let script = Script::new().write("a.txt", "first").gate("go on").text("1");
    client.start_turn(&first, script.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;
    let second = client.create_session(&repo).await.unwrap();
    let script = writing(&["b.txt"], "second").text("2");
    client.start_turn(&second, script.prompt("x")).await.unwrap();
    let waiters = async || leases(&world).iter().map(|lease| lease.waiters.len()).sum::<usize>();
    wait_until("the second in line", BOUND, async || (waiters().await == 1).then_some(())).await;
    client.abort(&second).await.unwrap();
    wait_until("out of line", BOUND, async || (waiters().await == 0).then_some(())).await;
    world.model().open("go on");
    client.wait_idle(&first, &repo, BOUND).await;
    wait_until("nobody writes", BOUND, async || leases(&world).is_empty().then_some(())).await;
    // Another turn of the same session works, and the aborted write was not done.
    let turn = client.turn_in(&second, writing(&["c.txt"], "third").text("3").prompt("x")).await;
    assert_eq!(turn.unwrap().succeeded().text, "3");
    assert!(!repo.join("b.txt").exists());
    assert!(repo.join("c.txt").exists());
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_writes_of_one_step_run_one_at_a_time_and_scripts_take_part() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let step =
        |n: u32| ToolCall::bash(format!("echo begin{n} >>log; sleep 0.3; echo end{n} >>log"));
    let script = Script::new().tools([step(1), step(2), step(3)]).text("done");
    let turn = client.turn_in(&session, script.prompt("x")).await.unwrap();
    assert_eq!(turn.succeeded().text, "done");
    let log = fs_err::read_to_string(repo.join("log")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].trim_start_matches("begin"), pair[1].trim_start_matches("end"), "{log}");
    }
    wait_until("nobody writes", BOUND, async || leases(&world).is_empty().then_some(())).await;

    // A script holds the branch; an agent's write comes after it.
    let hold = world.repod(["lease", "hold"]).arg(&repo).args([
        "--",
        "sh",
        "-c",
        "echo held; read x; echo script >order",
    ]);
    let mut hold = hold.dir(&repo).spawn();
    hold.wait_line("the lease", BOUND, |line| line == "held");
    let script = Script::new().bash("echo agent >>order").text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    wait_until("the agent in line", BOUND, async || {
        leases(&world).first().is_some_and(|lease| lease.waiters.len() == 1).then_some(())
    })
    .await;
    hold.send("go\n");
    client.wait_idle(&session, &repo, BOUND).await;
    assert_eq!(fs_err::read_to_string(repo.join("order")).unwrap(), "script\nagent\n");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_comes_back_knows_who_holds_what() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let first = client.create_session(&repo).await.unwrap();
    let script = Script::new().write("a.txt", "1").gate("go on").write("b.txt", "1").text("1");
    client.start_turn(&first, script.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;
    let fence = leases(&world)[0].fence;
    let daemon = proc::Handle::open(crate::daemon_pid(&world)).unwrap();
    daemon.kill().unwrap();
    assert!(daemon.wait_exit(BOUND));
    wait_until("the lease again", BOUND, async || {
        let held = leases(&world);
        held.first().filter(|lease| lease.owner.session_id == first)?;
        assert_eq!(held[0].fence, fence);
        Some(())
    })
    .await;
    let second = client.create_session(&repo).await.unwrap();
    let script = writing(&["a.txt"], "2").text("2");
    client.start_turn(&second, script.prompt("x")).await.unwrap();
    wait_until("the second in line", BOUND, async || {
        leases(&world).first().is_some_and(|lease| lease.waiters.len() == 1).then_some(())
    })
    .await;
    world.model().open("go on");
    client.wait_idle(&second, &repo, BOUND).await;
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "2");
    assert_eq!(fs_err::read_to_string(repo.join("b.txt")).unwrap(), "1");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_switched_under_a_lease_is_noticed() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let script = Script::new()
        .write("a.txt", "on main")
        .bash("git checkout --quiet -b other")
        .write("b.txt", "on other")
        .gate("go on")
        .text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    wait_until("the second file", BOUND, async || repo.join("b.txt").exists().then_some(())).await;
    let mut branches: Vec<_> = leases(&world).into_iter().map(|lease| lease.branch).collect();
    branches.sort();
    // The old one too, to the end of the turn: nobody else slips in under it.
    assert_eq!(branches, ["main", "other"]);
    world.model().open("go on");
    client.wait_idle(&session, &repo, BOUND).await;
    wait_until("nobody writes", BOUND, async || leases(&world).is_empty().then_some(())).await;
    world.finish();
}

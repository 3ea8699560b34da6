//! Two sessions that write the same files at once: on one branch one after the other, to the end of the
//! turn; on two branches side by side. And calls that are aborted while they wait, for whatever it is.

use crate::leases::leases;
use crate::{BOUND, builder, ensure, oc, world};
use repod_proto::{CallInfo, CallState};
use repod_testkit::{Oc, Permissions, Script, ToolCall, World, Writers, wait_until};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, SystemTime};

const FILES: [&str; 3] = ["a.txt", "b.txt", "c.txt"];
const ROUNDS: usize = 10;
const STEPS: usize = 4;
/// In one step.
const CALLS: usize = 6;

/// Writes each file ten times, and waits in the middle of it.
fn rounds(text: &str) -> Script {
    let mut script = Script::new();
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            script = script.gate("go on");
        }
        for file in FILES {
            script = script.write(file, format!("{text} {round}"));
        }
    }
    script.text(text)
}

/// Waits for the end of a turn and gives when the model's last answer in it was complete.
async fn ended(client: &Oc, session: &str, directory: &Path) -> SystemTime {
    client.wait_idle(session, directory, BOUND).await;
    let messages = client.messages(session).await.unwrap();
    let at = messages.last().and_then(|it| it["info"]["time"]["completed"].as_u64());
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.expect("it is complete"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_branch_the_second_session_s_thirty_writes_begin_after_the_first_s_turn() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(client.create_session(&repo).await.unwrap());
    }
    let writers = Writers::watch([&repo]).unwrap();
    let (one, two) = (rounds("one").prompt("write"), rounds("two").prompt("write"));
    let at_once =
        tokio::join!(client.start_turn(&sessions[0], one), client.start_turn(&sessions[1], two));
    at_once.0.unwrap();
    at_once.1.unwrap();
    wait_until("the first half", BOUND, async || {
        (world.model().waiting_at("go on") == 1).then_some(())
    })
    .await;
    let held = wait_until("the second in line", BOUND, async || {
        leases(&world).pop().filter(|lease| lease.waiters.len() == 1)
    })
    .await;
    let (first, second) = (&held.owner.session_id, &held.waiters[0].session_id);
    // A third that only reads is done while the first is in the middle and the second waits.
    let reading = Script::new().read(repo.join("a.txt")).bash("git log --oneline").text("3");
    let turn = client.turn_in(&sessions[2], reading.prompt("read")).await.unwrap();
    assert_eq!(turn.succeeded().text, "3");
    assert_eq!(world.model().waiting_at("go on"), 1);
    assert!(client.is_busy(first, &repo).await.unwrap());

    world.model().open("go on");
    let end = ended(&client, first, &repo).await;
    ended(&client, second, &repo).await;
    for session in [first, second] {
        let turn = client.last_turn(session).await.unwrap().succeeded();
        assert_eq!(turn.tools.len(), FILES.len() * ROUNDS);
    }
    // Of the sixty, as the kernel saw them, thirty were the first's, and they were before its end.
    let mut writes = writers.finish().unwrap();
    writes.retain(|it| FILES.iter().any(|file| it.path == repo.join(file)));
    let (before, after): (Vec<_>, Vec<_>) = writes.iter().partition(|it| it.opened < end);
    assert_eq!((before.len(), after.len()), (30, 30), "{end:?}: {writes:#?}");
    let text = if *second == sessions[0] { "one 9" } else { "two 9" };
    for file in FILES {
        assert_eq!(fs_err::read_to_string(repo.join(file)).unwrap(), text);
    }
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_two_worktrees_on_two_branches_both_write_at_the_same_time() {
    let world = world();
    let repo = world.git_repo("web");
    let other = world.worktree(&repo, "other");
    let client = oc(&ensure(&world, &repo));
    let places = [(&repo, "one"), (&other, "two")];
    let mut sessions = Vec::new();
    for (directory, text) in places {
        let session = client.create_session(directory).await.unwrap();
        client.start_turn(&session, rounds(text).prompt("write")).await.unwrap();
        sessions.push(session);
    }
    // Both are in the middle of their turns, with half of their writes done: neither waits for the other.
    wait_until("both halves", BOUND, async || {
        (world.model().waiting_at("go on") == 2).then_some(())
    })
    .await;
    for (directory, text) in places {
        let half = fs_err::read_to_string(directory.join(FILES[2])).unwrap();
        assert_eq!(half, format!("{text} 4"));
    }
    world.model().open("go on");
    for ((directory, text), session) in places.into_iter().zip(&sessions) {
        ended(&client, session, directory).await;
        let turn = client.last_turn(session).await.unwrap().succeeded();
        assert_eq!(turn.tools.len(), FILES.len() * ROUNDS);
        for file in FILES {
            let all = fs_err::read_to_string(directory.join(file)).unwrap();
            assert_eq!(all, format!("{text} 9"));
        }
    }
    world.finish();
}

/// The call of the first lease that is in this state.
async fn call_in(world: &World, state: CallState) -> CallInfo {
    wait_until("a call that waits", BOUND, async || {
        leases(world).into_iter().flat_map(|lease| lease.calls).find(|call| call.state == state)
    })
    .await
}

/// Another turn of the same session works, and what was aborted has not been done meanwhile.
async fn goes_on(world: &World, client: &Oc, session: &str, repo: &Path, aborted: &str) {
    client.wait_idle(session, repo, BOUND).await;
    wait_until("nobody writes", BOUND, async || leases(world).is_empty().then_some(())).await;
    let script = Script::new().read(repo.join("README.md")).text("next");
    let turn = client.turn_in(session, script.prompt("x")).await.unwrap();
    assert_eq!(turn.succeeded().text, "next");
    assert!(!repo.join(aborted).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_step_are_done_in_the_order_of_the_model() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    // What takes long to be understood comes before what takes none, again and again.
    let long = "true; ".repeat(4000);
    for step in 0..STEPS {
        let calls = (0..CALLS).map(|n| {
            let before = if n % 2 == 0 { long.as_str() } else { "" };
            ToolCall::bash(format!("{before}echo {step}.{n} >>order"))
        });
        let turn = client.turn_in(&session, Script::new().tools(calls).text("done").prompt("x"));
        assert_eq!(turn.await.unwrap().succeeded().tools.len(), CALLS);
    }
    let all = (0..STEPS).flat_map(|step| (0..CALLS).map(move |n| format!("{step}.{n}\n")));
    let done = fs_err::read_to_string(repo.join("order")).unwrap();
    assert_eq!(done, all.collect::<String>());
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_aborted_while_it_waited_for_its_ticket_writes_nothing_then_or_later() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let long = ToolCall::bash("echo x >began; while [ ! -e go ]; do sleep 0.05; done");
    let script = Script::new().tools([long, ToolCall::write("b.txt", "late")]).text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    let waiting = call_in(&world, CallState::WaitingTicket).await;
    assert!(waiting.what.contains("b.txt"), "{waiting:?}");
    wait_until("the command", BOUND, async || repo.join("began").exists().then_some(())).await;
    client.abort(&session).await.unwrap();
    goes_on(&world, &client, &session, &repo, "b.txt").await;
    // What it waited for comes to its end.
    fs_err::write(repo.join("go"), "").unwrap();
    goes_on(&world, &client, &session, &repo, "b.txt").await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_aborted_while_it_waited_for_a_person_writes_nothing_then_or_later() {
    let world = builder().permissions(Permissions::Ask).build();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let script = Script::new().write("b.txt", "late").text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    let waiting = call_in(&world, CallState::WaitingPermission).await;
    assert_eq!(waiting.permission.as_deref(), Some("edit"), "{waiting:?}");
    let asked = client.permissions(&repo).await.unwrap();
    let id = asked[0]["id"].as_str().map(str::to_owned).unwrap_or_default();
    client.abort(&session).await.unwrap();
    goes_on(&world, &client, &session, &repo, "b.txt").await;
    // A person who answers now comes too late.
    let _ = client.reply_permission(&id, &repo, "once").await;
    goes_on(&world, &client, &session, &repo, "b.txt").await;
    assert_eq!(client.permissions(&repo).await.unwrap(), Vec::<Value>::new());
    world.finish();
}

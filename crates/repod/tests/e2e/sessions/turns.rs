//! Made, resumed, prompted: what is told is what OpenCode has in the end.

use super::{begin, both, ensure, read, request, run, stored, turn};
use crate::{BOUND, world};
use repod_proto::agent::{TurnOutcome, TurnState};
use repod_proto::{ErrorCode, OnBusy, SessionHow, SessionStatus, TurnRequest};
use repod_testkit::{Script, proc, wait_until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_resumed_where_it_was_left_and_told_as_opencode_has_it() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    assert_eq!((made.how, made.session.status), (SessionHow::Created, SessionStatus::Idle));

    let script = Script::new()
        .reasoning("let me see")
        .write(repo.join("a.txt"), "one\n")
        .edit(repo.join("a.txt"), "one", "two")
        .bash("cat a.txt; exit 3")
        .read(repo.join("missing.txt"))
        .paced("It is done, all of it.", 7, std::time::Duration::from_millis(5));
    let first = run(&client, &name, &script).await;
    assert_eq!(first.end().outcome, TurnOutcome::Completed, "{:?}", first.end());
    let script = Script::new().text("Und noch etwas: ✓ \"quotes\"\n");
    let second = run(&client, &name, &script).await;
    let has = stored(&oc, &made).await;
    assert_eq!([first.transcript(), second.transcript()], has[..]);
    assert_eq!(has[0].tool_calls.len(), 4);

    let (again, _) = ensure(&client, &repo, "work").await;
    assert_eq!(again.how, SessionHow::Resumed);
    assert_eq!(again.session.agent_session_id, made.session.agent_session_id);
    // The next daemon has it too.
    let daemon = proc::Handle::open(crate::daemon_pid(&world)).unwrap();
    daemon.kill().unwrap();
    assert!(daemon.wait_exit(BOUND));
    let (again, name) = ensure(&client, &repo, "work").await;
    assert_eq!(again.how, SessionHow::Resumed);
    assert_eq!(again.session.agent_session_id, made.session.agent_session_id);
    let third = run(&client, &name, &Script::new().text("three")).await;
    assert_eq!(third.transcript(), stored(&oc, &made).await[2]);
    // What is over can be read again, from any event on.
    let detail = client.session(&name).await.unwrap();
    assert_eq!(detail.turns.len(), 3);
    let mut again = client.follow_turn(&name, &detail.turns[2].turn_id, 0).await.unwrap();
    assert_eq!(read(&mut again).await.lines, first.lines);
    let after = first.lines[3].id;
    let mut rest = client.follow_turn(&name, &detail.turns[2].turn_id, after).await.unwrap();
    assert_eq!(read(&mut rest).await.lines, first.lines[4..]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_drifted_or_was_forgotten_begins_anew_and_says_so() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    run(&client, &name, &Script::new().text("1")).await;
    let mut other = request(&repo, "work");
    other.model = Some(repod_testkit::PATCH_MODEL.to_owned());
    let drifted = client.ensure_session(other).await.unwrap();
    assert_eq!(drifted.how, SessionHow::Renewed);
    assert!(drifted.reason.as_deref().unwrap().contains("model"), "{drifted:?}");
    assert_ne!(drifted.session.agent_session_id, made.session.agent_session_id);
    let told = run(&client, &name, &Script::new().text("2")).await;
    assert_eq!(told.transcript(), stored(&oc, &drifted).await[0]);
    // Its model stays what it is when none is named.
    let (same, _) = ensure(&client, &repo, "work").await;
    assert_eq!(same.how, SessionHow::Resumed);

    let forget = async |id: &str| {
        let path = format!("/session/{id}");
        oc.call("DELETE", &path, None, None, BOUND).await.unwrap().ok().unwrap();
    };
    forget(same.session.agent_session_id.as_deref().unwrap()).await;
    // Nobody has asked since: the prompt finds out, and is sent once more.
    let told = run(&client, &name, &Script::new().text("3")).await;
    assert_eq!((told.end().outcome, &*told.transcript().text), (TurnOutcome::Completed, "3"));
    let (renewed, _) = ensure(&client, &repo, "work").await;
    assert_ne!(renewed.session.agent_session_id, same.session.agent_session_id);
    assert_eq!(stored(&oc, &renewed).await, [told.transcript()]);

    for bad in ["", "/", "scripted/", "/plain", "plain"] {
        let mut wrong = request(&repo, "other");
        wrong.model = Some(bad.to_owned());
        assert_eq!(client.ensure_session(wrong).await.unwrap_err().code, ErrorCode::InvalidRequest);
    }
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_wait_their_turn_or_are_refused_and_one_in_line_can_be_taken_back() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let mut first = begin(&client, &name, &Script::new().gate("go").text("first")).await;
    wait_until("the first at the model", BOUND, async || {
        (world.model().waiting_at("go") > 0).then_some(())
    })
    .await;
    let mut second = begin(&client, &name, &Script::new().text("second")).await;
    let mut third = begin(&client, &name, &Script::new().text("third")).await;
    let refused = TurnRequest { on_busy: Some(OnBusy::Refuse), ..turn(&Script::new().text("x")) };
    let error = client.begin_turn(&name, &refused).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SessionBusy);
    let aborted = client.abort_session(&name, Some(second.turn_id())).await.unwrap();
    assert_eq!(aborted.turns, [second.turn_id()]);
    let told = read(&mut second).await;
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    assert!(told.says(TurnState::Queued));
    // The same name is the same turn.
    let again = TurnRequest {
        turn_id: Some(third.turn_id().to_owned()),
        ..turn(&Script::new().text("other"))
    };
    client.begin_turn(&name, &again).await.unwrap();
    world.model().open("go");
    assert_eq!(read(&mut first).await.transcript().text, "first");
    assert_eq!(read(&mut third).await.transcript().text, "third");
    let texts: Vec<_> = stored(&oc, &made).await.into_iter().map(|turn| turn.text).collect();
    assert_eq!(texts, ["first", "third"]);
    assert_eq!(client.session(&name).await.unwrap().turns.len(), 3);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subagent_s_events_are_its_own_and_other_sessions_hear_nothing() {
    let world = world();
    let repo = world.git_repo("web");
    let other = world.worktree(&repo, "other");
    let (client, oc) = both(&world, &repo);
    let (one, one_name) = ensure(&client, &repo, "one").await;
    let (two, two_name) = ensure(&client, &other, "two").await;
    assert_eq!(two.session.directory, other.display().to_string());
    let child = Script::new().bash("echo from the child").text("child done");
    let parent = Script::new().task(&child).text("parent done");
    let alone = Script::new().bash("pwd").text("alone");
    let (first, second) =
        tokio::join!(run(&client, &one_name, &parent), run(&client, &two_name, &alone));
    assert_eq!([first.transcript()], stored(&oc, &one).await[..]);
    assert_eq!([second.transcript()], stored(&oc, &two).await[..]);
    assert_eq!((&*first.transcript().text, &*second.transcript().text), ("parent done", "alone"));
    let output = &second.transcript().tool_calls[0].raw_output;
    assert_eq!(output["output"].as_str().unwrap().trim(), other.display().to_string());
    // A directory is closed and opened anew when nobody works there.
    let socket = world.layout().socket();
    let reload = world
        .command("curl")
        .args(["-s", "--unix-socket"])
        .arg(socket)
        .args(["-d"])
        .arg(json!({ "path": other, "reload": true }).to_string())
        .arg("http://repod/v1/instances/dispose");
    let report: serde_json::Value = reload.json();
    assert_eq!(report["disposed"], 1, "{report}");
    let told = run(&client, &two_name, &Script::new().text("again")).await;
    assert_eq!(told.end().outcome, TurnOutcome::Completed);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_in_line_or_not_on_record_however_soon_its_caller_leaves() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, _) = both(&world, &repo);
    let (_, name) = ensure(&client, &repo, "work").await;
    let database = world.layout().repo(&crate::ensure(&world, &repo).repo_id).database();
    let socket = world.layout().socket();
    let body = serde_json::to_string(&turn(&Script::new().text("x"))).unwrap();
    // Nothing can be put on record while they come and leave.
    let locked = crate::history::rows::locked(&database).await;
    for patience in ["0.001", "0.01", "0.1", "0.5", "3"] {
        let curl = world.command("curl").args(["-sS", "--max-time", patience, "--unix-socket"]);
        let curl = curl.arg(&socket).args(["-H", "content-type: application/json", "-d", &body]);
        let code = curl.arg("http://repod/v1/sessions/work/turns").run().code;
        assert_eq!(code, 28, "it left before it was answered");
    }
    locked.await;
    let told = run(&client, &name, &Script::new().text("the last")).await;
    assert_eq!(told.transcript().text, "the last");
    let turns = client.session(&name).await.unwrap().turns;
    assert!(turns.len() > 1, "at least one was on its way: {turns:?}");
    assert!(turns.iter().all(|turn| turn.state == "completed"), "{turns:?}");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_in_a_session_that_is_closed_however_prompts_come() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    for _ in 0..5 {
        let (made, name) = ensure(&client, &repo, "work").await;
        let id = made.session.agent_session_id.clone().unwrap();
        let script = Script::new().gate("go").text("x");
        drop(begin(&client, &name, &script).await);
        wait_until("the model", BOUND, async || (world.model().waiting_at("go") > 0).then_some(()))
            .await;
        let prompts = (0..8).map(|_| {
            let (client, name, turn) = (client.clone(), name.clone(), turn(&script));
            tokio::spawn(async move { client.begin_turn(&name, &turn).await })
        });
        let prompts: Vec<_> = prompts.collect();
        client.close_session(&name).await.unwrap();
        for prompt in prompts {
            let _ = prompt.await.unwrap();
        }
        let turns = client.session(&name).await.unwrap().turns;
        assert!(turns.iter().all(|turn| turn.state == "interrupted"), "{turns:?}");
        assert!(!oc.is_busy(&id, &repo).await.unwrap());
    }
    let (_, name) = ensure(&client, &repo, "work").await;
    let told = run(&client, &name, &Script::new().text("goes on")).await;
    assert_eq!(told.transcript().text, "goes on");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_followed_from_any_number() {
    let world = world();
    let repo = world.git_repo("web");
    let (client, _) = both(&world, &repo);
    let (_, name) = ensure(&client, &repo, "work").await;
    let mut stream = begin(&client, &name, &Script::new().text("one")).await;
    let told = read(&mut stream).await;
    for restarted in [false, true] {
        if restarted {
            // From the record, not from memory.
            world.repod(["shutdown"]).ok();
        }
        for after in [1 << 62, i64::MAX as u64, 1 << 63, u64::MAX] {
            let mut stream = client.follow_turn(&name, stream.turn_id(), after).await.unwrap();
            let more = tokio::time::timeout(BOUND, stream.next()).await.unwrap().unwrap();
            let ends = more.as_ref().is_none_or(|line| Some(line) == told.lines.last());
            assert!(ends, "{after}: {more:?}");
        }
    }
    world.finish();
}

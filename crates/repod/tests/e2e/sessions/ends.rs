//! Turns always end, or say for whom they wait.

use super::{begin, both, ensure, read, run, stored};
use crate::{BOUND, builder, pid};
use repod_proto::agent::{AgentEvent, ToolStatus, TurnOutcome};
use repod_proto::{SessionAnswer, SessionHow, SessionStatus};
use repod_testkit::{Permissions, Script, World, proc, wait_until};
use serde_json::json;
use std::time::{Duration, Instant};

/// A watchdog that a test can wait for.
fn watched() -> World {
    builder().settings("[sessions]\nwatchdog = \"3s\"\n").build()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_turn_and_not_the_server() {
    let world = crate::world();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let before = pid(&crate::ensure(&world, &repo));
    let (made, name) = ensure(&client, &repo, "work").await;
    let script = Script::new().bash("echo begun; sleep 600").text("never");
    let mut stream = begin(&client, &name, &script).await;
    loop {
        let line = stream.next().await.unwrap().expect("the turn runs");
        if matches!(&line.event, AgentEvent::ToolUpdate { tool_call } if tool_call.status == ToolStatus::InProgress)
        {
            break;
        }
    }
    client.abort_session(&name, None).await.unwrap();
    let told = read(&mut stream).await;
    assert_eq!(told.end().outcome, TurnOutcome::Interrupted);
    let next = run(&client, &name, &Script::new().text("next")).await;
    assert_eq!(next.transcript().text, "next");
    assert_eq!(stored(&oc, &made).await[1], next.transcript());
    assert_eq!(pid(&crate::ensure(&world, &repo)), before);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_waits_for_a_person_is_waiting_until_that_person_answers() {
    let world =
        builder().permissions(Permissions::Ask).settings("[sessions]\nwatchdog = \"2s\"\n").build();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    let question = json!({ "questions": [{
        "question": "Which?", "header": "Which",
        "options": [{ "label": "red", "description": "" }, { "label": "blue", "description": "" }],
    }] });
    let script = Script::new()
        .write(repo.join("a.txt"), "x")
        .tool("question", question)
        .write(repo.join("b.txt"), "x")
        .text("done");
    let mut stream = begin(&client, &name, &script).await;
    let told = read(&mut stream).await;
    assert_eq!(told.end().outcome, TurnOutcome::Waiting);
    let ask = told.events().find_map(|event| match event {
        AgentEvent::Permission(ask) => Some(ask.clone()),
        _ => None,
    });
    let ask = ask.unwrap();
    assert_eq!(ask.permission, "edit");
    // It is not hung, however often it is looked at.
    tokio::time::sleep(Duration::from_secs(5)).await;
    wait_until("waiting on record", BOUND, async || {
        let status = client.session(&name).await.unwrap().session.status;
        (status == SessionStatus::Waiting).then_some(())
    })
    .await;
    let answer = |request_id: &str| SessionAnswer {
        request_id: request_id.to_owned(),
        ..SessionAnswer::default()
    };
    let once = SessionAnswer { option: Some("once".into()), ..answer(&ask.request_id) };
    client.answer_session(&name, &once).await.unwrap();
    assert!(client.answer_session(&name, &once).await.is_err(), "it is answered once");
    let told = read(&mut stream).await;
    let asked = told.events().find_map(|event| match event {
        AgentEvent::Question(ask) => Some(ask.clone()),
        _ => None,
    });
    let chosen = SessionAnswer {
        answers: Some(vec![vec!["blue".into()]]),
        ..answer(&asked.unwrap().request_id)
    };
    client.answer_session(&name, &chosen).await.unwrap();
    // The second write is rejected.
    let told = read(&mut stream).await;
    let ask = told.events().find_map(|event| match event {
        AgentEvent::Permission(ask) => Some(ask.request_id.clone()),
        _ => None,
    });
    let reject = SessionAnswer { option: Some("reject".into()), ..answer(&ask.unwrap()) };
    client.answer_session(&name, &reject).await.unwrap();
    read(&mut stream).await;
    assert!(repo.join("a.txt").exists() && !repo.join("b.txt").exists());
    let detail = client.session(&name).await.unwrap();
    let mut all = client.follow_turn(&name, &detail.turns[0].turn_id, 0).await.unwrap();
    let mut whole = read(&mut all).await;
    while whole.end().outcome == TurnOutcome::Waiting {
        whole.lines.extend(read(&mut all).await.lines);
    }
    assert_eq!([whole.transcript()], stored(&oc, &made).await[..]);
    assert_eq!(whole.transcript().tool_calls[1].raw_output["metadata"]["answers"][0][0], "blue");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_end_is_lost_is_settled_with_the_truth() {
    let world = watched();
    let repo = world.git_repo("web");
    let (client, oc) = both(&world, &repo);
    let (made, name) = ensure(&client, &repo, "work").await;
    run(&client, &name, &Script::new().text("warm")).await;
    fs_err::write(world.repod_home().join("fault-lose-idle"), "").unwrap();
    let begun = Instant::now();
    let told = run(&client, &name, &Script::new().bash("echo 1").text("done")).await;
    assert_eq!(told.end().outcome, TurnOutcome::Completed);
    assert_eq!(told.transcript(), stored(&oc, &made).await[1]);
    assert!(begun.elapsed() > Duration::from_secs(3), "the watchdog found it");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_still_in_its_provider_is_kept() {
    let world = watched();
    let repo = world.git_repo("web");
    let (client, _) = both(&world, &repo);
    let (_, name) = ensure(&client, &repo, "work").await;
    let mut stream = begin(&client, &name, &Script::new().gate("go").text("at last")).await;
    wait_until("the model", BOUND, async || (world.model().waiting_at("go") > 0).then_some(()))
        .await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    world.model().open("go");
    let told = read(&mut stream).await;
    assert_eq!((told.end().outcome, &*told.transcript().text), (TurnOutcome::Completed, "at last"));
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stands_still_fails_its_own_turns_and_no_others() {
    let world = watched();
    let (stopped, lively) = (world.git_repo("stopped"), world.git_repo("lively"));
    let (client, _) = both(&world, &stopped);
    let backend = pid(&crate::ensure(&world, &stopped));
    let (made, name) = ensure(&client, &stopped, "work").await;
    let (_, other) = ensure(&client, &lively, "other").await;
    let script = Script::new().gate("go").write(stopped.join("late.txt"), "x").text("never");
    let mut stream = begin(&client, &name, &script).await;
    wait_until("the model", BOUND, async || (world.model().waiting_at("go") > 0).then_some(()))
        .await;
    let process = proc::Handle::open(backend).unwrap();
    process.stop().unwrap();
    let begun = Instant::now();
    let told = run(&client, &other, &Script::new().text("undisturbed")).await;
    assert_eq!(told.transcript().text, "undisturbed");
    let told = read(&mut stream).await;
    println!("given up after {:?}", begun.elapsed());
    assert_eq!(told.end().outcome, TurnOutcome::Failed);
    assert!(begun.elapsed() < Duration::from_secs(45));
    assert_eq!(client.session(&name).await.unwrap().session.status, SessionStatus::Crashed);
    process.cont().unwrap();
    // It has come round, and what was told to have failed does not go on.
    let oc = crate::oc(&crate::ensure(&world, &stopped));
    let id = made.session.agent_session_id.clone().unwrap();
    wait_until("the end of what was given up", BOUND, async || {
        oc.is_busy(&id, &stopped).await.is_ok_and(|busy| !busy).then_some(())
    })
    .await;
    world.model().open("go");
    let (renewed, name) = ensure(&client, &stopped, "work").await;
    assert_eq!(renewed.how, SessionHow::Renewed);
    let told = run(&client, &name, &Script::new().text("anew")).await;
    assert_eq!(told.transcript().text, "anew");
    assert!(!stopped.join("late.txt").exists());
    world.finish();
}

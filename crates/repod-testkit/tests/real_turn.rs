//! The scripted model against the real OpenCode: what the other crates' tests take for granted.
//!
//! One server for all turns: its start costs more than the turns do.
#![expect(clippy::unwrap_used, reason = "these helpers are tests in all but their attribute")]

use repod_testkit::model::Outcome;
use repod_testkit::{
    Bare, Oc, PATCH_MODEL, Permissions, Prompt, Script, ToolCall, World, patch_add, patch_update,
    proc,
};
use std::path::Path;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

fn read(path: impl AsRef<Path>) -> String {
    fs_err::read_to_string(path.as_ref()).expect("the turn wrote the file")
}

#[tokio::test]
async fn turns_of_every_kind() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let server = world.bare(&repo);
    let oc = server.oc();

    a_plain_prompt_is_echoed(&world, &oc, &repo).await;
    files_are_written_and_edited(&world, &oc, &repo).await;
    commands_run_in_parallel(&oc, &repo).await;
    a_patch_is_applied(&oc, &repo).await;
    thoughts_become_reasoning_parts(&oc, &repo).await;
    a_subagent_follows_its_own_script(&oc, &repo).await;
    a_failing_turn_has_an_error(&oc, &repo).await;
    a_flaky_model_is_asked_again(&world, &oc, &repo).await;
    a_cut_answer_is_no_end_of_the_session(&world, &oc, &repo).await;
    a_hanging_turn_can_be_aborted(&world, &oc, &repo).await;
    paced_text_comes_as_deltas(&oc, &repo).await;
    the_user_s_own_command_runs(&oc, &repo).await;

    drop(server);
    world.finish();
}

async fn a_plain_prompt_is_echoed(world: &World, oc: &Oc, repo: &Path) {
    let turn = oc.turn(repo, "good morning").await.unwrap().succeeded();
    assert_eq!(turn.text, "You said: good morning");
    assert_eq!(turn.finish.as_deref(), Some("stop"));
    assert_eq!(world.model().requests_of(&turn.session).len(), 1);
}

async fn files_are_written_and_edited(world: &World, oc: &Oc, repo: &Path) {
    let file = repo.join("a.txt");
    let script =
        Script::new().write(&file, "one\ntwo\n").edit(&file, "two", "three").text("both done");
    let turn = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!(read(&file), "one\nthree\n");
    assert_eq!(turn.text, "both done");
    let tools: Vec<&str> = turn.tools.iter().map(|t| t.tool.as_str()).collect();
    assert_eq!(tools, ["write", "edit"]);
    let requests = world.model().requests_of(&turn.session);
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[2].tool_results.len(), 2);
    assert_eq!(requests[2].tool_results[0].tool.as_deref(), Some("write"));
}

async fn commands_run_in_parallel(oc: &Oc, repo: &Path) {
    // Each waits for the other's file, so that one after the other would never end.
    let wait = |mine: &str, other: &str| {
        let command =
            format!("touch {mine}; until [ -e {other} ]; do sleep 0.05; done; echo {mine}");
        ToolCall::bash(command)
    };
    let script = Script::new().tools([wait("p1", "p2"), wait("p2", "p1")]).text("met");
    let turn = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!(turn.tools.len(), 2);
    assert!(turn.tools[0].output.as_deref().unwrap_or_default().contains("p1"));
}

async fn a_patch_is_applied(oc: &Oc, repo: &Path) {
    let add = patch_add("new/b.txt", "red\ngreen\n");
    let update = patch_update("new/b.txt", "green\n", "blue\n");
    let script = Script::new().apply_patch(add).apply_patch(update).text("patched");
    let prompt = Prompt::from(script).model(PATCH_MODEL);
    let turn = oc.turn(repo, prompt).await.unwrap().succeeded();
    assert_eq!(read(repo.join("new/b.txt")), "red\nblue\n");
    assert_eq!(turn.tools[1].tool, "apply_patch");
}

async fn thoughts_become_reasoning_parts(oc: &Oc, repo: &Path) {
    let script = Script::new().reasoning("let me see").text("seen");
    let turn = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!((turn.reasoning.as_str(), turn.text.as_str()), ("let me see", "seen"));
}

async fn a_subagent_follows_its_own_script(oc: &Oc, repo: &Path) {
    let file = repo.join("sub.txt");
    let child = Script::new().write(&file, "from below\n").text("child done");
    let turn = oc.turn(repo, Script::new().task(&child).text("parent done")).await.unwrap();
    let turn = turn.succeeded();
    assert_eq!(read(&file), "from below\n");
    assert!(turn.tools[0].output.as_deref().unwrap_or_default().contains("child done"));
    assert_eq!(turn.text, "parent done");
}

async fn a_failing_turn_has_an_error(oc: &Oc, repo: &Path) {
    let turn = oc.turn(repo, Script::new().fail(400)).await.unwrap();
    assert_eq!(turn.error_name(), Some("APIError"), "{turn:?}");
    assert!(!oc.is_busy(&turn.session, repo).await.unwrap());
}

async fn a_flaky_model_is_asked_again(world: &World, oc: &Oc, repo: &Path) {
    let turn = oc.turn(repo, Script::new().flaky(503, 1).text("better")).await.unwrap();
    assert_eq!(turn.succeeded().text, "better");
    let failed = world.model().requests();
    assert!(failed.iter().any(|r| r.outcome() == Outcome::Failed(503)));
}

async fn a_cut_answer_is_no_end_of_the_session(world: &World, oc: &Oc, repo: &Path) {
    let session = oc.create_session(repo).await.unwrap();
    oc.start_turn(&session, Script::new().cut("first half, second half")).await.unwrap();
    let what = "the cut answer";
    let cut = |r: &repod_testkit::model::Request| r.outcome() == Outcome::Cut;
    world.model().wait_for_request(what, BOUND, cut).await;
    let _ = oc.abort(&session).await;
    oc.wait_idle(&session, repo, BOUND).await;
    let turn = oc.turn_in(&session, "still there?").await.unwrap().succeeded();
    assert_eq!(turn.text, "You said: still there?");
}

async fn a_hanging_turn_can_be_aborted(world: &World, oc: &Oc, repo: &Path) {
    let session = oc.create_session(repo).await.unwrap();
    oc.start_turn(&session, Script::new().hang()).await.unwrap();
    let what = "the hanging request";
    let mine = |r: &repod_testkit::model::Request| r.session.as_deref() == Some(&session);
    let request = world.model().wait_for_request(what, BOUND, mine).await;
    assert!(oc.is_busy(&session, repo).await.unwrap());
    oc.abort(&session).await.unwrap();
    oc.wait_idle(&session, repo, BOUND).await;
    repod_testkit::wait_until("the model to notice", BOUND, async || {
        (request.outcome() == Outcome::ClientLeft).then_some(())
    })
    .await;
    let turn = oc.turn_in(&session, "still there?").await.unwrap().succeeded();
    assert_eq!(turn.text, "You said: still there?");
}

async fn paced_text_comes_as_deltas(oc: &Oc, repo: &Path) {
    let session = oc.create_session(repo).await.unwrap();
    let mut events = oc.events(repo).await.unwrap();
    let script = Script::new().paced("tick tock", 3, Duration::from_millis(30));
    oc.prompt_async(&session, script).await.unwrap();
    let mut text = String::new();
    loop {
        let event = events.next(BOUND).await.unwrap().expect("the stream goes on");
        let properties = &event["properties"];
        if properties["sessionID"] != session.as_str() {
            continue;
        }
        match event["type"].as_str() {
            Some("message.part.delta") => text += properties["delta"].as_str().unwrap(),
            Some("session.idle") => break,
            _ => {}
        }
    }
    assert_eq!(text, "tick tock");
}

async fn the_user_s_own_command_runs(oc: &Oc, repo: &Path) {
    let session = oc.create_session(repo).await.unwrap();
    let message = oc.shell(&session, "pwd", BOUND).await.unwrap();
    let output = message["parts"][0]["state"]["output"].as_str().unwrap_or_default();
    assert_eq!(output.trim(), repo.to_str().unwrap());
}

#[tokio::test]
async fn a_permission_is_asked_and_answered() {
    let world = World::bare_builder().permissions(Permissions::Ask).build();
    let repo = world.git_repo("ask");
    let server = world.bare(&repo);
    let oc = server.oc();
    let session = oc.create_session(&repo).await.unwrap();
    let file = repo.join("asked.txt");
    oc.start_turn(&session, Script::new().write(&file, "x\n").text("done")).await.unwrap();
    let asked = repod_testkit::wait_until("the question", BOUND, async || {
        oc.permissions(&repo).await.ok()?.into_iter().next()
    })
    .await;
    assert!(!file.exists());
    oc.reply_permission(asked["id"].as_str().unwrap(), &repo, "once").await.unwrap();
    oc.wait_idle(&session, &repo, BOUND).await;
    assert_eq!(oc.last_turn(&session).await.unwrap().succeeded().text, "done");
    assert_eq!(read(&file), "x\n");
    drop(server);
    world.finish();
}

#[tokio::test]
async fn a_bare_server_takes_its_commands_with_it() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("busy");
    let server: Bare = world.bare(&repo);
    let oc = server.oc();
    let session = oc.create_session(&repo).await.unwrap();
    oc.start_turn(&session, Script::new().bash("sleep 300")).await.unwrap();
    let sleeping = repod_testkit::wait_until("the command", BOUND, async || {
        world.processes().into_iter().find(|p| p.cmdline == "sleep 300")
    })
    .await;
    assert!(world.processes().iter().any(|p| p.pid == server.pid()));
    drop(server);
    assert!(!proc::is_running(sleeping.pid));
    world.finish();
}

//! Who asks, with what, and what follows from the answer.

use crate::daemon::{Policy, TOKEN};
use crate::{BOUND, Guarded};
use repod_testkit::{PATCH_MODEL, Permissions, Prompt, Script, ToolCall, patch_add};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_can_write_ask_and_report() {
    let guarded = Guarded::new();
    says_hello_for_each_directory(&guarded).await;
    writing_asks_and_reading_does_not(&guarded).await;
    a_patch_asks_with_its_text(&guarded).await;
    a_subagent_asks_for_its_root(&guarded).await;
    parallel_calls_ask_at_once(&guarded).await;
    a_refusal_is_what_the_model_reads(&guarded).await;
    a_tool_that_fails_is_reported_all_the_same(&guarded).await;
    a_call_without_a_lease_is_not_held(&guarded).await;
    dispose_ends_the_hello(&guarded).await;
    guarded.finish();
}

async fn says_hello_for_each_directory(guarded: &Guarded) {
    let other = guarded.world.git_repo("other");
    guarded.oc.create_session(&guarded.repo).await.unwrap();
    guarded.oc.create_session(&other).await.unwrap();
    let hellos = guarded.daemon.wait_for("hello", 2).await;
    guarded.daemon.wait_open_hellos(2).await;
    for (hello, directory) in hellos.iter().zip([&guarded.repo, &other]) {
        let wanted = json!({
            "token": TOKEN, "directory": directory, "worktree": directory, "held": [],
        });
        assert_eq!(*hello, wanted);
    }
}

async fn writing_asks_and_reading_does_not(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    let file = repo.join("a.txt");
    let script = Script::new()
        .write(&file, "one\ntwo\n")
        .read(&file)
        .tool("glob", json!({ "pattern": "*.txt" }))
        .tool("grep", json!({ "pattern": "one" }))
        .edit(&file, "two", "three")
        .tool("bash", json!({ "command": "true", "description": "d", "workdir": repo }))
        .text("done");
    let turn = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "one\nthree\n");
    let wanted = ["ask write", "report", "ask edit", "report", "ask bash", "report"];
    assert_eq!(daemon.story(), wanted);
    let asks = daemon.all("ask");
    let ids = |call: usize| (&asks[call]["session"], &asks[call]["root"], &asks[call]["call"]);
    let session = json!(turn.session);
    assert_eq!(ids(0), (&session, &session, &json!(turn.tools[0].call_id)));
    assert_eq!(asks[0]["args"], json!({ "filePath": file }));
    assert_eq!(asks[0]["directory"], json!(repo));
    assert_eq!(asks[0]["token"], TOKEN);
    assert!(!asks[0]["title"].as_str().unwrap().is_empty());
    assert_eq!(asks[1]["args"], json!({ "filePath": file }));
    assert_eq!(asks[2]["args"], json!({ "command": "true", "workdir": repo }));
    let report = json!({ "token": TOKEN, "session": session, "call": turn.tools[0].call_id });
    assert_eq!(daemon.all("report")[0], report);
}

async fn a_patch_asks_with_its_text(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    // Longer than a socket takes at once.
    let patch = patch_add("patched.txt", &"a line of this patch\n".repeat(12_000));
    let script = Script::new().apply_patch(&patch).text("done");
    let _ = oc.turn(repo, Prompt::from(script).model(PATCH_MODEL)).await.unwrap().succeeded();
    assert_eq!(daemon.story(), ["ask apply_patch", "report"]);
    assert_eq!(daemon.all("ask")[0]["args"], json!({ "patchText": patch }));
}

async fn a_subagent_asks_for_its_root(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    let file = repo.join("below.txt");
    let child = Script::new().write(&file, "from below\n").text("child done");
    let script = Script::new().task(&child).text("parent done");
    let turn = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!(daemon.story(), ["ask write", "report"]);
    let ask = &daemon.all("ask")[0];
    assert_eq!(ask["root"], json!(turn.session));
    assert_ne!(ask["session"], ask["root"]);
}

async fn parallel_calls_ask_at_once(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    daemon.set(Policy::Hold);
    let session = guarded.session().await;
    let calls = (0..3).map(|n| ToolCall::write(repo.join(format!("p{n}")), "x\n"));
    oc.start_turn(&session, Script::new().tools(calls).text("done")).await.unwrap();
    daemon.wait_for("ask", 3).await;
    assert!(!repo.join("p0").exists());
    // Each names the one before it, in the order of the model.
    let asks = daemon.all("ask");
    let of = |n: usize| {
        let ends = format!("/p{n}");
        let its = |ask: &&Value| ask["args"]["filePath"].as_str().unwrap().ends_with(&ends);
        asks.iter().find(its).unwrap()
    };
    assert_eq!(of(0).get("after"), None);
    assert_eq!([&of(1)["after"], &of(2)["after"]], [&of(0)["call"], &of(1)["call"]]);
    daemon.set(Policy::Lease(1));
    oc.wait_idle(&session, repo, BOUND).await;
    assert!((0..3).all(|n| repo.join(format!("p{n}")).exists()));
    assert_eq!(daemon.all("report").len(), 3);
}

async fn a_refusal_is_what_the_model_reads(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    let message = "branch `main` is written by session `Fix the login` (3 min); 2nd in the queue";
    daemon.set(Policy::Refuse(message));
    let file = repo.join("refused.txt");
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("so be it")).await.unwrap();
    assert_eq!(turn.tools[0].error.as_deref(), Some(message));
    assert_eq!(turn.text, "so be it");
    let seen = guarded.world.model().requests_of(&turn.session);
    assert!(seen[1].tool_results[0].text.contains(message));
    assert!(!file.exists());
    assert_eq!(daemon.story(), ["ask write"]);

    daemon.set(Policy::Status(403));
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("so be it")).await.unwrap();
    assert!(turn.tools[0].error.as_deref().unwrap().contains("`repod restart`"));
    assert!(!file.exists());
    daemon.set(Policy::Lease(1));
}

async fn a_tool_that_fails_is_reported_all_the_same(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    let session = guarded.session().await;
    let script =
        Script::new().edit(repo.join("a.txt"), "not in there", "x").gate("on").text("well");
    oc.start_turn(&session, script).await.unwrap();
    // While the turn still goes on.
    let reports = daemon.wait_for("report", 1).await;
    let call = oc.last_turn(&session).await.unwrap().tools.remove(0);
    assert_eq!((call.status.as_str(), &reports[0]["call"]), ("error", &json!(call.call_id)));
    guarded.world.model().open("on");
    oc.wait_idle(&session, repo, BOUND).await;
    assert_eq!(daemon.story(), ["ask edit", "report"]);
}

async fn a_call_without_a_lease_is_not_held(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.clear();
    daemon.set(Policy::Run);
    let _ = oc.turn(repo, Script::new().bash("true").text("done")).await.unwrap().succeeded();
    assert_eq!(daemon.story(), ["ask bash", "report"]);
    daemon.set(Policy::Lease(1));
}

async fn dispose_ends_the_hello(guarded: &Guarded) {
    let Guarded { daemon, oc, repo, .. } = guarded;
    daemon.wait_open_hellos(2).await;
    oc.post("/instance/dispose", Some(repo), json!({})).await.unwrap();
    daemon.wait_open_hellos(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_broken_options_all_writing_is_refused() {
    let guarded = Guarded::with(Permissions::Allow, |_| json!({ "socket": 5 }));
    let file = guarded.repo.join("a.txt");
    fs_err::write(&file, "a\n").unwrap();
    let script = Script::new().read(&file).write(&file, "b\n").bash("echo c > a.txt").text("no");
    let turn = guarded.oc.turn(&guarded.repo, script).await.unwrap();
    assert_eq!(turn.tools[0].status, "completed");
    for refused in &turn.tools[1..] {
        let error = refused.error.as_deref().unwrap();
        assert!(error.contains("guard is not set up (no socket)"), "{error}");
    }
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "a\n");
    guarded.finish();
}

//! Writes to files of another repository: OpenCode's own tool works on copies, the daemon applies
//! what came of it, and everybody reads the real paths.

use crate::daemon::Policy;
use crate::{BOUND, Guarded};
use repod_testkit::{PATCH_MODEL, Prompt, Script, ToolPart, TurnOutcome};
use serde_json::{Value, json};
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_writes_are_routed_and_told_in_real_words() {
    let guarded = Guarded::beside_lib(
        &json!({ "edit": "allow", "bash": "allow", "external_directory": "allow" }),
    );
    let mut events = guarded.oc.global_events().await.unwrap();
    a_write_is_applied_by_the_daemon(&guarded).await;
    an_edit_is_what_opencode_makes_of_it(&guarded).await;
    a_patch_over_both_repositories(&guarded).await;
    a_failing_edit_stays_opencodes_error(&guarded).await;
    a_failing_patch_stays_opencodes_error(&guarded).await;
    a_change_that_can_not_be_applied(&guarded).await;
    a_call_at_home_stays_at_home(&guarded).await;

    // Whatever was told in all that time named the real paths.
    let last = guarded.oc.create_session(&guarded.repo).await.unwrap();
    let is_end = |event: &Value| {
        let told = event.to_string();
        assert!(!told.contains("edit-allow.dir-"), "{told}");
        told.contains(&last)
    };
    events.next_where("the last session", BOUND, is_end).await.unwrap();
    nobody_writes_to_the_copies(&guarded).await;
    guarded.finish();
}

/// What is stored and what the model was told names no copy.
async fn reads_real(guarded: &Guarded, turn: &TurnOutcome) -> ToolPart {
    let stage = guarded.stage.as_ref().unwrap().path().to_str().unwrap();
    let stored = json!(guarded.oc.messages(&turn.session).await.unwrap()).to_string();
    assert!(!stored.contains(stage), "{stored}");
    for request in guarded.world.model().requests_of(&turn.session) {
        let told = json!(request.messages).to_string();
        assert!(!told.contains(stage), "{told}");
    }
    // Nothing is left of the copies.
    let left = walk(Path::new(stage));
    assert!(left.is_empty(), "{left:?}");
    turn.tools[0].clone()
}

fn walk(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] })
        .collect()
}

async fn a_write_is_applied_by_the_daemon(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    let file = guarded.lib().join("new/file.txt");
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("done")).await.unwrap();
    let turn = turn.succeeded();
    assert_eq!(daemon.story(), ["ask write", "stage", "commit", "report"]);
    assert_eq!(daemon.all("stage")[0]["name"], "edit-allow.dir-allow");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "x\n");
    let call = reads_real(guarded, &turn).await;
    assert_eq!(call.input["filePath"], json!(file));
    assert_eq!(call.output.unwrap(), format!("Applied in {}", file.display()));
    assert_eq!(call.title.unwrap(), "../lib/new/file.txt");
    assert_eq!(call.raw["state"]["metadata"]["filepath"], json!(file));
}

async fn an_edit_is_what_opencode_makes_of_it(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let file = guarded.lib().join("edited.txt");
    fs_err::write(&file, "one\r\n  two\r\nthree").unwrap();
    // A relative path, and words that match only by OpenCode's own rules.
    let script = Script::new().edit("../lib/edited.txt", "two\n", "2\n").text("done");
    let turn = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!(daemon.story(), ["ask edit", "stage", "commit", "report"]);
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "one\r\n  2\r\nthree");
    let call = reads_real(guarded, &turn).await;
    assert_eq!(call.input["filePath"], "../lib/edited.txt");
    let metadata = &call.raw["state"]["metadata"];
    assert_eq!(metadata["filediff"]["file"], json!(file));
    let diff = metadata["diff"].as_str().unwrap();
    assert!(diff.contains(&format!("--- {}", file.display())), "{diff}");
}

async fn a_patch_over_both_repositories(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let lib = guarded.lib();
    fs_err::write(lib.join("old.txt"), "a\nb\n").unwrap();
    fs_err::write(lib.join("gone.txt"), "x\n").unwrap();
    fs_err::write(repo.join("here.txt"), "1\n2\n").unwrap();
    let lib = lib.display();
    let patch = format!(
        "*** Begin Patch\n*** Update File: here.txt\n@@\n 1\n-2\n+3\n\
         *** Update File: {lib}/old.txt\n*** Move to: ../lib/moved.txt\n@@\n a\n-b\n+c\n\
         *** Delete File: {lib}/gone.txt\n*** Add File: ../lib/added.txt\n+*** Add File: x\n\
         *** End Patch"
    );
    let script = Script::new().apply_patch(&patch).text("done");
    let turn = oc.turn(repo, Prompt::from(script).model(PATCH_MODEL)).await.unwrap().succeeded();
    assert_eq!(daemon.story(), ["ask apply_patch", "stage", "commit", "report"]);
    let read = |name: &str| fs_err::read_to_string(guarded.lib().join(name)).ok();
    assert_eq!(fs_err::read_to_string(repo.join("here.txt")).unwrap(), "1\n3\n");
    assert_eq!((read("old.txt"), read("gone.txt")), (None, None));
    assert_eq!(read("moved.txt").unwrap(), "a\nc\n");
    assert_eq!(read("added.txt").unwrap(), "*** Add File: x\n");
    let call = reads_real(guarded, &turn).await;
    assert_eq!(call.input["patchText"], json!(patch));
    let files = &call.raw["state"]["metadata"]["files"];
    assert_eq!(files[0]["relativePath"], "here.txt");
    assert_eq!(files[1]["relativePath"], "../lib/moved.txt");
    assert_eq!(files[1]["movePath"], json!(guarded.lib().join("moved.txt")));
}

async fn a_failing_edit_stays_opencodes_error(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let missing = guarded.lib().join("missing.txt");
    let script = Script::new().edit(&missing, "a", "b").text("so be it");
    let turn = oc.turn(repo, script).await.unwrap();
    daemon.wait_for("report", 1).await;
    assert_eq!(daemon.story(), ["ask edit", "stage", "report"]);
    let call = reads_real(guarded, &turn).await;
    assert_eq!(call.error.unwrap(), format!("File {} not found", missing.display()));
    assert_eq!(call.input["filePath"], json!(missing));

    let file = guarded.lib().join("edited.txt");
    let before = fs_err::read(&file).unwrap();
    let script = Script::new().edit(&file, "not in there", "b").text("so be it");
    let turn = oc.turn(repo, script).await.unwrap();
    assert!(turn.tools[0].error.as_deref().unwrap().contains("Could not find oldString"));
    daemon.wait_for("report", 2).await;
    reads_real(guarded, &turn).await;
    assert_eq!(fs_err::read(&file).unwrap(), before);
}

async fn a_failing_patch_stays_opencodes_error(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let file = guarded.lib().join("moved.txt");
    let patch = repod_testkit::patch_update(&file, "not in there\n", "x\n");
    let script = Script::new().apply_patch(patch).text("so be it");
    let turn = oc.turn(repo, Prompt::from(script).model(PATCH_MODEL)).await.unwrap();
    daemon.wait_for("report", 1).await;
    let error = reads_real(guarded, &turn).await.error.unwrap();
    assert!(error.contains(&format!("expected lines in {}", file.display())), "{error}");
}

async fn a_change_that_can_not_be_applied(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let message = "nothing was written: `lib` has another `refused.txt` by now";
    daemon.set_commits(Policy::Refuse(message));
    let file = guarded.lib().join("refused.txt");
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("so be it")).await.unwrap();
    daemon.wait_for("report", 1).await;
    assert_eq!(reads_real(guarded, &turn).await.error.as_deref(), Some(message));
    assert!(!file.exists());
    daemon.set_commits(Policy::Run);
}

async fn a_call_at_home_stays_at_home(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let file = repo.join("home.txt");
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("done")).await.unwrap();
    assert_eq!(turn.succeeded().tools[0].output.as_deref(), Some("Wrote file successfully."));
    assert_eq!(daemon.story(), ["ask write", "report"]);
}

async fn nobody_writes_to_the_copies(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let file = guarded.stage.as_ref().unwrap().path().join("edit-allow.dir-allow/x/y.txt");
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("so be it")).await.unwrap();
    assert!(turn.tools[0].error.as_deref().unwrap().contains("repod's own"), "{turn:?}");
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_or_a_missing_daemon_leaves_no_doubt() {
    let mut guarded = Guarded::beside_lib(
        &json!({ "edit": "allow", "bash": "allow", "external_directory": "allow" }),
    );
    what_was_applied_after_all_is_told_so(&guarded).await;
    without_a_daemon_nobody_knows(&mut guarded).await;
    guarded.finish();
}

/// The daemon carries a change out to its end, whoever has left.
async fn what_was_applied_after_all_is_told_so(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.set_commits(Policy::Hold);
    let file = guarded.lib().join("late.txt");
    let session = guarded.session().await;
    oc.start_turn(&session, Script::new().write(&file, "x\n").text("done")).await.unwrap();
    daemon.wait_for("commit", 1).await;
    oc.abort(&session).await.unwrap();
    oc.wait_idle(&session, repo, BOUND).await;
    // The copies are still being read.
    assert_eq!(daemon.story(), ["ask write", "stage", "commit"]);
    daemon.set_commits(Policy::Run);
    daemon.wait_for("report", 1).await;
    let call = repod_testkit::wait_until("the truth", BOUND, async || {
        let call = oc.last_turn(&session).await.ok()?.tools.remove(0);
        (call.status == "completed").then_some(call)
    })
    .await;
    assert_eq!(call.output.unwrap(), format!("Applied in {}", file.display()));
    assert_eq!(call.input["filePath"], json!(file));
    assert!(file.exists());
}

async fn without_a_daemon_nobody_knows(guarded: &mut Guarded) {
    guarded.daemon.clear();
    guarded.daemon.set_commits(Policy::Hold);
    let file = guarded.lib().join("unknown.txt");
    let session = guarded.session().await;
    let script = Script::new().write(&file, "x\n").text("so be it");
    guarded.oc.start_turn(&session, script).await.unwrap();
    guarded.daemon.wait_for("commit", 1).await;
    guarded.daemon.stop().await;
    guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
    let call = guarded.oc.last_turn(&session).await.unwrap().tools.remove(0);
    let error = call.error.unwrap();
    assert!(error.contains("it is not known whether this write was done"), "{error}");
    guarded.daemon.restart();
}

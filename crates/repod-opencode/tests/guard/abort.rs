//! A call that was aborted does not write: not while it waits, not at the grant, not later.

use crate::daemon::{Policy, TOKEN};
use crate::{BOUND, Guarded};
use repod_testkit::{Permissions, Script, wait_until};
use serde_json::json;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_call_does_not_write() {
    let guarded = Guarded::new();
    not_while_it_waits(&guarded).await;
    not_when_the_grant_comes_right_after(&guarded).await;
    the_transcript_is_true_when_abort_and_grant_meet(&guarded).await;
    not_when_a_subagent_waits(&guarded).await;
    not_when_the_daemon_is_away(&guarded).await;
    not_when_its_session_is_deleted(&guarded).await;
    the_end_of_an_old_turn_does_not_abort_a_new_one(&guarded).await;
    not_when_another_plugin_held_it_up(&guarded).await;
    guarded.finish();
}

/// A turn whose write waits for its grant; the session.
async fn waiting_write(guarded: &Guarded, file: &Path) -> String {
    guarded.daemon.clear();
    guarded.daemon.set(Policy::Hold);
    let session = guarded.session().await;
    let script = Script::new().write(file, "x\n").text("done");
    guarded.oc.start_turn(&session, script).await.unwrap();
    guarded.daemon.wait_for("ask", 1).await;
    session
}

/// Whatever was left of an aborted turn has had its chance when the session's next turn has ended.
async fn nothing_comes_later(guarded: &Guarded, session: &str, file: &Path) {
    guarded.daemon.set(Policy::Lease(2));
    let turn = guarded.oc.turn_in(session, Script::new().bash("sleep 0.5").text("next")).await;
    assert_eq!(turn.unwrap().succeeded().text, "next");
    assert!(!file.exists());
}

async fn not_while_it_waits(guarded: &Guarded) {
    let file = guarded.repo.join("waits.txt");
    let session = waiting_write(guarded, &file).await;
    guarded.oc.abort(&session).await.unwrap();
    let gone = guarded.daemon.wait_for("gone", 1).await;
    let report = guarded.daemon.wait_for("report", 1).await;
    assert_eq!(report[0]["call"], gone[0]["call"]);
    guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
    let turn = guarded.oc.last_turn(&session).await.unwrap();
    // OpenCode's own words: it doesn't listen to the hook any more.
    assert_eq!(turn.tools[0].error.as_deref(), Some("Tool execution aborted"));
    nothing_comes_later(guarded, &session, &file).await;
}

async fn not_when_the_grant_comes_right_after(guarded: &Guarded) {
    let file = guarded.repo.join("after.txt");
    let session = waiting_write(guarded, &file).await;
    let abort = async { guarded.oc.abort(&session).await.unwrap() };
    // Idle comes at once; the call's part and the abort's answer are 250 ms behind.
    let grant = async {
        guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
        guarded.daemon.set(Policy::Lease(1));
    };
    tokio::join!(abort, grant);
    guarded.daemon.wait_for("report", 1).await;
    nothing_comes_later(guarded, &session, &file).await;
}

async fn the_transcript_is_true_when_abort_and_grant_meet(guarded: &Guarded) {
    for round in 0..6 {
        let file = guarded.repo.join(format!("meet{round}.txt"));
        let session = waiting_write(guarded, &file).await;
        let abort = async { guarded.oc.abort(&session).await.unwrap() };
        tokio::join!(abort, async { guarded.daemon.set(Policy::Lease(1)) });
        guarded.daemon.wait_for("report", 1).await;
        guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
        let call = guarded.oc.last_turn(&session).await.unwrap().tools.remove(0);
        guarded.oc.turn_in(&session, "still there?").await.unwrap();
        assert_eq!(file.exists(), call.status == "completed", "{call:?}");
    }
}

async fn not_when_a_subagent_waits(guarded: &Guarded) {
    let file = guarded.repo.join("below.txt");
    guarded.daemon.clear();
    guarded.daemon.set(Policy::Hold);
    let session = guarded.session().await;
    let child = Script::new().write(&file, "x\n").text("child done");
    guarded.oc.start_turn(&session, Script::new().task(&child).text("done")).await.unwrap();
    guarded.daemon.wait_for("ask", 1).await;
    guarded.oc.abort(&session).await.unwrap();
    guarded.daemon.wait_for("gone", 1).await;
    guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
    nothing_comes_later(guarded, &session, &file).await;
}

async fn not_when_the_daemon_is_away(guarded: &Guarded) {
    let file = guarded.repo.join("away.txt");
    let session = waiting_write(guarded, &file).await;
    guarded.daemon.set(Policy::Status(503));
    guarded.daemon.wait_for("ask", 3).await;
    guarded.oc.abort(&session).await.unwrap();
    guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
    let asked = guarded.daemon.all("ask").len();
    nothing_comes_later(guarded, &session, &file).await;
    assert_eq!(guarded.daemon.all("ask").len(), asked + 1);
}

async fn not_when_its_session_is_deleted(guarded: &Guarded) {
    let file = guarded.repo.join("deleted.txt");
    let session = waiting_write(guarded, &file).await;
    let path = format!("/session/{session}");
    let reply = guarded.oc.call("DELETE", &path, None, None, BOUND).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    guarded.daemon.wait_for("gone", 1).await;
    let session = guarded.session().await;
    nothing_comes_later(guarded, &session, &file).await;
}

async fn the_end_of_an_old_turn_does_not_abort_a_new_one(guarded: &Guarded) {
    for round in 0..3 {
        let (old, new) = (guarded.repo.join("old.txt"), guarded.repo.join(format!("new{round}")));
        let session = waiting_write(guarded, &old).await;
        guarded.oc.abort(&session).await.unwrap();
        let script = Script::new().write(&new, "x\n").text("done");
        guarded.oc.prompt_async(&session, script).await.unwrap();
        guarded.daemon.wait_for("ask", 2).await;
        guarded.daemon.set(Policy::Lease(1));
        guarded.daemon.wait_for("report", 2).await;
        guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
        let turn = guarded.oc.last_turn(&session).await.unwrap().succeeded();
        assert_eq!(turn.text, "done");
        assert!(new.exists() && !old.exists());
    }
}

/// The guard never saw the call wait: it must find out by itself that nobody wants it any more.
async fn not_when_another_plugin_held_it_up(guarded: &Guarded) {
    let Guarded { oc, daemon, .. } = guarded;
    let repo = guarded.world.git_repo("slow");
    let (held, go) = (repo.join("held"), repo.join("go"));
    let plugin = format!(
        "export const Slow = async () => ({{ 'tool.execute.before': async ({{ tool }}) => {{\n\
         if (tool !== 'write') return\nawait Bun.write({held:?}, '')\n\
         while (!(await Bun.file({go:?}).exists())) await Bun.sleep(20)\n}} }})\n",
    );
    fs_err::create_dir_all(repo.join(".opencode/plugin")).unwrap();
    fs_err::write(repo.join(".opencode/plugin/slow.js"), plugin).unwrap();
    for new_turn in [false, true] {
        daemon.clear();
        daemon.set(Policy::Lease(1));
        let file = repo.join("slow.txt");
        let session = oc.create_session(&repo).await.unwrap();
        oc.start_turn(&session, Script::new().write(&file, "x\n").text("done")).await.unwrap();
        wait_until("the slow plugin", BOUND, async || held.exists().then_some(())).await;
        oc.abort(&session).await.unwrap();
        let gate = format!("new turn {new_turn}");
        if new_turn {
            let script = Script::new().gate(&gate).text("next");
            oc.start_turn(&session, script).await.unwrap();
        }
        fs_err::write(&go, "").unwrap();
        guarded.world.model().open(&gate);
        oc.wait_idle(&session, &repo, BOUND).await;
        let turn = oc.turn_in(&session, Script::new().bash("sleep 0.5").text("next")).await;
        let _ = turn.unwrap().succeeded();
        assert!(!file.exists());
        assert_eq!(daemon.story(), ["ask bash", "report"]);
        fs_err::remove_file(&go).unwrap();
        fs_err::remove_file(&held).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_left_over_by_an_abort_can_not_be_given() {
    let option = |socket: &Path| json!({ "socket": socket, "token": TOKEN });
    let guarded = Guarded::with(Permissions::Ask, option);
    let Guarded { oc, repo, daemon, .. } = &guarded;
    let file = repo.join("asked.txt");
    let session = guarded.session().await;
    let mut events = oc.events(repo).await.unwrap();
    oc.start_turn(&session, Script::new().write(&file, "x\n").text("done")).await.unwrap();
    let asked = wait_until("the question", BOUND, async || {
        oc.permissions(repo).await.ok()?.into_iter().next()
    })
    .await;
    daemon.wait_for("ask", 1).await;
    oc.abort(&session).await.unwrap();
    // At once, not only when OpenCode gives the call up, 250 ms later.
    let first = |e: &serde_json::Value| {
        e["type"] == "permission.replied" || e["properties"]["part"]["state"]["status"] == "error"
    };
    let first = events.next_where("the rejection", BOUND, first).await.unwrap();
    assert_eq!(first["properties"]["reply"], "reject", "{first}");
    wait_until("no question", BOUND, async || {
        oc.permissions(repo).await.ok()?.is_empty().then_some(())
    })
    .await;
    let reply = oc.reply_permission(asked["id"].as_str().unwrap(), repo, "once").await;
    assert!(reply.is_err());
    daemon.wait_for("report", 1).await;
    assert!(!file.exists());

    // One that is answered still works.
    oc.start_turn(&session, Script::new().write(&file, "y\n").text("done")).await.unwrap();
    let asked = wait_until("the question", BOUND, async || {
        oc.permissions(repo).await.ok()?.into_iter().next()
    })
    .await;
    oc.reply_permission(asked["id"].as_str().unwrap(), repo, "once").await.unwrap();
    oc.wait_idle(&session, repo, BOUND).await;
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "y\n");
    guarded.finish();
}

//! The daemon goes away, comes back, or stays away.

use crate::daemon::Policy;
use crate::{BOUND, Guarded};
use repod_testkit::Script;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_outlives_its_daemon() {
    let mut guarded = Guarded::new();
    an_ask_goes_on_when_the_daemon_is_back(&mut guarded).await;
    a_new_daemon_learns_what_is_held(&mut guarded).await;
    without_a_daemon_writing_is_refused_in_time(&mut guarded).await;
    guarded.finish();
}

async fn an_ask_goes_on_when_the_daemon_is_back(guarded: &mut Guarded) {
    guarded.daemon.set(Policy::Hold);
    let file = guarded.repo.join("patient.txt");
    let session = guarded.session().await;
    let script = Script::new().write(&file, "x\n").text("done");
    guarded.oc.start_turn(&session, script).await.unwrap();
    guarded.daemon.wait_for("ask", 1).await;
    guarded.daemon.stop().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    guarded.daemon.restart();
    let asks = guarded.daemon.wait_for("ask", 2).await;
    assert_eq!(asks[0], asks[1]);
    guarded.daemon.set(Policy::Lease(1));
    guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
    let _ = guarded.oc.last_turn(&session).await.unwrap().succeeded();
    assert!(file.exists());
    guarded.daemon.wait_open_hellos(1).await;
}

async fn a_new_daemon_learns_what_is_held(guarded: &mut Guarded) {
    let command = "until [ -e go ]; do sleep 0.05; done";
    let session = guarded.session().await;
    let script = Script::new().bash(command).gate("end").text("done");
    guarded.daemon.clear();
    guarded.daemon.set(Policy::Lease(7));
    guarded.oc.start_turn(&session, script).await.unwrap();
    let ask = guarded.daemon.wait_for("ask", 1).await.remove(0);
    let lease = |calls: serde_json::Value| {
        json!([{
            "repo_id": "web-0123456789ab", "branch": "main", "fence": 7, "root": session,
            "session": session, "title": ask["title"], "calls": calls,
        }])
    };

    // While the call runs: the lease and the call.
    let running = |tools: &[repod_testkit::ToolPart]| tools.iter().any(|t| t.status == "running");
    repod_testkit::wait_until("the command", BOUND, async || {
        running(&guarded.oc.last_turn(&session).await.ok()?.tools).then_some(())
    })
    .await;
    let call = json!({
        "call": ask["call"], "session": session, "tool": "bash", "what": format!("bash: {command}"),
    });
    assert_eq!(held_after_restart(guarded).await, lease(json!([call])));

    // Between calls of the turn: the lease.
    fs_err::write(guarded.repo.join("go"), "").unwrap();
    guarded.daemon.wait_for("report", 1).await;
    assert_eq!(held_after_restart(guarded).await, lease(json!([])));

    // After the turn: nothing.
    guarded.world.model().open("end");
    guarded.oc.wait_idle(&session, &guarded.repo, BOUND).await;
    repod_testkit::wait_until("the lease's end", BOUND, async || {
        (held_after_restart(guarded).await == json!([])).then_some(())
    })
    .await;
}

async fn held_after_restart(guarded: &mut Guarded) -> serde_json::Value {
    let before = guarded.daemon.all("hello").len();
    guarded.daemon.stop().await;
    guarded.daemon.restart();
    let mut hellos = guarded.daemon.wait_for("hello", before + 1).await;
    guarded.daemon.wait_open_hellos(1).await;
    hellos.remove(before)["held"].take()
}

async fn without_a_daemon_writing_is_refused_in_time(guarded: &mut Guarded) {
    guarded.daemon.stop().await;
    let file = guarded.repo.join("alone.txt");
    fs_err::write(&file, "a\n").unwrap();
    let started = Instant::now();
    let script = Script::new().read(&file).write(&file, "b\n").text("so be it");
    let turn = guarded.oc.turn(&guarded.repo, script).await.unwrap();
    assert_eq!(turn.tools[0].status, "completed");
    let error = turn.tools[1].error.as_deref().unwrap();
    assert!(error.starts_with("repod can't be reached, so this write was not done: "), "{error}");
    assert!(error.contains("`repod ps`"), "{error}");
    assert_eq!(turn.text, "so be it");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "a\n");
    let took = started.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

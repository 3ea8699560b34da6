//! The hub on the real OpenCode.

use super::{BOUND, Filter, Got, Limits, Upstream, hub, next, until};
use repod_testkit::{Bare, Script, World, wait_until};
use serde_json::Value;

fn upstream(generation: u64, bare: &Bare) -> Upstream {
    let port = bare.url().rsplit_once(':').unwrap().1.parse().unwrap();
    // A bare server has no password and takes any.
    Upstream { generation, port, password: "any".to_owned(), fresh: false, missed_since: None }
}

fn kinds(all: &[Got]) -> Vec<&str> {
    all.iter().map(Got::kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_killed_with_its_backend_ends_for_readers_and_in_the_database() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let directory = repo.to_str().unwrap().to_owned();
    let bare = world.bare(&repo);
    let (name, hub) = hub(Some(upstream(1, &bare)), Limits::default());
    let mut global = hub.subscribe(Filter::Global, None);
    let mut reader = hub.subscribe(Filter::Directory(directory.clone()), None);
    wait_until("the stream", BOUND, async || hub.activity().known.then_some(())).await;
    let session = bare.oc().create_session(&repo).await.unwrap();
    let script = Script::new().bash("sleep 605").text("never");
    bare.oc().prompt_async(&session, script).await.unwrap();
    let runs = |got: &Got| got.properties()["part"]["state"]["status"] == "running";
    let before = until(&mut reader, "the running tool", runs).await;
    assert_eq!(before[0].kind(), "server.connected");
    assert!(!kinds(&before).contains(&"sync"));
    assert_eq!(hub.activity().busy, [session.as_str()]);
    let seen = before.last().unwrap().id.clone().unwrap();

    bare.process().handle().kill().unwrap();
    assert!(bare.process().handle().wait_exit(BOUND));
    name.send_replace(None);
    // At once: its drop disposes of whoever listens on that port by then.
    drop(bare);
    let bare = world.bare(&repo);
    name.send_replace(Some(upstream(2, &bare)));

    let ended = |got: &Got| !got.properties()["info"]["time"]["completed"].is_null();
    let after = until(&mut reader, "the end of the message", ended).await;
    let of = |kind: &str| after.iter().find(|got| got.kind() == kind).unwrap().properties();
    assert_eq!(of("session.error")["sessionID"], session.as_str());
    assert_eq!(of("session.error")["error"]["name"], "MessageAbortedError");
    assert_eq!(of("session.status")["status"]["type"], "idle");
    assert_eq!(of("session.idle")["sessionID"], session.as_str());
    let mended = |got: &&Got| got.properties()["part"]["state"]["status"] == "error";
    assert!(after.iter().any(|got| mended(&got)), "{after:#?}");
    assert!(hub.activity().busy.is_empty());

    let turn = bare.oc().last_turn(&session).await.unwrap();
    assert_eq!(turn.error_name(), Some("MessageAbortedError"));
    assert_eq!(turn.tools[0].status, "error");
    assert!(turn.tools[0].error.as_ref().unwrap().starts_with("interrupted"));

    // Nothing came twice, and what came can be had again.
    let all = until(&mut global, "the same", |got| ended(got)).await;
    let mut ids: Vec<String> = all.iter().filter_map(own_id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let mut again = hub.subscribe(Filter::Directory(directory), Some(&seen));
    assert_eq!(next(&mut again).await.unwrap().kind(), "server.connected");
    let replayed = until(&mut again, "the end again", ended).await;
    let events = |all: &[Got]| all.iter().filter(|g| g.id.is_some()).cloned().collect::<Vec<_>>();
    assert_eq!(events(&replayed), events(&after));

    // The repair left a session that works, and history and stream still agree on numbers.
    let next_turn = bare.oc().turn_in(&session, Script::new().text("back")).await.unwrap();
    assert_eq!(next_turn.succeeded().text, "back");
    until(&mut reader, "the next turn's end", |got| got.kind() == "session.idle").await;
    let counts = hub.counts();
    assert_eq!((counts.interrupted, counts.lost, counts.cut), (1, 0, 0), "{counts:?}");
    drop(bare);
    end_leftovers(&world, "sleep 605");
    world.finish();
}

/// OpenCode's own id, with the half it is.
fn own_id(got: &Got) -> Option<String> {
    let payload: &Value = &got.data["payload"];
    got.id.as_ref()?;
    Some(format!("{}{}", payload["id"].as_str()?, payload["type"] == "sync"))
}

/// A tool's command survives the kill of its backend.
fn end_leftovers(world: &World, command: &str) {
    for process in world.processes().iter().filter(|process| process.cmdline.contains(command)) {
        if let Ok(handle) = repod_testkit::proc::Handle::open(process.pid) {
            let _ = handle.kill();
            handle.wait_exit(BOUND);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_client_did_before_the_new_stream_is_seen() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let bare = world.bare(&repo);
    let old = bare.oc().create_session(&repo).await.unwrap();
    let (name, hub) = hub(Some(upstream(1, &bare)), Limits::default());
    let mut reader = hub.subscribe(Filter::Global, None);
    wait_until("the stream", BOUND, async || hub.activity().known.then_some(())).await;
    name.send_replace(None);
    drop(bare);
    let bare = world.bare(&repo);
    let turn = bare.oc().turn_in(&old, Script::new().text("meanwhile")).await.unwrap();
    assert_eq!(turn.succeeded().text, "meanwhile");
    let new = bare.oc().create_session(&repo).await.unwrap();
    name.send_replace(Some(upstream(2, &bare)));
    let all = until(&mut reader, "the new session", |got| {
        got.kind() == "session.created" && got.properties()["sessionID"] == new.as_str()
    })
    .await;
    let made = |got: &&Got| got.kind() == "session.created";
    assert_eq!(all.iter().filter(made).count(), 1, "what is old is not told again");
    let more =
        until(&mut reader, "the text", |got| got.properties()["part"]["text"] == "meanwhile");
    if !all.iter().any(|got| got.properties()["part"]["text"] == "meanwhile") {
        more.await;
    }
    assert_eq!(hub.counts().lost, 0);
    drop(bare);
    world.finish();
}

//! Backends that die, streams that break, events that come twice.

use super::fake::{DIRECTORY, SESSION, Store};
use super::{BOUND, Fake, Filter, Got, Limits, hub, next, until};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

fn store() -> Arc<Mutex<Store>> {
    Arc::default()
}

/// The durable events among what came, by number; ordinary ones or `sync` copies.
fn numbers(all: &[Got], sync: bool) -> Vec<u64> {
    let wanted = all.iter().filter(|got| (got.kind() == "sync") == sync && got.id.is_some());
    let read = |got: &Got| match sync {
        true => got.data["payload"]["syncEvent"]["seq"].as_u64(),
        false => got.properties()["n"].as_u64(),
    };
    wanted.filter_map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_see_one_sequence_over_twenty_generations() {
    let store = store();
    let mut fake = Fake::start(&store, 1).await;
    let (name, hub) = hub(Some(fake.upstream.clone()), Limits::default());
    let mut readers = JoinSet::new();
    for _ in 0..200 {
        let mut reader = hub.subscribe(Filter::Global, None);
        let is_last = |got: &Got| got.kind() == "last";
        readers.spawn(async move { until(&mut reader, "the last event", is_last).await });
    }
    let mut of_directory = hub.subscribe(Filter::Directory(format!("{DIRECTORY}/")), None);
    let mut elsewhere = hub.subscribe(Filter::Directory("/elsewhere".to_owned()), None);
    let streams = async |at_least: u64| {
        repod_testkit::wait_until("a stream", BOUND, async || {
            (hub.counts().streams >= at_least).then_some(())
        })
        .await;
    };
    streams(1).await;
    let mut emitted = 0;
    for generation in 2..=20 {
        for burst in 0..5 {
            for times in [1, 2, 1, 3, 0] {
                fake.emit(times);
                emitted += 1;
            }
            if burst % 2 == 1 {
                fake.cut();
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let opened = hub.counts().streams;
        drop(fake);
        name.send_replace(None);
        fake = Fake::start(&store, generation).await;
        fake.emit(1);
        emitted += 1;
        name.send_replace(Some(fake.upstream.clone()));
        fake.emit(1);
        emitted += 1;
        streams(opened + 1).await;
    }
    repod_testkit::wait_until("all of it", BOUND, async || {
        // What was sent to nobody comes with the next gap.
        fake.cut();
        (hub.counts().events >= 2 * emitted).then_some(())
    })
    .await;
    repod_testkit::wait_until("the last event to be taken", BOUND, async || {
        fake.send("last", &json!({}));
        readers.try_join_next().map(|done| check(&done.unwrap(), emitted))
    })
    .await;
    let first = readers.join_next().await.unwrap().unwrap();
    check(&first, emitted);
    let ids = |all: &[Got]| all.iter().filter_map(|g| g.id.clone()).collect::<Vec<_>>();
    while let Some(other) = readers.join_next().await {
        assert_eq!(ids(&other.unwrap()), ids(&first));
    }
    let own = until(&mut of_directory, "the last event", |got| got.kind() == "last").await;
    let mut all = numbers(&own, false);
    all.sort_unstable();
    assert_eq!(all, (0..emitted).collect::<Vec<_>>());
    assert!(own.iter().all(|got| got.kind() != "sync" && got.data["payload"].is_null()));
    assert_eq!(next(&mut elsewhere).await.unwrap().kind(), "server.connected");
    let (counts, store) = (hub.counts(), store.lock().unwrap());
    assert_eq!((counts.cut, counts.lost, counts.malformed), (0, 0, 0), "{counts:?}");
    assert!(counts.duplicates > 0 && store.opened >= 20, "{counts:?}");
    assert_eq!(store.most_open, 1, "one stream at any moment");
}

/// Every number once, and ids without a gap.
fn check(all: &[Got], emitted: u64) {
    let ids: Vec<u64> = all.iter().filter(|got| got.id.is_some()).map(Got::number).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "ids without a gap");
    for sync in [false, true] {
        let mut numbers = numbers(all, sync);
        numbers.sort_unstable();
        assert_eq!(numbers, (0..emitted).collect::<Vec<_>>(), "sync: {sync}");
    }
}

#[tokio::test]
async fn a_turn_that_died_with_its_backend_is_told_to_have_ended() {
    let store = store();
    let fake = Fake::start(&store, 1).await;
    let (name, hub) = hub(Some(fake.upstream.clone()), Limits::default());
    let mut reader = hub.subscribe(Filter::Directory(DIRECTORY.to_owned()), None);
    repod_testkit::wait_until("a stream", BOUND, async || hub.activity().known.then_some(())).await;
    fake.send("session.status", &json!({ "sessionID": SESSION, "status": { "type": "busy" } }));
    fake.send("permission.asked", &json!({ "sessionID": SESSION, "id": "per_1" }));
    until(&mut reader, "the question", |got| got.kind() == "permission.asked").await;
    let activity = hub.activity();
    assert!(activity.known && activity.last_event.is_some());
    assert_eq!((activity.busy, activity.permissions), (vec![SESSION.to_owned()], 1));

    drop(fake);
    name.send_replace(None);
    // Whether or not another backend follows.
    let end = until(&mut reader, "the end", |got| got.kind() == "session.idle").await;
    let kinds: Vec<&str> = end.iter().map(Got::kind).collect();
    assert_eq!(kinds, ["permission.replied", "session.error", "session.status", "session.idle"]);
    assert!(end.iter().all(|got| got.properties()["sessionID"] == SESSION));
    let message = end[1].properties()["error"]["data"]["message"].as_str().unwrap();
    assert!(message.starts_with("interrupted"), "{message}");
    let activity = hub.activity();
    assert_eq!((activity.busy.len(), activity.permissions), (0, 0));
    assert_eq!(hub.counts().interrupted, 1);
}

#[tokio::test]
async fn who_comes_back_after_a_daemon_died_is_told_what_it_missed() {
    let store = store();
    let mut fake = Fake::start(&store, 1).await;
    fake.upstream.missed_since = Some(repod_opencode::v1_18::told::now_millis());
    fake.emit(0);
    let (_name, hub) = hub(Some(fake.upstream.clone()), Limits::default());
    let is_idle = |got: &Got| got.kind() == "session.status";
    let mut first = hub.subscribe(Filter::Global, None);
    let seen = until(&mut first, "the state", is_idle).await;
    assert_eq!((numbers(&seen, false), numbers(&seen, true)), (vec![0], vec![0]));
    assert_eq!(seen.last().unwrap().properties()["status"]["type"], "idle");
    fake.send("of the moment", &json!({}));
    fake.emit(1);
    until(&mut first, "the next", |got| got.kind() == "sync").await;
    for filter in [Filter::Global, Filter::Directory(DIRECTORY.to_owned())] {
        let mut later = hub.subscribe(filter, None);
        let seen = until(&mut later, "the state", is_idle).await;
        assert_eq!(numbers(&seen, false), [0, 1]);
        assert!(seen.iter().all(|got| got.kind() != "of the moment"));
        fake.send("now", &json!({}));
        until(&mut later, "what is new", |got| got.kind() == "now").await;
    }
    // Usually nothing is told twice.
    let other = Fake::start(&store, 1).await;
    let (_name, hub) = super::hub(Some(other.upstream.clone()), Limits::default());
    let mut reader = hub.subscribe(Filter::Global, None);
    repod_testkit::wait_until("a stream", BOUND, async || hub.activity().known.then_some(())).await;
    other.send("now", &json!({}));
    assert_eq!(until(&mut reader, "what is new", |got| got.kind() == "now").await.len(), 2);
}

#[tokio::test]
async fn a_turn_that_ended_while_the_stream_was_broken_is_told_to_be_idle() {
    let store = store();
    let fake = Fake::start(&store, 1).await;
    let (_name, hub) = hub(Some(fake.upstream.clone()), Limits::default());
    store.lock().unwrap().busy.insert(SESSION.to_owned(), json!({ "type": "busy" }));
    let mut reader = hub.subscribe(Filter::Global, None);
    repod_testkit::wait_until("the first look", BOUND, async || {
        (hub.activity().busy == [SESSION]).then_some(())
    })
    .await;
    store.lock().unwrap().busy.clear();
    fake.cut();
    let end = until(&mut reader, "the end", |got| got.kind() == "session.idle").await;
    assert!(end.iter().all(|got| got.kind() != "session.error"));
    assert_eq!(hub.counts().interrupted, 0);
}

#[tokio::test]
async fn a_gap_that_cannot_be_closed_is_counted_and_the_stream_goes_on() {
    let store = store();
    let fake = Fake::start(&store, 1).await;
    let limits = Limits { gap: Duration::from_millis(50), ..Limits::default() };
    let (_name, hub) = hub(Some(fake.upstream.clone()), limits);
    let mut reader = hub.subscribe(Filter::Global, None);
    repod_testkit::wait_until("a stream", BOUND, async || hub.activity().known.then_some(())).await;
    store.lock().unwrap().is_mute = true;
    fake.cut();
    repod_testkit::wait_until("the loss", BOUND, async || (hub.counts().lost == 1).then_some(()))
        .await;
    fake.send("after", &json!({}));
    until(&mut reader, "what comes after", |got| got.kind() == "after").await;
}

#[tokio::test]
async fn a_prompt_that_was_quicker_than_the_stream_counts_as_busy() {
    let store = store();
    let fake = Fake::start(&store, 1).await;
    let (name, hub) = hub(Some(fake.upstream.clone()), Limits::default());
    hub.follow();
    repod_testkit::wait_until("a stream", BOUND, async || hub.activity().known.then_some(())).await;
    name.send_replace(None);
    drop(fake);
    let fake = Fake::start(&store, 2).await;
    fake.emit(1);
    store.lock().unwrap().busy.insert(SESSION.to_owned(), json!({ "type": "busy" }));
    name.send_replace(Some(fake.upstream.clone()));
    repod_testkit::wait_until("the turn", BOUND, async || {
        (hub.activity().busy == [SESSION]).then_some(())
    })
    .await;
}

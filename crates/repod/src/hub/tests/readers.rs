//! Readers: late ones, slow ones, those that come back, and many idle ones.

use super::fake::{DIRECTORY, Store};
use super::{BOUND, Fake, Filter, Hub, Limits, hub, next, until};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

async fn fake_and_hub(limits: Limits) -> (Fake, Hub) {
    let store: Arc<Mutex<Store>> = Arc::default();
    let fake = Fake::start(&store, 1).await;
    let (_name, hub) = hub(Some(fake.upstream.clone()), limits);
    hub.follow();
    repod_testkit::wait_until("a stream", BOUND, async || {
        (hub.counts().streams == 1).then_some(())
    })
    .await;
    (fake, hub)
}

#[tokio::test]
async fn nobody_is_asked_before_the_first_reader() {
    let store: Arc<Mutex<Store>> = Arc::default();
    let fake = Fake::start(&store, 1).await;
    let (_name, hub) = hub(Some(fake.upstream.clone()), Limits::default());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.lock().unwrap().opened, 0);
    assert!(!hub.activity().known);
    let mut reader = hub.subscribe(Filter::Global, None);
    let hello = next(&mut reader).await.unwrap();
    assert_eq!((hello.kind(), &hello.id), ("server.connected", &None));
    assert!(hello.data["payload"]["id"].as_str().unwrap().starts_with("evt_"));
    drop(reader);
    repod_testkit::wait_until("a stream", BOUND, async || hub.activity().known.then_some(())).await;
    fake.send("x", &json!({}));
    repod_testkit::wait_until("an event without readers", BOUND, async || {
        (hub.counts().events == 1 && hub.activity().readers == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_the_reader_that_stops_reading_is_cut() {
    let limits = Limits { ring_events: 100, ..Limits::default() };
    let (fake, hub) = fake_and_hub(limits).await;
    let mut slow = hub.subscribe(Filter::Global, None);
    let mut quick = hub.subscribe(Filter::Global, None);
    let mut elsewhere = hub.subscribe(Filter::Directory("/elsewhere".to_owned()), None);
    let signal = slow.take_cut_signal().unwrap();
    next(&mut elsewhere).await.unwrap();
    assert!(futures_util::FutureExt::now_or_never(next(&mut elsewhere)).is_none());
    for n in 0..300 {
        fake.send("n", &json!({ "n": n }));
        until(&mut quick, "the event", |got| got.properties()["n"] == n).await;
    }
    assert!(tokio::time::timeout(BOUND, signal.cut()).await.unwrap());
    assert_eq!(next(&mut slow).await.unwrap().kind(), "server.connected");
    let last = next(&mut slow).await.unwrap().comment.unwrap();
    assert!(last.contains("too far behind"), "{last}");
    assert_eq!(next(&mut slow).await, None);
    let activity = hub.activity();
    assert_eq!((hub.counts().cut, activity.readers), (1, 2));
    assert!(futures_util::FutureExt::now_or_never(next(&mut elsewhere)).is_none());
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was() {
    let limits = Limits { ring_events: 10, ..Limits::default() };
    let (fake, hub) = fake_and_hub(limits).await;
    let here = || Filter::Directory(DIRECTORY.to_owned());
    let mut reader = hub.subscribe(here(), None);
    let mut ids = Vec::new();
    for n in 0..20 {
        fake.send("n", &json!({ "n": n }));
        let came = until(&mut reader, "the event", |got| got.properties()["n"] == n).await;
        ids.push(came.last().unwrap().id.clone().unwrap());
    }
    for filter in [here(), Filter::Global] {
        let mut again = hub.subscribe(filter, Some(&ids[14]));
        let came = until(&mut again, "the last", |got| got.properties()["n"] == 19).await;
        let numbers: Vec<_> = came[1..].iter().map(|got| got.properties()["n"].clone()).collect();
        assert_eq!(numbers, [15, 16, 17, 18, 19]);
        assert_eq!(came[1].id.as_ref(), Some(&ids[15]));
    }
    let future = format!("{}9", ids[19]);
    for (id, reason) in [
        (ids[3].as_str(), "too old"),
        ("0-5", "not of this daemon"),
        ("", "not of this daemon"),
        (&future, "not of this daemon"),
    ] {
        let mut again = hub.subscribe(here(), Some(id));
        assert_eq!(next(&mut again).await.unwrap().kind(), "server.connected");
        let marker = next(&mut again).await.unwrap().comment.unwrap();
        assert!(marker.contains(reason) && marker.contains("lost"), "{marker}");
        assert!(futures_util::FutureExt::now_or_never(next(&mut again)).is_none());
    }
}

#[tokio::test]
async fn heartbeats_come_in_each_streams_shape_and_end_with_the_hub() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let (_fake, hub) = fake_and_hub(limits).await;
    for (filter, is_wrapped) in [(Filter::Global, true), (Filter::Directory("/x".into()), false)] {
        let mut reader = hub.subscribe(filter, None);
        let beat = until(&mut reader, "a beat", |got| got.kind() == "server.heartbeat").await;
        let beat = beat.last().unwrap();
        assert_eq!(beat.data["payload"].is_object(), is_wrapped);
        assert_eq!(beat.id, None);
    }
    let mut reader = hub.subscribe(Filter::Global, None);
    drop(hub);
    while next(&mut reader).await.is_some() {}
}

#[tokio::test]
async fn a_hub_at_rest_lets_go_of_all_and_goes_on_without_repeating() {
    let store: Arc<Mutex<Store>> = Arc::default();
    let fake = Fake::start(&store, 1).await;
    let heartbeat = Duration::from_millis(20);
    let ring_age = Duration::from_millis(500);
    let limits = Limits { ring_age, heartbeat, ..Limits::default() };
    let (name, hub) = hub(Some(fake.upstream.clone()), limits);
    let mut reader = hub.subscribe(Filter::Global, None);
    repod_testkit::wait_until("a stream", BOUND, async || hub.activity().known.then_some(())).await;
    fake.emit(1);
    until(&mut reader, "the event", |got| got.kind() == "sync").await;
    drop(fake);
    name.send_replace(None);
    repod_testkit::wait_until("rest", BOUND, async || {
        hub.shared.with(|core| core.track.sessions.is_empty()).then_some(())
    })
    .await;
    let mut elsewhere = hub.subscribe(Filter::Directory("/elsewhere".to_owned()), Some("x-1"));
    let fake = Fake::start(&store, 2).await;
    name.send_replace(Some(fake.upstream.clone()));
    repod_testkit::wait_until("a stream", BOUND, async || {
        (hub.counts().streams == 2).then_some(())
    })
    .await;
    fake.send("after", &json!({}));
    until(&mut reader, "what comes after", |got| got.kind() == "after").await;
    until(&mut elsewhere, "a beat", |got| got.kind() == "server.heartbeat").await;
    assert_eq!(hub.counts().cut, 0);
}

#[tokio::test]
#[ignore = "a measurement: run it alone, in a release build"]
async fn what_an_idle_reader_costs() {
    let (_fake, hub) = fake_and_hub(Limits::default()).await;
    let resident = || {
        let statm = fs_err::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let (before, mut readers) = (resident(), Vec::with_capacity(10_000));
    for _ in 0..10_000 {
        let mut reader = hub.subscribe(Filter::Directory("/some/directory".into()), None);
        next(&mut reader).await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(next(&mut reader)).is_none());
        readers.push(reader);
    }
    println!("{} bytes per idle reader", (resident() - before) / readers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it alone, in a release build"]
async fn how_long_an_event_takes_to_two_hundred_readers() {
    let (fake, hub) = fake_and_hub(Limits::default()).await;
    let (told, mut came) = tokio::sync::mpsc::channel(1024);
    for _ in 0..200 {
        let (mut reader, told) = (hub.subscribe(Filter::Global, None), told.clone());
        tokio::spawn(async move {
            while futures_util::StreamExt::next(&mut reader).await.is_some() {
                let _ = told.send(std::time::Instant::now()).await;
            }
        });
    }
    for _ in 0..200 {
        came.recv().await.unwrap();
    }
    let mut delays = Vec::new();
    for n in 0..500 {
        let sent = std::time::Instant::now();
        fake.send("n", &json!({ "n": n }));
        for _ in 0..200 {
            delays.push(came.recv().await.unwrap() - sent);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    delays.sort_unstable();
    println!("p50 {:?} p99 {:?}", delays[delays.len() / 2], delays[delays.len() * 99 / 100]);
}

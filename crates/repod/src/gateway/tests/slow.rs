//! Clients that take their time: none of them costs the others anything, or stays for ever.

use super::{BOUND, Limits, Stage, Talk, backend, echo};
use repod_testkit::wait_until;
use std::time::{Duration, Instant};

async fn stage(limits: Limits) -> Stage {
    let stage = Stage::within(Duration::from_secs(5), limits).await;
    let (port, _) = backend(echo).await;
    stage.fake.ready(port);
    stage
}

fn get(stage: &Stage) -> String {
    let basic = stage.basic();
    format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n\r\n")
}

#[tokio::test]
async fn a_thousand_slow_heads_keep_nobody_out() {
    let stage =
        stage(Limits { strangers: 64, newcomer: Duration::from_millis(20), ..Limits::default() })
            .await;
    let mut known = stage.connect().await;
    known.say(&get(&stage)).await;
    assert!(known.hear("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut slow = Vec::new();
    for _ in 0..1000 {
        let mut talk = stage.connect().await;
        let _ =
            tokio::io::AsyncWriteExt::write_all(&mut talk.stream, b"GET / HTTP/1.1\r\nx: ").await;
        slow.push(talk);
    }
    let started = Instant::now();
    for _ in 0..10 {
        let answer = stage.ask("GET /x", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    known.hear("\r\n\r\n").await;
    known.say(&get(&stage)).await;
    assert!(known.hear("\r\n\r\n").await.starts_with("HTTP/1.1 200"), "it kept its place");
    let ended = async || (stage.refused("crowded") >= 1000 - 64).then_some(());
    wait_until("the oldest to have made room", BOUND, ended).await;
    assert!(slow[0].rest().await.is_empty());
}

#[tokio::test]
async fn a_connection_that_shows_no_secret_is_not_kept() {
    let limits = Limits { introduction: Duration::from_millis(200), ..Limits::default() };
    let stage = stage(limits).await;
    let mut known = stage.connect().await;
    known.say(&get(&stage)).await;
    known.hear("\r\n\r\n").await;
    known.hear("\r\n\r\n").await;
    let (mut silent, mut wrong) = (stage.connect().await, stage.connect().await);
    wrong.say("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(wrong.rest().await.starts_with("HTTP/1.1 401"));
    assert!(silent.rest().await.is_empty());
    assert_eq!(stage.refused("too_slow"), 2);
    known.say(&get(&stage)).await;
    assert!(known.hear("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_gives_its_place_to_a_new_one() {
    let stage = stage(Limits { known: 2, ..Limits::default() }).await;
    let (mut first, mut second) = (stage.connect().await, stage.connect().await);
    for talk in [&mut second, &mut first] {
        talk.say(&get(&stage)).await;
        talk.hear("\r\n\r\n").await;
        talk.hear("\r\n\r\n").await;
    }
    assert!(stage.ask("GET /x", "").await.starts_with("HTTP/1.1 200"));
    assert!(second.rest().await.is_empty(), "the one not used for longest");
    first.say(&get(&stage)).await;
    assert!(first.hear("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn more_connections_at_work_than_may_be_is_said() {
    let stage = Stage::within(BOUND, Limits { known: 2, ..Limits::default() }).await;
    let (port, _) = backend(|mut talk: Talk| async move {
        talk.hear("never").await;
    })
    .await;
    stage.fake.ready(port);
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut talk = stage.connect().await;
        talk.say(&get(&stage)).await;
        busy.push(talk);
    }
    let at_work = async || (stage.fake.handle.clients().all() == 2).then_some(());
    wait_until("both at work", BOUND, at_work).await;
    let answer = stage.ask("GET /x", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("\"reason\":\"crowded\""), "{answer}");
    assert_eq!(stage.fake.handle.clients().all(), 2, "those at work go on");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let limits = Limits { body: Duration::from_millis(200), ..Limits::default() };
    let stage = Stage::within(BOUND, limits).await;
    let (told, mut seen) = tokio::sync::mpsc::channel(1);
    let (port, _) = backend(move |mut talk: Talk| {
        let told = told.clone();
        async move {
            talk.rest().await;
            let _ = told.send(()).await;
        }
    })
    .await;
    stage.fake.ready(port);
    let head = format!("host: localhost\r\nauthorization: Basic {}\r\n", stage.basic());
    for said in ["content-length: 9\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nha"] {
        let mut talk = stage.connect().await;
        talk.say(&format!("POST /x HTTP/1.1\r\n{head}{said}")).await;
        let answer = talk.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("\"reason\":\"too_slow\""), "{answer}");
        assert!(answer.contains("\"fault\":\"client\""), "{answer}");
        tokio::time::timeout(BOUND, seen.recv()).await.expect("the backend is told by the end");
        let gone = async || (stage.fake.handle.clients().all() == 0).then_some(());
        wait_until("no clients", BOUND, gone).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_and_its_backend_is_told() {
    let limits = Limits { answer: Duration::from_millis(300), ..Limits::default() };
    let stage = Stage::within(BOUND, limits).await;
    let (told, mut seen) = tokio::sync::mpsc::channel(1);
    let (port, _) = backend(move |mut talk: Talk| {
        let told = told.clone();
        async move {
            talk.hear("\r\n\r\n").await;
            talk.say("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
            let piece = [b'x'; 64 * 1024];
            let mut said = 0;
            while tokio::io::AsyncWriteExt::write_all(&mut talk.stream, &piece).await.is_ok() {
                said += piece.len();
            }
            let _ = told.send(said).await;
        }
    })
    .await;
    stage.fake.ready(port);
    let mut talk = stage.connect().await;
    talk.say(&get(&stage)).await;
    let said = tokio::time::timeout(BOUND, seen.recv()).await.expect("it is cut").unwrap();
    // What sockets hold on both sides, and little of the gateway's own.
    assert!(said < 64 * 1024 * 1024, "{said} bytes were taken for a client that takes none");
    let gone = async || (stage.fake.handle.clients().all() == 0).then_some(());
    wait_until("no clients", BOUND, gone).await;
}

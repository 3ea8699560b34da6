//! Backends that are late, die, or were never there; clients that leave.

use super::{BOUND, Stage, Talk, backend, echo};
use repod_testkit::wait_until;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_request_waits_for_a_backend_that_starts() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    let basic = stage.basic();
    client
        .say(&format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n\r\n"))
        .await;
    wait_until("the request", BOUND, async || {
        (stage.fake.handle.clients().all() == 1).then_some(())
    })
    .await;
    let (port, _) = backend(echo).await;
    stage.fake.ready(port);
    assert!(client.hear("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_is_not_held_for_ever() {
    let stage = Stage::holding(Duration::from_millis(50)).await;
    let answer = stage.ask("POST /x", "content-length: 0\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("\"fault\":\"backend\"") && answer.contains("50ms"), "{answer}");
    assert_eq!((stage.refused("hold_expired"), stage.fake.handle.clients().all()), (1, 0));
}

#[tokio::test]
async fn more_than_may_be_held_is_refused_at_once() {
    let stage = Stage::new().await;
    let started = Instant::now();
    let answer = stage.ask("POST /x", "content-length: 67108865\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("hold_full"), "{answer}");
    assert!(answer.contains("\"fault\":\"repod\""), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_get_that_got_no_answer_is_asked_once_more_and_nothing_else_is() {
    let (stage, connections) = Stage::before(|mut talk: Talk| async move {
        talk.hear("\r\n\r\n").await;
    })
    .await;
    let answer = stage.ask("POST /x", "content-length: 0\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("backend_broke"), "{answer}");
    assert!(answer.contains("\"fault\":\"backend\""), "{answer}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let answer = stage.ask("GET /x", "").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_get_whose_backend_died_is_answered_by_the_next_generation() {
    let died = Arc::new(tokio::sync::Notify::new());
    let dying = Arc::clone(&died);
    let (stage, _) = Stage::before(move |mut talk: Talk| {
        let dying = Arc::clone(&dying);
        async move {
            talk.hear("\r\n\r\n").await;
            dying.notified().await;
        }
    })
    .await;
    let (next, _) = backend(echo).await;
    let asking = stage.ask("GET /x", "");
    let meanwhile = async {
        wait_until("the request", BOUND, async || {
            (stage.fake.handle.clients().all() == 1).then_some(())
        })
        .await;
        stage.fake.down();
        died.notify_one();
        tokio::task::yield_now().await;
        stage.fake.ready(next);
    };
    let (answer, ()) = tokio::join!(asking, meanwhile);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_request_that_reached_nobody_is_sent_when_somebody_is_there() {
    let stage = Stage::new().await;
    let (nobody, _) = backend(echo).await;
    // A port that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    stage.fake.ready(closed);
    let asking = stage.ask("POST /x", "content-length: 0\r\n");
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.fake.ready(nobody);
    };
    let (answer, ()) = tokio::join!(asking, later);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_connection_the_backend_closed_while_idle_costs_no_request() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let (stage, connections) = Stage::before(move |mut talk: Talk| {
        let count = Arc::clone(&count);
        async move {
            talk.hear("\r\n\r\n").await;
            count.fetch_add(1, Ordering::SeqCst);
            talk.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    for _ in 0..5 {
        let answer = stage.ask("POST /x", "content-length: 0\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((served.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (5, 5));
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_at_the_client_too() {
    let (stage, _) = Stage::before(|mut talk: Talk| async move {
        talk.hear("\r\n\r\n").await;
        talk.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    })
    .await;
    let answer = stage.ask("GET /x", "").await;
    assert!(answer.contains("half") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_by_the_backend() {
    let (told, mut seen) = tokio::sync::mpsc::channel(4);
    let (stage, _) = Stage::before(move |mut talk: Talk| {
        let told = told.clone();
        async move {
            let head = talk.hear("\r\n\r\n").await;
            if head.starts_with("GET /stream") {
                talk.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
            }
            let _ = told.send("asked").await;
            // Ends when the gateway closes the connection.
            talk.hear("never").await;
            let _ = told.send("left").await;
        }
    })
    .await;
    for path in ["/stream", "/silent"] {
        let mut client = stage.connect().await;
        let basic = stage.basic();
        let head = format!("host: localhost\r\nauthorization: Basic {basic}\r\n\r\n");
        client.say(&format!("GET {path} HTTP/1.1\r\n{head}")).await;
        let mut next = async || tokio::time::timeout(BOUND, seen.recv()).await.unwrap();
        assert_eq!(next().await, Some("asked"));
        drop(client);
        assert_eq!(next().await, Some("left"), "{path}");
    }
    wait_until("no clients", BOUND, async || {
        (stage.fake.handle.clients().all() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_said_and_a_free_one_found() {
    let stage = Stage::new().await;
    let door = super::open(Some(stage.port), super::Patience::new()).await.unwrap();
    assert_ne!(door.port, stage.port);
    let warning = door.warning.unwrap();
    assert!(warning.contains(&stage.port.to_string()), "{warning}");
    assert!(warning.contains(&door.port.to_string()), "{warning}");
}

//! What gets through, and how.

use super::{BOUND, Stage, Talk, backend, echo};
use repod_testkit::wait_until;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn the_backend_gets_its_own_password_and_never_the_client_s() {
    let (stage, _) = Stage::before(echo).await;
    let seen = stage.ask("GET /session?a=1&auth_token=x", "x-mine: 1\r\nte: trailers\r\n").await;
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    assert!(seen.contains("GET /session?a=1 HTTP/1.1"), "{seen}");
    assert!(seen.contains("authorization: Basic b3BlbmNvZGU6b3du"), "{seen}");
    assert!(seen.contains("x-mine: 1") && !seen.contains("trailers"), "{seen}");
    assert!(!seen.contains(&stage.basic()), "{seen}");
    let seen = stage.ask_as(&format!("GET /~{}/session?directory=/x", stage.token()), "").await;
    assert!(seen.contains("GET /session?directory=/x HTTP/1.1"), "{seen}");
    let seen = stage.ask_as(&format!("GET /x?auth_token={}", stage.basic()), "").await;
    assert!(seen.contains("GET /x HTTP/1.1"), "{seen}");
}

#[tokio::test]
async fn a_request_has_one_name_for_the_client_and_the_backend() {
    let (stage, _) = Stage::before(echo).await;
    let told = |text: &str| {
        let name = |line: &str| line.strip_prefix("x-request-id: ").map(str::to_owned);
        text.lines().filter_map(name).collect::<Vec<_>>()
    };
    // The backend answers with what it was asked.
    let seen = stage.ask("GET /x", "x-request-id: mine-7\r\n").await;
    assert_eq!(told(&seen), ["mine-7", "mine-7"], "{seen}");
    for wrong in ["", "x-request-id: a b\r\n", "x-request-id: a\r\nx-request-id: b\r\n"] {
        let seen = stage.ask("GET /x", wrong).await;
        let [client, backend] = &told(&seen)[..] else { panic!("{seen}") };
        assert!(client == backend && client.starts_with("req-"), "{seen}");
    }
    let refused = stage.ask_as("GET /x", "x-request-id: mine-8\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert_eq!(told(&refused), ["mine-8"]);
    assert!(refused.contains("\"request_id\":\"mine-8\""), "{refused}");
}

#[tokio::test]
async fn connections_are_reused_within_a_generation_and_not_beyond() {
    let (stage, connections) = Stage::before(echo).await;
    let mut client = stage.connect().await;
    let get = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {}\r\n\r\n",
        stage.basic()
    );
    for _ in 0..20 {
        client.say(&get).await;
        client.hear("\r\n\r\n").await;
        client.hear("\r\n\r\n").await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // Sent without waiting for the answers: they come in order.
    client.say(&get.repeat(3)).await;
    for _ in 0..6 {
        assert!(!client.hear("\r\n\r\n").await.is_empty());
    }
    let (port, second) = backend(echo).await;
    stage.fake.ready(port);
    client.say(&get).await;
    client.hear("\r\n\r\n").await;
    assert!(client.hear("\r\n\r\n").await.contains(&format!("127.0.0.1:{port}")));
    assert_eq!(second.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn bodies_stream_both_ways_without_being_collected() {
    let (stage, _) = Stage::before(|mut talk: Talk| async move {
        talk.hear("one").await;
        talk.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        talk.hear("two").await;
        talk.say("6\r\nsecond\r\n0\r\n\r\n").await;
        talk.hear("never").await;
    })
    .await;
    let mut client = stage.connect().await;
    let head = format!("authorization: Basic {}\r\ntransfer-encoding: chunked", stage.basic());
    client.say(&format!("POST /x HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n3\r\none\r\n")).await;
    client.hear("first").await;
    assert_eq!(stage.fake.handle.clients().all(), 1);
    client.say("3\r\ntwo\r\n0\r\n\r\n").await;
    client.hear("second").await;
    client.hear("0\r\n\r\n").await;
    wait_until("the client to be gone", BOUND, async || {
        (stage.fake.handle.clients().all() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_has_no_body_and_expect_is_answered_when_the_body_is_wanted() {
    let (stage, _) = Stage::before(|mut talk: Talk| async move {
        loop {
            let head = talk.hear("\r\n\r\n").await;
            assert!(!head.contains("expect"), "{head}");
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
            match head.split(' ').next() {
                Some("POST") => {
                    talk.hear("body").await;
                    talk.say(&format!("{answer}done")).await;
                }
                Some("HEAD") => talk.say(answer).await,
                _ => return,
            }
        }
    })
    .await;
    let answer = stage.ask("HEAD /x", "").await;
    assert!(answer.contains("content-length: 4") && answer.ends_with("\r\n\r\n"), "{answer}");
    let mut client = stage.connect().await;
    let head = format!("authorization: Basic {}\r\ncontent-length: 4", stage.basic());
    client
        .say(&format!(
            "POST /x HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n{head}\r\n\r\n"
        ))
        .await;
    client.hear("100 Continue").await;
    client.say("body").await;
    client.hear("done").await;
}

#[tokio::test]
async fn a_websocket_is_joined_and_ends_with_its_client() {
    let (stage, _) = Stage::before(|mut talk: Talk| async move {
        let head = talk.hear("\r\n\r\n").await;
        assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key"), "{head}");
        talk.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhi").await;
        talk.hear("ping").await;
        talk.say("pong").await;
        // Does not close, as OpenCode sometimes doesn't: the gateway doesn't wait for it for ever.
        talk.hear("never").await;
    })
    .await;
    let mut client = stage.connect().await;
    let head = format!(
        "GET /pty/1/connect?auth_token={} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: k\r\n\r\n",
        stage.basic()
    );
    client.say(&head).await;
    let answer = client.hear("\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.contains("sec-websocket-accept"),
        "{answer}"
    );
    client.hear("hi").await;
    client.say("ping").await;
    client.hear("pong").await;
    assert_eq!(stage.fake.handle.clients().all(), 1);
    drop(client);
    wait_until("the end of it", BOUND, async || {
        (stage.fake.handle.clients().all() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_web_page_that_may_can_read_the_answer() {
    let (stage, _) = Stage::before(|mut talk: Talk| async move {
        let head = talk.hear("\r\n\r\n").await;
        assert!(!head.contains("origin"), "{head}");
        let grant = "access-control-allow-origin: https://opencode.example\r\n";
        talk.say(&format!("HTTP/1.1 200 OK\r\n{grant}content-length: 0\r\n\r\n")).await;
        talk.hear("never").await;
    })
    .await;
    let answer = stage.ask("GET /x", "origin: https://app.example\r\n").await;
    assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");
    assert!(!answer.contains("opencode.example"), "{answer}");
    let asked = "origin: https://app.example\r\naccess-control-request-method: PUT\r\n";
    let answer = stage.ask_as("OPTIONS /x", asked).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

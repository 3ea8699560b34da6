//! What is refused before the backend hears of it.

use super::{Stage, echo, lasting, open_three, wait_for_clients};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn strangers_are_refused_counted_and_never_reach_the_backend() {
    let (stage, connections) = Stage::before(echo).await;
    let other = Stage::new().await;
    let basic = format!("authorization: Basic {}\r\n", stage.basic());
    let cases = [
        ("GET /x", String::new(), "401", "no_credentials"),
        (
            "GET /x",
            format!("authorization: Basic {}\r\n", other.basic()),
            "401",
            "wrong_credentials",
        ),
        ("GET /x", "authorization: Bearer x\r\n".into(), "401", "wrong_credentials"),
        ("GET /~0/x", basic.clone(), "401", "wrong_credentials"),
        ("GET /x?auth_token=b3BlbmNvZGU6b3du", String::new(), "401", "wrong_credentials"),
        ("GET /x", format!("{basic}origin: https://evil.example\r\n"), "403", "foreign_origin"),
        ("GET /x", format!("{basic}origin: null\r\n"), "403", "foreign_origin"),
        ("GET http://evil.example/x", basic.clone(), "403", "foreign_host"),
        ("POST /api/session", basic.clone(), "403", "closed_route"),
        ("DELETE /~x/api/session", String::new(), "401", "wrong_credentials"),
        ("POST /global/dispose", basic.clone(), "403", "closed_route"),
        ("CONNECT evil.example:443", basic.clone(), "400", "malformed"),
    ];
    for (line, head, status, reason) in cases {
        let before = stage.refused(reason);
        let answer = stage.ask_as(line, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
        assert!(answer.contains(&format!("\"reason\":\"{reason}\"")), "{line}: {answer}");
        assert!(answer.contains("\"fault\":\"client\""), "{line}: {answer}");
        assert_eq!(answer.contains("www-authenticate: Basic"), status == "401", "{line}");
        assert_eq!(stage.refused(reason), before + 1, "{line}");
    }
    let token = other.token();
    let answer = stage.ask_as(&format!("GET /~{token}/x"), "").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "another repo's token: {answer}");
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    assert!(stage.ask("GET /api/session", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_foreign_host_is_refused() {
    let (stage, connections) = Stage::before(echo).await;
    for host in ["evil.example", "localhost.evil.example:80"] {
        let mut talk = stage.connect().await;
        let basic = stage.basic();
        talk.say(&format!(
            "GET / HTTP/1.1\r\nhost: {host}\r\nauthorization: Basic {basic}\r\n\r\n"
        ))
        .await;
        assert!(talk.hear("\r\n\r\n").await.starts_with("HTTP/1.1 403"));
    }
    assert_eq!((stage.refused("foreign_host"), connections.load(Ordering::SeqCst)), (2, 0));
}

#[tokio::test]
async fn old_credentials_are_worth_nothing_after_a_rotation() {
    let (stage, _) = Stage::before(echo).await;
    let (basic, token) = (stage.basic(), stage.token());
    stage.fake.change(|record| record.rotate().unwrap());
    let old = format!("authorization: Basic {basic}\r\n");
    assert!(stage.ask_as("GET /", &old).await.starts_with("HTTP/1.1 401"));
    assert!(stage.ask_as(&format!("GET /~{token}/"), "").await.starts_with("HTTP/1.1 401"));
    assert!(stage.ask("GET /", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_was_opened_with_credentials_that_are_replaced_ends_with_them() {
    // A stream that goes on, a WebSocket that is open, a request without an answer yet.
    let (stage, _) = Stage::before(lasting).await;
    let basic = format!("authorization: Basic {}", stage.basic());
    let talks = open_three(&stage, "", &basic).await;
    let mut idle = stage.connect().await;
    idle.say("GET /~0/x HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(idle.hear("\r\n\r\n").await.starts_with("HTTP/1.1 401"));
    // What else changes ends nothing.
    stage.fake.change(|record| record.warnings.push("x".into()));
    assert_eq!(stage.fake.handle.clients().all(), 3);
    stage.fake.change(|record| record.rotate().unwrap());
    for mut talk in talks {
        talk.rest().await;
    }
    idle.rest().await;
    wait_for_clients(&stage, 0).await;
}

#[tokio::test]
async fn what_two_parsers_could_read_differently_is_refused() {
    let (stage, connections) = Stage::before(echo).await;
    let cases = [
        "content-length: 4\r\ncontent-length: 5\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "bad header\r\n".to_owned(),
        format!("x: {}\r\n", "y".repeat(80 * 1024)),
    ];
    for head in cases {
        let mut talk = stage.connect().await;
        talk.say(&format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {}\r\n{head}\r\n0\r\n\r\n",
            stage.basic()
        ))
        .await;
        let answer = talk.hear("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{}: {answer}", &head[..30.min(head.len())]);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_two_lengths_one_is_passed_on_and_the_connection_ends() {
    let (stage, _) = Stage::before(echo).await;
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let mut talk = stage.connect().await;
        let basic = stage.basic();
        // What follows the last chunk would be a request of its own to whoever believes the length.
        talk.say(&format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n{head}\r\n\
             0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
        ))
        .await;
        let answer = talk.rest().await;
        assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
        assert!(!answer.contains("content-length: 4"), "{answer}");
        assert!(!answer.contains("smuggled"), "{answer}");
    }
}

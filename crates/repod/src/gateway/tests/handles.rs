//! What a program opened by its handle's URL.

use super::{Stage, lasting, open_three, wait_for_clients};

#[tokio::test]
async fn what_a_program_opened_ends_with_its_handle_and_nobody_else_s_does() {
    let (stage, _) = Stage::before(lasting).await;
    let by = |handle: &str| format!("/~{}~~{handle}", stage.token());
    let mut owner = stage.connect().await;
    owner.say(&format!("GET {}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n", by("!0a"))).await;
    owner.hear("open").await;
    let ours = open_three(&stage, &by("0a"), "x: y").await;
    let _theirs = open_three(&stage, &by("0b"), "x: y").await;
    let _plain = open_three(&stage, &format!("/~{}", stage.token()), "x: y").await;
    wait_for_clients(&stage, 10).await;

    drop(owner);
    // A chunked body that doesn't end is no whole one; a request in flight hears why.
    let [mut stream, mut socket, mut waiting] = ours;
    assert_eq!((stream.rest().await.trim(), socket.rest().await.as_str()), ("", ""));
    let answer = waiting.hear("handle_closed").await;
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    wait_for_clients(&stage, 6).await;
    let later = stage.ask_as(&format!("GET {}/x", by("0a")), "").await;
    assert!(later.starts_with("HTTP/1.1 409") && later.contains("\"fault\":\"client\""), "{later}");
}

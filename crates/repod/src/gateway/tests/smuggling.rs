//! Requests that two parsers could read differently, each followed at once by another one: what the
//! client is told, and that the backend gets exactly the requests that were meant.

use super::Limits;
use super::recording::Recorder;

/// Stands for a good `Host` and the endpoint's password.
const KNOWN: &str = "{known}";
/// What follows every case on its connection, unless that was ended.
const NEXT: &str = "GET /next HTTP/1.1\r\nconnection: close\r\n{known}\r\n";

/// What is sent, the status of each answer, and the requests that reach the backend.
type Case = (&'static str, &'static str, &'static str);

async fn check(cases: &[Case]) {
    let (stage, recorder) = Recorder::stage(Limits::default()).await;
    let known = format!("host: localhost\r\nauthorization: Basic {}\r\n", stage.basic());
    let mut wrong = Vec::new();
    for (raw, answers, seen) in cases {
        let said = format!("{raw}{NEXT}").replace(KNOWN, &known);
        let answered = stage.statuses(said.as_bytes()).await;
        let reached = recorder.take();
        if (answered.as_str(), reached.as_str()) != (*answers, *seen) {
            wrong.push(format!(
                "{raw:?}\n  answered {answered:?}, not {answers:?}; reached {reached:?}, not {seen:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let left = stage.fake.handle.clients().all();
    assert_eq!(left, 0, "clients are counted to the end of their requests");
}

#[tokio::test]
async fn a_body_has_one_length() {
    check(&[
        (
            "POST /a HTTP/1.1\r\n{known}content-length: 2\r\n\r\nhi",
            "200 200",
            "POST /a hi | GET /next",
        ),
        // Said twice, the same: one is passed on.
        (
            "POST /a HTTP/1.1\r\n{known}content-length: 2\r\ncontent-length: 2\r\n\r\nhi",
            "200 200",
            "POST /a hi | GET /next",
        ),
        ("POST /a HTTP/1.1\r\n{known}content-length: 2\r\ncontent-length: 3\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 2, 2\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: -2\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: +2\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 0x2\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 2_0\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 2 0\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 1e1\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length:\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 99999999999999999999\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length: 18446744073709551615\r\n\r\nhi", "431", ""),
        ("POST /a HTTP/1.1\r\n{known}content-length : 2\r\n\r\nhi", "400", ""),
        ("POST /a HTTP/1.1\r\n{known} content-length: 2\r\n\r\nhi", "400", ""),
        // A name that only looks like it.
        ("POST /a HTTP/1.1\r\n{known}content_length: 2\r\n\r\n", "200 200", "POST /a | GET /next"),
        // None: it has no body, and what follows is a request.
        ("POST /a HTTP/1.1\r\n{known}\r\n", "200 200", "POST /a | GET /next"),
        (
            "GET /a HTTP/1.1\r\n{known}content-length: 2\r\n\r\nhi",
            "200 200",
            "GET /a hi | GET /next",
        ),
        (
            "DELETE /a HTTP/1.1\r\n{known}content-length: 2\r\n\r\nhi",
            "200 200",
            "DELETE /a hi | GET /next",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_length_and_chunks_together_end_the_connection() {
    let two = [
        // CL.TE: who believes the length takes the chunks' end for a body and the rest for a request.
        (
            "POST /a HTTP/1.1\r\n{known}content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG",
            "200",
            "POST /a",
        ),
        // TE.CL: who believes the chunks reads a request out of what the length calls a body.
        (
            "POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n20\r\nGET /smuggled HTTP/1.1\r\nx: y\r\n\r\n\r\n0\r\n\r\n",
            "200",
            "POST /a GET /smuggled HTTP/1.1\r\nx: y\r\n\r\n",
        ),
        (
            "POST /a HTTP/1.1\r\n{known}content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "200",
            "POST /a hi",
        ),
    ];
    check(&two).await;
}

#[tokio::test]
async fn chunked_is_the_one_coding() {
    check(&[
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 200", "POST /a hi | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}Transfer-Encoding:  CHUNKED \r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 200", "POST /a hi | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding:\tchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 200", "POST /a hi | GET /next"),
        ("GET /a HTTP/1.1\r\n{known}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 200", "GET /a hi | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: identity\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: gzip\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked, identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: xchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: \"chunked\"\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked;q=1\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding:\u{b}chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding : chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding:\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        // Codings the gateway takes off would be lost on the way: refused, body and all.
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: ,chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        ("POST /a HTTP/1.0\r\n{known}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
        // A name that only looks like it.
        ("POST /a HTTP/1.1\r\n{known}transfer_encoding: chunked\r\n\r\n", "200 200", "POST /a | GET /next"),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_chunk_ends_it_and_says_whose_fault_it_was() {
    let bad = [
        "-2\r\nhi\r\n0\r\n\r\n",
        "+2\r\nhi\r\n0\r\n\r\n",
        "0x2\r\nhi\r\n0\r\n\r\n",
        "2_\r\nhi\r\n0\r\n\r\n",
        "g\r\nhi\r\n0\r\n\r\n",
        "\r\nhi\r\n0\r\n\r\n",
        ";x=y\r\nhi\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhi\r\n0\r\n\r\n",
        "10000000000000002\r\nhi\r\n0\r\n\r\n",
        // More in it than it says.
        "2\r\nhiho\r\n0\r\n\r\n",
        "2\r\nhi0\r\n\r\n",
        "2\nhi\r\n0\r\n\r\n",
        "2\r\nhi\n0\r\n\r\n",
        "2\rhi\r\n0\r\n\r\n",
        "2;a\nb\r\nhi\r\n0\r\n\r\n",
        "2;a\rb\r\nhi\r\n0\r\n\r\n",
    ];
    let (stage, recorder) = Recorder::stage(Limits::default()).await;
    let head = format!("host: localhost\r\nauthorization: Basic {}\r\n", stage.basic());
    for chunks in bad {
        let before = stage.refused("malformed");
        let said = format!(
            "POST /a HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n{chunks}\
             GET /next HTTP/1.1\r\n{head}\r\n"
        );
        assert_eq!(stage.statuses(said.as_bytes()).await, "400", "{chunks:?}");
        assert_eq!(recorder.take(), "", "{chunks:?}");
        assert_eq!(stage.refused("malformed"), before + 1, "{chunks:?}");
    }
    check(&[
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked\r\n\r\n02;a=b;c=\"d\"\r\nhi\r\n000\r\n\r\n", "200 200", "POST /a hi | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}transfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", "200 200", "POST /a 0123456789 | GET /next"),
        // Trailers are read and left out, whatever they would like to be.
        ("POST /a HTTP/1.1\r\n{known}trailer: x\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\ncontent-length: 9\r\nhost: evil\r\nauthorization: x\r\ntransfer-encoding: chunked\r\n\r\n", "200 200", "POST /a hi | GET /next"),
    ])
    .await;
}

#[tokio::test]
async fn a_head_has_one_reading() {
    check(&[
        ("GET /a HTTP/1.1\r\n{known}x: a\r\n b\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x: a\0b\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x\0: a\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x: a\rb\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x: a\r\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x: a\u{7}b\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x: a\u{7f}b\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}: a\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}x y: a\r\n\r\n", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}no header\r\n\r\n", "400", ""),
        (" GET /a HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("G@T /a HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET: /a HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET\0 /a HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET  /a HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET /a  HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET\t/a\tHTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET /a b HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET /a\0b HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET /a HTTP/1.2\r\n{known}\r\n", "400", ""),
        ("GET /a HTTP/2.0\r\n{known}\r\n", "400", ""),
        ("GET /a HTTP/0.9\r\n{known}\r\n", "400", ""),
        ("GET /a http/1.1\r\n{known}\r\n", "400", ""),
        ("GET /a HTTP/1.11\r\n{known}\r\n", "400", ""),
        ("GET /a\r\n{known}\r\n", "400", ""),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", ""),
        ("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /a HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}", "400", ""),
        // Line ends without CR are read as line ends, and passed on as whole ones.
        ("GET /a HTTP/1.1\n{known}x: 1\n\n", "200 200", "GET /a | GET /next"),
        ("\r\nGET /a HTTP/1.1\r\n{known}\r\n", "200 200", "GET /a | GET /next"),
        ("M-SEARCH /a HTTP/1.1\r\n{known}\r\n", "200 200", "M-SEARCH /a | GET /next"),
        ("get /a HTTP/1.1\r\n{known}\r\n", "200 200", "get /a | GET /next"),
    ])
    .await;
}

#[tokio::test]
async fn a_target_is_a_path_of_this_machine() {
    check(&[
        ("GET http://localhost/a?b HTTP/1.1\r\n{known}\r\n", "200 200", "GET /a?b | GET /next"),
        ("GET http://evil.example/a HTTP/1.1\r\n{known}\r\n", "403 200", "GET /next"),
        ("GET http://localhost@evil.example/a HTTP/1.1\r\n{known}\r\n", "403 200", "GET /next"),
        ("GET http://evil.example@localhost/a HTTP/1.1\r\n{known}\r\n", "403 200", "GET /next"),
        ("GET evil.example:80 HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("CONNECT localhost:80 HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("OPTIONS * HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET * HTTP/1.1\r\n{known}\r\n", "400", ""),
        ("GET a/b HTTP/1.1\r\n{known}\r\n", "400", ""),
        (
            "GET //evil.example/a HTTP/1.1\r\n{known}\r\n",
            "200 200",
            "GET //evil.example/a | GET /next",
        ),
        ("GET /a#b HTTP/1.1\r\n{known}\r\n", "200 200", "GET /a | GET /next"),
        ("GET /a%0d%0aX:%20y HTTP/1.1\r\n{known}\r\n", "200 200", "GET /a%0d%0aX:%20y | GET /next"),
        ("GET /a HTTP/1.1\r\n{known}host: localhost\r\n\r\n", "403 200", "GET /next"),
        ("GET /a HTTP/1.1\r\n{known}host: evil.example\r\n\r\n", "403 200", "GET /next"),
        ("GET /a HTTP/1.1\r\n\r\n", "403 200", "GET /next"),
        ("GET /a HTTP/1.0\r\n\r\n", "403", ""),
        ("GET /a HTTP/1.0\r\n{known}\r\n", "200", "GET /a"),
        (
            "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n{known}\r\n",
            "200 200",
            "GET /a | GET /next",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_belongs_to_a_connection_takes_nothing_else_away() {
    check(&[
        ("GET /a HTTP/1.1\r\n{known}connection: keep-alive, authorization, host, content-length\r\n\r\n", "200 200", "GET /a | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}connection: content-length\r\ncontent-length: 2\r\n\r\nhi", "200 200", "POST /a hi | GET /next"),
        ("GET /a HTTP/1.1\r\n{known}connection: content-length\r\ncontent-length: 2\r\n\r\nhi", "200 200", "GET /a hi | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 200", "POST /a hi | GET /next"),
        ("GET /a HTTP/1.1\r\n{known}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n", "200 200", "GET /a | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}expect: 200-ok\r\ncontent-length: 2\r\n\r\nhi", "200 200", "POST /a hi | GET /next"),
        ("POST /a HTTP/1.1\r\n{known}expect: 100-continue\r\ncontent-length: 2\r\n\r\nhi", "100 200 200", "POST /a hi | GET /next"),
        // A WebSocket has no body: to the backend its length would be that of the next request.
        ("GET /a HTTP/1.1\r\n{known}connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nhi", "400", ""),
        ("GET /a HTTP/1.1\r\n{known}connection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "400", ""),
    ])
    .await;
}

#[tokio::test]
async fn of_pipelined_requests_each_is_judged_alone() {
    check(&[
        // The first is refused: its body is not the next request, nor the next request its body.
        ("POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nx: y\r\n\r\n123", "401 200", "GET /next"),
        ("POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "401 200", "GET /next"),
        ("POST /api/session HTTP/1.1\r\n{known}content-length: 2\r\n\r\nhi", "403 200", "GET /next"),
        // The first is let in: that opens nothing for the second.
        ("GET /a HTTP/1.1\r\n{known}\r\nGET /b HTTP/1.1\r\nhost: localhost\r\n\r\n", "200 401 200", "GET /a | GET /next"),
        ("GET /a HTTP/1.1\r\n{known}\r\nGET /b HTTP/1.1\r\n{known}\r\n", "200 200 200", "GET /a | GET /b | GET /next"),
        ("GET /a HTTP/1.1\r\n{known}connection: close\r\n\r\nGET /b HTTP/1.1\r\n{known}\r\n", "200", "GET /a"),
        ("GET /a HTTP/1.1\r\n{known}\r\nGET /b HTTP/1.1\r\nbad header\r\n\r\n", "200 400", "GET /a"),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_said_to_be() {
    let (stage, recorder) = Recorder::stage(Limits::default()).await;
    let known = format!("host: localhost\r\nauthorization: Basic {}\r\n", stage.basic());
    let long = "y".repeat(80 * 1024);
    for (raw, status) in [
        (format!("GET /a HTTP/1.1\r\n{known}x: {long}\r\n\r\n"), "431"),
        (format!("GET /a HTTP/1.1\r\n{known}{long}: x\r\n\r\n"), "431"),
        (format!("GET /a HTTP/1.1\r\n{known}{}\r\n", "x: y\r\n".repeat(200)), "431"),
        (format!("GET /{long} HTTP/1.1\r\n{known}\r\n"), "431"),
        // For ever, without a line end.
        ("G".repeat(1024 * 1024), "431"),
        (format!("GET /a HTTP/1.1\r\nx: {}", "y".repeat(1024 * 1024)), "431"),
    ] {
        let before = stage.refused("malformed");
        assert_eq!(stage.statuses(raw.as_bytes()).await, status, "{:?}", &raw[..40]);
        assert_eq!(stage.refused("malformed"), before + 1, "{:?}", &raw[..40]);
    }
    assert_eq!(recorder.take(), "");
    let ok = format!("GET /{} HTTP/1.1\r\nconnection: close\r\n{known}\r\n", &long[..8000]);
    assert_eq!(stage.statuses(ok.as_bytes()).await, "200");
}

//! One open event stream, read and forgotten: the sign that somebody still wants a backend awake.
//!
//! Unlike [`BackendClient`](crate::BackendClient) it goes through an endpoint, whose URL carries
//! the credential in its path.

use crate::ProbeError;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the answer may take. An endpoint may first have to start its backend.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// OpenCode sends a heartbeat every 10 s; silence for this long is a dead connection.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Holds `<base>/global/event` open and calls `opened` when the answer has begun. Returns when the
/// stream has ended; holding on is the caller's business.
///
/// # Errors
/// When there is no stream, or when it breaks.
pub async fn hold_events(
    base: &str,
    user_agent: &str,
    opened: impl FnOnce(),
) -> Result<(), ProbeError> {
    let uri: Uri = format!("{}/global/event", base.trim_end_matches('/')).parse().map_err(
        |error: hyper::http::uri::InvalidUri| {
            ProbeError::Broken(format!("the URL can't be used: {error}"))
        },
    )?;
    let host = uri.host().unwrap_or("127.0.0.1");
    let port = uri.port_u16().unwrap_or(80);
    let stream = timeout(OPEN_LIMIT, TcpStream::connect((host, port)))
        .await
        .map_err(|_| ProbeError::TimedOut(OPEN_LIMIT))?
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ProbeError::Refused,
            _ => ProbeError::Broken(error.to_string()),
        })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(uri.path())
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::ACCEPT, "text/event-stream")
        .header(header::USER_AGENT, user_agent)
        .body(Empty::<Bytes>::new())
        .map_err(|error| ProbeError::Broken(error.to_string()))?;
    let mut held = pin!(async {
        let response = timeout(OPEN_LIMIT, sender.send_request(request))
            .await
            .map_err(|_| ProbeError::TimedOut(OPEN_LIMIT))?
            .map_err(broken)?;
        match response.status() {
            StatusCode::OK => opened(),
            StatusCode::UNAUTHORIZED => return Err(ProbeError::Unauthorized),
            status => return Err(ProbeError::NotOpencode(format!("status {status}"))),
        }
        let mut body = response.into_body();
        loop {
            match timeout(SILENCE_LIMIT, body.frame()).await {
                Err(_) => return Err(ProbeError::TimedOut(SILENCE_LIMIT)),
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(broken(error)),
                Ok(Some(Ok(_))) => {}
            }
        }
    });
    // Driven here rather than in a task: when the caller leaves, the connection goes with it.
    let mut connection = pin!(connection);
    tokio::select! {
        held = &mut held => held,
        _ = &mut connection => held.await,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn broken(error: hyper::Error) -> ProbeError {
    ProbeError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/~token", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (url, served)
    }

    #[tokio::test]
    async fn the_prefix_is_kept_and_the_end_of_the_stream_is_no_error() {
        let (url, served) = answering("HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n").await;
        let opened = Cell::new(false);
        hold_events(&url, "me/1", || opened.set(true)).await.unwrap();
        assert!(opened.get());
        let request = served.await.unwrap();
        assert!(request.starts_with("GET /~token/global/event HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("user-agent: me/1\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_is_not_an_open_stream() {
        let (url, served) =
            answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
        let error = hold_events(&url, "me/1", || panic!("not open")).await.unwrap_err();
        assert!(matches!(error, ProbeError::Unauthorized), "{error}");
        drop(served);
        let error = hold_events("http://127.0.0.1:1", "me/1", || {}).await.unwrap_err();
        assert!(matches!(error, ProbeError::Refused), "{error}");
    }
}

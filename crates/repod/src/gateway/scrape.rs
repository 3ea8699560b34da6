//! The metrics on a loopback port, for scrapers that can't read a Unix socket. Whoever knows the token may
//! read them: a scraper is mostly another user of the machine, so who owns the connection is not asked.
//!
//! One request a connection, and one limit for all of it.

use super::authorise::asks_for_loopback;
use super::credential;
use super::guests::{Guest, Guests};
use super::listener::{HEAD_MAX, Limits, Patience, listen_patiently};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use repod_proto::{ApiError, ErrorBody, ErrorCode};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// How long a scraper may take, from its connection to the end of its answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two tries at a port that somebody else has.
const RETRY: Duration = Duration::from_secs(5);
const PATH: &str = "/metrics";

/// What is served, and to whom.
pub(crate) struct Scrape<F> {
    pub(crate) token: String,
    pub(crate) content_type: &'static str,
    /// Writes the text.
    pub(crate) text: F,
}

impl<F, T> Scrape<F>
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, ApiError>> + Send + 'static,
{
    /// Serves for as long as the daemon lives. A port that somebody else has is waited for.
    pub(crate) async fn serve(self, port: u16) {
        let listener = listen(port).await;
        tracing::info!(port, "metrics are served");
        self.serve_on(listener, Limits::default(), LIMIT).await;
    }

    async fn serve_on(self, listener: TcpListener, limits: Limits, limit: Duration) {
        let (scrape, guests) = (Arc::new(self), Guests::new(limits));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let guest = guests.admit().await;
                    tokio::spawn(connection(stream, guest, Arc::clone(&scrape), limit));
                }
                Err(error) => {
                    // Out of descriptors, most likely: back off instead of spinning.
                    tracing::warn!(%error, "accept failed");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn answer(&self, guest: &Guest, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = match self.admit(guest, request).await {
            Ok(()) => (self.text)().await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(text) => with(StatusCode::OK, self.content_type, text.into()),
            Err(error) => {
                tracing::debug!(code = %error.code, "a scraper is refused");
                refuse(error)
            }
        }
    }

    async fn admit(&self, guest: &Guest, request: &Request<Incoming>) -> Result<(), ApiError> {
        if !asks_for_loopback(request) {
            let message = "the `Host` of a request must be 127.0.0.1, [::1] or localhost";
            return Err(ApiError::new(ErrorCode::Forbidden, message));
        }
        let sent = credential::bearer(request.headers());
        if !sent.is_some_and(|sent| credential::is_same(&self.token, sent)) {
            let message = "the metrics need their token: `Authorization: Bearer \u{2026}`";
            return Err(ApiError::new(ErrorCode::Unauthorized, message)
                .hint("it is in `metrics.token` in repod's home"));
        }
        if !guest.introduce().await {
            return Err(ApiError::new(ErrorCode::Overloaded, "too many connections are open"));
        }
        if request.method() != Method::GET || request.uri().path() != PATH {
            let message = format!("only `GET {PATH}` is served here");
            return Err(ApiError::new(ErrorCode::NoSuchRoute, message));
        }
        Ok(())
    }
}

async fn listen(port: u16) -> TcpListener {
    let mut is_said = false;
    loop {
        match listen_patiently(port, Patience::new()).await {
            Ok(listener) => return listener,
            Err(error) => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::error!(%error, port, "`gateway.metrics_port` can't be had yet");
                }
                sleep(RETRY).await;
            }
        }
    }
}

async fn connection<F, T>(stream: TcpStream, guest: Guest, scrape: Arc<Scrape<F>>, limit: Duration)
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, ApiError>> + Send + 'static,
{
    let guest = Arc::new(guest);
    let service = service_fn(|request| {
        let (scrape, guest) = (Arc::clone(&scrape), Arc::clone(&guest));
        async move { Ok::<_, Infallible>(scrape.answer(&guest, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_header_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::debug!(%error, "a scraper's connection broke");
            }
        }
        () = sleep(limit) => tracing::debug!("a scraper was too slow"),
        _ = guest.told_to_leave() => {}
    }
}

fn refuse(error: ApiError) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(error.code.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_challenge = error.code == ErrorCode::Unauthorized;
    let body = serde_json::to_vec(&ErrorBody { error }).unwrap_or_default();
    let mut response = with(status, "application/json", body.into());
    if is_challenge {
        let challenge = HeaderValue::from_static("Bearer realm=\"repod\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn with(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const BOUND: Duration = Duration::from_secs(60);

    async fn stage(limit: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = || async { Ok("repod_info 1\n# EOF\n".to_owned()) };
        let scrape = Scrape { token: "t0ken".to_owned(), content_type: "text/x", text };
        tokio::spawn(scrape.serve_on(listener, Limits::default(), limit));
        port
    }

    async fn ask(port: u16, head: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(BOUND, stream.read_to_string(&mut answer)).await;
        drop(read.expect("the connection ends"));
        answer
    }

    #[tokio::test]
    async fn only_who_has_the_token_and_asks_this_machine_is_served() {
        let port = stage(LIMIT).await;
        let get = "GET /metrics HTTP/1.1\r\n";
        let right = "authorization: Bearer t0ken\r\n";
        let here = "host: localhost:1\r\n";
        let wrong = "authorization: Bearer t0ken2\r\n";
        let basic = "authorization: Basic t0ken\r\n";
        let cases = [
            ("200", format!("{get}{here}{right}\r\n")),
            ("200", format!("{get}host: 127.0.0.1\r\nauthorization: bearer t0ken\r\n\r\n")),
            ("401", format!("{get}{here}\r\n")),
            ("401", format!("{get}{here}{wrong}\r\n")),
            ("401", format!("{get}{here}{basic}\r\n")),
            ("401", format!("{get}{here}{right}{right}\r\n")),
            ("403", format!("{get}host: evil.example\r\n{right}\r\n")),
            ("403", format!("{get}{right}\r\n")),
            ("403", format!("GET http://evil.example/metrics HTTP/1.1\r\n{here}{right}\r\n")),
            ("404", format!("GET /v1/ps HTTP/1.1\r\n{here}{right}\r\n")),
            ("404", format!("POST /metrics HTTP/1.1\r\n{here}{right}content-length: 0\r\n\r\n")),
        ];
        for (status, head) in cases {
            let answer = ask(port, &head).await;
            assert_eq!(answer.get(9..12), Some(status), "{head}{answer}");
            assert_eq!(answer.contains("repod_info 1"), status == "200", "{answer}");
            assert_eq!(answer.contains("www-authenticate: Bearer"), status == "401", "{answer}");
        }
    }

    #[tokio::test]
    async fn who_is_slow_to_ask_is_ended() {
        let port = stage(Duration::from_millis(50)).await;
        assert_eq!(ask(port, "GET /metrics HTTP/1.1\r\nhost: loc").await, "");
    }
}

//! The event stream of a backend: one long answer, given out as its bytes come.

use super::{BackendClient, ProbeError, broken, failed};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What is read of an answer that is no stream.
const REFUSAL_MAX: usize = 64 * 1024;

/// The bytes of `GET /global/event`. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventBody {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl EventBody {
    /// The next bytes; `None` when the backend has ended the stream.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Option<Result<Bytes, ProbeError>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => {}
                },
                Err(error) => return Some(Err(broken(error))),
            }
        }
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl BackendClient {
    /// Events of all directories, from now on.
    ///
    /// # Errors
    /// When the stream hasn't begun within `limit`.
    pub async fn global_events(&self, limit: Duration) -> Result<EventBody, ProbeError> {
        let opening = self.open_events();
        tokio::time::timeout(limit, opening).await.map_err(|_| ProbeError::TimedOut(limit))?
    }

    async fn open_events(&self) -> Result<EventBody, ProbeError> {
        let (stream, request) = self.open(&Method::GET, "/global/event", None).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        // Made before the answer is waited for, so that whoever gives up takes the task along.
        let guard = AbortOnDrop(Some(connection));
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        match status {
            StatusCode::OK => {
                Ok(EventBody { body: response.into_body(), connection: guard.release() })
            }
            StatusCode::UNAUTHORIZED => Err(ProbeError::Unauthorized),
            _ => {
                let body = Limited::new(response.into_body(), REFUSAL_MAX).collect().await;
                Err(failed(status, &body.map(|b| b.to_bytes()).unwrap_or_default()))
            }
        }
    }
}

struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn release(mut self) -> JoinHandle<()> {
        self.0.take().expect("taken here only, and this consumes it")
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

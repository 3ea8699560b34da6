//! The event stream of a backend: one long answer, given out as its bytes come. Whoever reads it
//! drives its connection, so that no event waits for a second task.

use super::{BackendClient, ProbeError, broken, failed};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1::{self, Connection};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;

/// What is read of an answer that is no stream.
const REFUSAL_MAX: usize = 64 * 1024;

/// Its connection; `None` when it has ended.
type Running = Option<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>;

/// The bytes of `GET /global/event`. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventBody {
    body: Incoming,
    running: Running,
}

impl EventBody {
    /// The next bytes; `None` when the backend has ended the stream.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Option<Result<Bytes, ProbeError>> {
        loop {
            match poll_fn(|context| self.poll_frame(context)).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => {}
                },
                Err(error) => return Some(Err(broken(error))),
            }
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // Fetched without a waker first: with one, hyper wakes the task that just runs, which costs
        // a turn of the scheduler for each event.
        let quiet = &mut Context::from_waker(Waker::noop());
        drive(&mut self.running, quiet);
        let there = Pin::new(&mut self.body).poll_frame(quiet);
        if there.is_ready() {
            return there;
        }
        drive(&mut self.running, context);
        Pin::new(&mut self.body).poll_frame(quiet)
    }
}

/// Reads and writes what it can; a connection that has ended is dropped, so that its answer ends too.
fn drive(running: &mut Running, context: &mut Context<'_>) {
    if let Some(connection) = running
        && Pin::new(connection).poll(context).is_ready()
    {
        *running = None;
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
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut running = Some(Box::new(connection));
        let mut answer = pin!(sender.send_request(request));
        let response = poll_fn(|context| {
            drive(&mut running, context);
            answer.as_mut().poll(context)
        });
        let response = response.await.map_err(broken)?;
        let status = response.status();
        let mut body = EventBody { body: response.into_body(), running };
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(ProbeError::Unauthorized),
            _ => {
                let mut said = Vec::new();
                while let Some(Ok(bytes)) = body.next().await
                    && said.len() + bytes.len() <= REFUSAL_MAX
                {
                    said.extend_from_slice(&bytes);
                }
                Err(failed(status, &said))
            }
        }
    }
}

//! The few calls repod makes to a backend itself. Every call opens its own connection: a request
//! that OpenCode 1.18.33 accepted before it was ready is never answered, and only a fresh
//! connection helps. Every call has a deadline, and every answer a bound.

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use repod_proto::{REQUEST_ID_HEADER, RequestId};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;

mod agent;
mod apply;
mod catalogue;
mod events;
mod sessions;
mod shell;

pub use agent::{AgentChoice, Choices, PermissionReply, ProjectInfo, PromptFile, PromptSpec};
pub use apply::ApplyError;
pub use events::EventBody;
pub use sessions::{HistoryRow, Request as PendingRequest, SessionInfo};

/// Largest answer taken.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// How long a call may take that has no deadline of its own.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long what opens a directory may take: its plugins and servers start, and on a busy machine that is
/// more than 10 s.
pub const OPEN_LIMIT: Duration = Duration::from_mins(1);
/// How long ending all instances may take: it waits for tools to die.
const DISPOSE_LIMIT: Duration = Duration::from_secs(30);
/// Sessions listed at most. OpenCode lists 100 when not told.
const SESSIONS_MAX: u32 = 1_000_000;

/// A way to one backend. Cheap to make and to clone.
#[derive(Clone)]
pub struct BackendClient {
    port: u16,
    password: String,
    request: Option<RequestId>,
}

impl fmt::Debug for BackendClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendClient").field("port", &self.port).finish_non_exhaustive()
    }
}

/// What a healthy backend says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Its version (`1.18.33`).
    pub version: String,
}

/// What a session is doing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionState {
    /// Nothing.
    Idle,
    /// A turn is in flight.
    Busy,
    /// A turn is in flight and waits for its provider.
    Retry,
    /// Something this version of repod has no word for. Unknown is not idle.
    #[serde(other)]
    Unknown,
}

/// Why a backend did not answer as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nothing listens on the port.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The password is not this backend's.
    #[error("it refused the password")]
    Unauthorized,
    /// It answered, but not as OpenCode does.
    #[error("it does not answer like OpenCode: {0}")]
    NotOpencode(String),
    /// OpenCode answered that it could not do it (a broken config file, say).
    #[error("it answered {status}: {message}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
    /// The answer was larger than what repod takes.
    #[error("its answer is larger than {} MiB", ANSWER_MAX / 1024 / 1024)]
    TooLarge,
}

impl ProbeError {
    /// Whether asking again can't help: something else listens there.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::NotOpencode(_))
    }
}

impl BackendClient {
    /// The client of the backend on this loopback port.
    pub fn new(port: u16, password: String) -> Self {
        Self { port, password, request: None }
    }

    /// The same, for this request: each call says so in its head.
    #[must_use]
    pub fn on_behalf_of(&self, request: Option<&RequestId>) -> Self {
        Self { request: request.cloned(), ..self.clone() }
    }

    /// Whether it answers, and as what. Opens no directory instance.
    ///
    /// # Errors
    /// When it doesn't answer within `deadline`, or something else does.
    pub async fn health(&self, deadline: Duration) -> Result<Health, ProbeError> {
        #[derive(Deserialize)]
        struct Answer {
            healthy: bool,
            #[serde(flatten)]
            health: Health,
        }
        let body = self.call(&Method::GET, "/global/health", deadline).await?;
        let answer: Answer = parse(&body)?;
        if answer.healthy {
            return Ok(answer.health);
        }
        Err(ProbeError::Failed { status: 200, message: "it says it is not healthy".to_owned() })
    }

    /// Ends every directory instance: running turns are aborted cleanly, and tools and terminals
    /// die, which they would survive if only the backend's process were ended. The process goes on.
    ///
    /// # Errors
    /// When it doesn't answer within 30 s.
    pub async fn dispose_all(&self) -> Result<(), ProbeError> {
        self.call(&Method::POST, "/global/dispose", DISPOSE_LIMIT).await.map(drop)
    }

    /// What the sessions of a directory's instance do. OpenCode names only those that are not idle.
    ///
    /// Opens an instance of the directory if there is none (about 2 MB; plugins are loaded).
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn session_status(
        &self,
        directory: &str,
    ) -> Result<BTreeMap<String, SessionState>, ProbeError> {
        let route = format!("/session/status?directory={}", escape(directory));
        parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)
    }

    /// How many sessions of a directory have a turn in flight. Opens an instance, like
    /// [`session_status`](Self::session_status).
    ///
    /// # Errors
    /// As there.
    pub async fn busy_sessions(&self, directory: &str) -> Result<u64, ProbeError> {
        let states = self.session_status(directory).await?;
        Ok(states.values().filter(|state| **state != SessionState::Idle).count() as u64)
    }

    /// How many sessions a directory has, those of subagents included.
    ///
    /// OpenCode 1.18 has no route that counts, so the list is fetched (0.4 KB each) and counted.
    /// Opens an instance, like [`session_status`](Self::session_status).
    ///
    /// # Errors
    /// As there; [`ProbeError::TooLarge`] from about 40,000 sessions on.
    pub async fn session_count(&self, directory: &str) -> Result<u64, ProbeError> {
        let route = format!("/session?limit={SESSIONS_MAX}&directory={}", escape(directory));
        let sessions: Vec<IgnoredAny> = parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)?;
        Ok(sessions.len() as u64)
    }

    async fn call(
        &self,
        method: &Method,
        route: &str,
        limit: Duration,
    ) -> Result<Bytes, ProbeError> {
        self.call_with(method, route, None, limit).await
    }

    /// A call with a JSON document, or without one.
    async fn call_with(
        &self,
        method: &Method,
        route: &str,
        document: Option<Bytes>,
        limit: Duration,
    ) -> Result<Bytes, ProbeError> {
        let exchange = self.exchange(method, route, document);
        let (status, body) = tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| ProbeError::TimedOut(limit))??;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(ProbeError::Unauthorized),
            status => Err(failed(status, &body)),
        }
    }

    /// A fresh connection, and the request that is to be its only one.
    async fn open(
        &self,
        method: &Method,
        route: &str,
        document: Option<Bytes>,
    ) -> Result<(TcpStream, Request<Full<Bytes>>), ProbeError> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.map_err(
            |error| match error.kind() {
                std::io::ErrorKind::ConnectionRefused => ProbeError::Refused,
                _ => ProbeError::Broken(error.to_string()),
            },
        )?;
        let credentials = format!("{}:{}", crate::USERNAME, self.password);
        let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
        let mut request = Request::builder()
            .method(method)
            .uri(route)
            .header(header::HOST, format!("127.0.0.1:{}", self.port))
            .header(header::AUTHORIZATION, format!("Basic {credentials}"))
            .header(header::CONNECTION, "close");
        if let Some(id) = &self.request {
            request = request.header(REQUEST_ID_HEADER, id.as_str());
        }
        if document.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(document.unwrap_or_default()))
            .map_err(|error| ProbeError::Broken(error.to_string()))?;
        Ok((stream, request))
    }

    async fn exchange(
        &self,
        method: &Method,
        route: &str,
        document: Option<Bytes>,
    ) -> Result<(StatusCode, Bytes), ProbeError> {
        let (stream, request) = self.open(method, route, document).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut answer = pin!(async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            Ok((status, body.map_err(too_large_or_broken)?.to_bytes()))
        });
        // Driven here rather than in a task: when the caller leaves, the connection goes with it.
        let mut connection = pin!(connection);
        tokio::select! {
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn broken(error: hyper::Error) -> ProbeError {
    if error.is_parse() {
        return ProbeError::NotOpencode(error.to_string());
    }
    ProbeError::Broken(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn too_large_or_broken(error: Box<dyn std::error::Error + Send + Sync>) -> ProbeError {
    if error.is::<LengthLimitError>() {
        return ProbeError::TooLarge;
    }
    ProbeError::Broken(error.to_string())
}

/// An answer other than 200: OpenCode names its errors (`{"name":…,"data":{"message":…}}`).
fn failed(status: StatusCode, body: &[u8]) -> ProbeError {
    #[derive(Deserialize)]
    struct Named {
        name: String,
        #[serde(default)]
        data: Option<serde_json::Value>,
    }
    let Ok(Named { name, data }) = serde_json::from_slice(body) else {
        // A backend that is overrun may send a bare 5xx; a bare 404 comes from somebody else.
        return if status.is_server_error() {
            ProbeError::Failed { status: status.as_u16(), message: "no reason given".to_owned() }
        } else {
            ProbeError::NotOpencode(format!("status {status}"))
        };
    };
    let detail = |key: &str| data.as_ref()?.get(key)?.as_str().map(shorten);
    let mut message = name;
    for detail in [detail("path"), detail("message")].into_iter().flatten() {
        message.push_str(": ");
        message.push_str(&detail);
    }
    ProbeError::Failed { status: status.as_u16(), message }
}

fn shorten(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProbeError> {
    serde_json::from_slice(body).map_err(|error| ProbeError::NotOpencode(error.to_string()))
}

/// Percent-encodes a query value.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests;

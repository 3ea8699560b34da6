//! The way to one generation of a backend: its address, its credentials, its idle connections.

use super::body::Sent;
use crate::backend::Process;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use repod_proto::Generation;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Idle connections kept for one backend.
const IDLE_MAX: usize = 64;
/// How long one is kept. Should the backend close idle ones too, what is sent into that moment is
/// lost, so the gateway must be the first by far: OpenCode 1.18.33 keeps them for more than 20 s.
const IDLE_LIMIT: Duration = Duration::from_secs(5);
/// A connection whose answer has ended takes a moment to be ready for the next request.
const READY_LIMIT: Duration = Duration::from_millis(20);
/// How long connecting to a loopback port may take (its queue is full, say).
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A backend to send requests to.
pub(super) struct Upstream {
    generation: Generation,
    port: u16,
    host: HeaderValue,
    authorization: HeaderValue,
    idle: Mutex<Vec<(Instant, Connection)>>,
    /// Whether its events are heard; nothing is asked of it before.
    heard: AtomicBool,
}

/// One connection to it.
pub(super) struct Connection(pub(super) SendRequest<Sent>);

impl Upstream {
    /// The way to this process; none if its password can't be put into a header.
    pub(super) fn new(generation: Generation, process: &Process) -> Option<Self> {
        let pair = format!("{}:{}", repod_opencode::USERNAME, process.password);
        let mut authorization =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
        authorization.set_sensitive(true);
        Some(Self {
            generation,
            port: process.port,
            host: HeaderValue::try_from(format!("127.0.0.1:{}", process.port)).ok()?,
            authorization,
            idle: Mutex::new(Vec::new()),
            heard: AtomicBool::new(false),
        })
    }

    pub(super) fn leads_to(&self, generation: Generation, process: &Process) -> bool {
        self.generation == generation && self.port == process.port
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    pub(super) fn set_heard(&self) {
        self.heard.store(true, Ordering::Release);
    }

    /// Addresses a request to this backend, with its own credentials.
    pub(super) fn address(&self, headers: &mut HeaderMap) {
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
    }

    /// An idle connection that is ready, if there is one.
    pub(super) async fn idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.take()?;
            if matches!(timeout(READY_LIMIT, connection.0.ready()).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one is the freshest: when that is too old, all are.
        match idle.pop() {
            Some((since, connection)) if since.elapsed() < IDLE_LIMIT => Some(connection),
            _ => {
                idle.clear();
                None
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn give_back(&self, connection: Connection) {
        if connection.0.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push((Instant::now(), connection));
    }

    /// A new connection. Its task ends with it.
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        let connecting = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let stream = timeout(CONNECT_LIMIT, connecting).await.map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        let shaken = http1::Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a backend broke");
            }
        });
        Ok(Connection(sender))
    }
}

//! One loopback port per repo: chosen once, kept over daemons, served as long as the repo is managed.

use super::events::Cut;
use super::guests::{Guest, Leave};
use super::patient::Patient;
use super::peer::Peer;
use super::refuse::Reason;
use super::{Gate, answer};
use crate::hub::CutSignal;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use repod_proto::{ApiError, ErrorCode};
use repod_supervisor::ports::OPENCODE_DEFAULT_PORT;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// How long a reader of events that was cut may take to read why.
const CUT_GRACE: Duration = Duration::from_secs(5);
/// How long the ports of a daemon that was killed just now are waited for. The kernel closes its
/// files one by one, and the lock that its successor waits for goes before the sockets.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_STEP: Duration = Duration::from_millis(5);
/// New ports are chosen from here up to where the kernel takes those of outgoing connections: what
/// is above may be in use by anybody's client when the next daemon comes.
const PORTS_FROM: u16 = 16_384;
const TRIES: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Largest head of a request.
pub(super) const HEAD_MAX: usize = 64 * 1024;

/// How much a client is let do, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections that have not shown the secret; a further one takes the place of the oldest,
    /// or waits until that has had so long to show it.
    pub(crate) strangers: usize,
    pub(crate) newcomer: Duration,
    /// Connections that have; see `guests` for what happens to a further one.
    pub(crate) known: usize,
    /// How long a connection may take until its first request is let in.
    pub(crate) introduction: Duration,
    /// How long the head of a later request may take, and the wait for it.
    pub(crate) head: Duration,
    /// How long nothing of a body may come.
    pub(crate) body: Duration,
    /// How long a client may take nothing of its answer. Long: somebody may have stopped a terminal.
    pub(crate) answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            strangers: 1024,
            newcomer: Duration::from_secs(1),
            known: 1024,
            introduction: Duration::from_secs(10),
            head: Duration::from_secs(60),
            body: Duration::from_secs(60),
            answer: Duration::from_mins(5),
        }
    }
}

/// Who is at the other end of a connection.
pub(super) struct Visitor {
    pub(super) peer: Peer,
    pub(super) guest: Guest,
}

/// A port that is listened on.
pub(crate) struct Door {
    listener: TcpListener,
    pub(crate) port: u16,
    /// What clients should know of it.
    pub(crate) warning: Option<String>,
}

impl Door {
    /// For those who serve something of their own there.
    pub(crate) fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// Until when a port that is taken is waited for. One for a whole daemon's birth.
#[derive(Clone, Copy)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(Instant::now() + PATIENCE)
    }
}

/// Listens on the port that clients know; on another one when that is taken, or there is none yet.
pub(crate) async fn open(known: Option<u16>, patience: Patience) -> Result<Door, ApiError> {
    let mut warning = None;
    if let Some(port) = known {
        match listen_patiently(port, patience).await {
            Ok(listener) => return Ok(Door { listener, port, warning }),
            Err(error) => {
                warning = Some(format!(
                    "the endpoint's port {port} can't be had ({error}); it has a new one, and \
                     programs that know the old one must ask again"
                ));
            }
        }
    }
    let chosen = choose().and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let (port, listener) = chosen.map_err(|error| {
        let message = format!("no loopback port is free for the endpoint: {error}");
        ApiError::new(ErrorCode::StateIo, message)
    })?;
    let warning = warning.map(|warning| format!("{warning} (now {port})"));
    Ok(Door { listener, port, warning })
}

pub(super) async fn listen_patiently(
    port: u16,
    Patience(until): Patience,
) -> io::Result<TcpListener> {
    loop {
        match listen(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                sleep(PATIENCE_STEP).await;
            }
            other => return other,
        }
    }
}

/// With `SO_REUSEADDR`: connections of a daemon that died do not keep the port.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(BACKLOG)
}

fn choose() -> io::Result<TcpListener> {
    let end = ephemeral_from().unwrap_or(32_768);
    for _ in 0..TRIES {
        let mut random = [0; 2];
        if end <= PORTS_FROM || getrandom::fill(&mut random).is_err() {
            break;
        }
        let port = PORTS_FROM + u16::from_ne_bytes(random) % (end - PORTS_FROM);
        if let Ok(listener) = listen(port) {
            return Ok(listener);
        }
    }
    let mut refused = Vec::new();
    for _ in 0..TRIES {
        let listener = listen(0)?;
        if listener.local_addr()?.port() != OPENCODE_DEFAULT_PORT {
            return Ok(listener);
        }
        refused.push(listener);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Where the kernel's own choice of ports begins.
fn ephemeral_from() -> Option<u16> {
    let range = fs_err::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_ascii_whitespace().next()?.parse().ok()
}

/// Accepts until the repo is no longer managed.
pub(super) async fn serve(door: Door, gate: Arc<Gate>) {
    let gone = gate.handle.gone();
    tokio::pin!(gone);
    loop {
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            () = &mut gone => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let guest = gate.guests.admit().await;
                tokio::spawn(connection(stream, client, guest, Arc::clone(&gate)));
            }
            Err(error) => {
                // Out of descriptors, most likely: back off instead of spinning.
                tracing::warn!(%error, port = door.port, "accept failed");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Where an answer leaves what tells that its reader was cut. A channel would do, but costs each
/// connection a kilobyte.
#[derive(Default)]
struct Cuts {
    signal: Mutex<Option<CutSignal>>,
    left: Notify,
}

impl Cuts {
    /// The one before belongs to an answer that has ended.
    fn leave(&self, signal: CutSignal) {
        *self.signal.lock().unwrap_or_else(PoisonError::into_inner) = Some(signal);
        self.left.notify_one();
    }

    async fn next(&self) -> CutSignal {
        loop {
            self.left.notified().await;
            let signal = self.signal.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(signal) = signal {
                return signal;
            }
        }
    }
}

async fn connection(stream: TcpStream, client: SocketAddr, guest: Guest, gate: Arc<Gate>) {
    let Ok(server) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    // What was opened with credentials that are replaced ends with them.
    let rotated = gate.handle.rotated(gate.handle.view());
    tokio::pin!(rotated);
    let limits = gate.gateway.limits;
    let refused = |reason| gate.gateway.refusals.count(reason);
    let visitor = Arc::new(Visitor { peer: Peer::of(client, server).await, guest });
    let cuts = Arc::new(Cuts::default());
    let service = service_fn(|request| {
        let (gate, visitor, cuts) = (Arc::clone(&gate), Arc::clone(&visitor), Arc::clone(&cuts));
        async move {
            let response = answer(&gate, &visitor, request).await;
            if let Some(signal) = response.extensions().get::<Cut>().and_then(Cut::take) {
                cuts.leave(signal);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.answer)), service)
        .with_upgrades();
    tokio::pin!(served);
    // Another user will not be let in: time to read that is all there is to give.
    let introduced = sleep(match visitor.peer {
        Peer::Foreign(_) => limits.newcomer,
        Peer::Ours | Peer::Unknown => limits.introduction,
    });
    tokio::pin!(introduced);
    let mut is_new = true;
    let mut cut_now: Pin<Box<dyn Future<Output = bool> + Send>> = Box::pin(pending());
    loop {
        tokio::select! {
            served = &mut served => {
                if let Err(error) = served {
                    if error.is_parse() {
                        refused(Reason::Malformed);
                    }
                    tracing::debug!(%error, "a client's connection broke");
                }
                return;
            }
            () = &mut rotated => return,
            () = &mut introduced, if is_new => {
                is_new = false;
                if visitor.guest.is_stranger() {
                    refused(Reason::TooSlow);
                    return;
                }
            }
            leave = visitor.guest.told_to_leave() => match leave {
                Leave::Now => {
                    refused(Reason::Crowded);
                    return;
                }
                Leave::WhenDone => served.as_mut().graceful_shutdown(),
            },
            signal = cuts.next() => cut_now = Box::pin(signal.cut()),
            is_cut = &mut cut_now => {
                if is_cut {
                    // A reader that takes nothing is never asked for more, so the connection is
                    // ended from here, after it may have read why.
                    let _ = timeout(CUT_GRACE, &mut served).await;
                    return;
                }
                cut_now = Box::pin(pending());
            }
        }
    }
}

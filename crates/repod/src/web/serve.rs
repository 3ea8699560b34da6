//! Connections of browsers, few and bounded, and what is answered on them.

use super::keys::Keys;
use super::{assets, entry, headers};
use crate::api;
use crate::daemon::Daemon;
use crate::gateway::{Guest, Guests, Leave, Limits, Patient, Peer};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A browser opens six connections at most.
const LIMITS: Limits = Limits {
    strangers: 32,
    newcomer: Duration::from_secs(1),
    known: 64,
    introduction: Duration::from_secs(10),
    head: Duration::from_secs(60),
    body: Duration::from_secs(60),
    answer: Duration::from_mins(1),
};
/// Largest head and body of a request: what is asked is small.
const HEAD_MAX: usize = 16 * 1024;
const BODY_MAX: usize = 64 * 1024;

/// What all connections have in common.
pub(super) struct Site {
    pub(super) keys: Arc<Keys>,
    guests: Arc<Guests>,
    daemon: Arc<Daemon>,
}

/// Who is at the other end of a connection.
pub(super) struct Visitor {
    pub(super) peer: Peer,
    pub(super) guest: Guest,
}

impl Site {
    pub(super) fn new(daemon: &Arc<Daemon>, keys: Arc<Keys>) -> Arc<Self> {
        Arc::new(Self { keys, guests: Guests::new(LIMITS), daemon: Arc::clone(daemon) })
    }

    fn router(self: &Arc<Self>) -> Router {
        let site = Arc::clone(self);
        let data = api::dashboard(Arc::clone(&self.daemon))
            .layer(from_fn_with_state(Arc::clone(&site), entry::with_pass));
        Router::new()
            .route("/login", post(entry::login))
            .route("/logout", post(entry::logout))
            .with_state(site)
            .merge(data)
            .fallback(file)
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(from_fn(entry::surroundings))
            .layer(from_fn(headers::secure))
    }
}

async fn file(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let found = assets::answer(request.uri().path(), request.headers());
    found.unwrap_or_else(|| (StatusCode::NOT_FOUND, "there is no such page\n").into_response())
}

/// Accepts for as long as the daemon lives.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>) {
    let app = TowerToHyperService::new(site.router());
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let guest = site.guests.admit().await;
                tokio::spawn(connection(stream, client, guest, app.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: back off instead of spinning.
                tracing::warn!(%error, "the dashboard can't accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    guest: Guest,
    app: TowerToHyperService<Router>,
) {
    let Ok(server) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    let visitor = Arc::new(Visitor { peer: Peer::of(client, server).await, guest });
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&visitor));
        app.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMITS.head)
        .max_header_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, LIMITS.answer)), service);
    tokio::pin!(served);
    let introduced = sleep(LIMITS.introduction);
    tokio::pin!(introduced);
    let mut is_new = true;
    loop {
        tokio::select! {
            served = &mut served => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a browser's connection broke");
                }
                return;
            }
            // A browser opens another one when it needs it.
            () = &mut introduced, if is_new => {
                is_new = false;
                if visitor.guest.is_stranger() {
                    served.as_mut().graceful_shutdown();
                }
            }
            leave = visitor.guest.told_to_leave() => match leave {
                Leave::Now => return,
                Leave::WhenDone => served.as_mut().graceful_shutdown(),
            },
        }
    }
}

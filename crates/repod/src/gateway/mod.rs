//! The gateway: one loopback address per repo that outlives its backends. Nobody else talks to a
//! backend; its own port and password stay in here.
//!
//! [`phases`] is the whole way of a request, in order:
//! route → authorise → hold → coordinate → prepare → forward → finish.

mod authorise;
mod body;
mod bound;
mod coordinate;
mod cors;
mod credential;
mod dispose;
mod events;
mod figures;
mod forward;
mod framing;
mod guests;
mod handles;
mod hold;
mod listener;
mod named;
mod patient;
mod peer;
mod prepare;
mod refuse;
mod route;
mod scrape;
#[cfg(test)]
mod tests;
mod upgrade;
mod upstream;

pub(crate) use authorise::is_loopback;
pub(crate) use figures::Figures;
pub(crate) use guests::{Guest, Guests, Leave};
pub(crate) use hold::Waited;
pub(crate) use listener::{Door, Limits, Patience, open};
pub(crate) use patient::Patient;
pub(crate) use peer::Peer;
pub(crate) use refuse::Reason;
pub(crate) use scrape::Scrape;

use crate::backend::{ClientGuard, RepoHandle, View, WeakHandle};
use crate::coordination::Coordination;
use crate::ops::Locator;
use crate::settings;
use crate::tally::Timings;
use body::GateBody;
use cors::Cors;
use forward::Broken;
use handles::{Closed, Handles};
use hold::Held;
use hyper::body::Incoming;
use hyper::{Request, Response};
use listener::Visitor;
use patient::Arriving;
use refuse::{Refusal, Refusals};
use repod_proto::RequestId;
use route::{Kind, Route};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::time::Instant;
use tracing::Instrument as _;
use upstream::Upstream;

/// What the endpoints of all repos have in common.
pub(crate) struct Gateway {
    settings: settings::Gateway,
    coordination: Coordination,
    limits: Limits,
    refusals: Arc<Refusals>,
    holds: Timings<Waited>,
    locator: Locator,
    gates: Mutex<Vec<Weak<Gate>>>,
}

impl Gateway {
    pub(crate) fn new(settings: settings::Gateway, coordination: Coordination) -> Self {
        Self {
            settings,
            coordination,
            limits: Limits::default(),
            refusals: Arc::default(),
            holds: Timings::default(),
            locator: Locator::default(),
            gates: Mutex::default(),
        }
    }

    /// Serves a repo's endpoint until the repo is no longer managed.
    pub(crate) fn serve(self: &Arc<Self>, door: Door, handle: WeakHandle) {
        let gate = Arc::new(Gate {
            gateway: Arc::clone(self),
            handle,
            guests: Guests::new(self.limits),
            held: Held::default(),
            upstream: Mutex::new(None),
            handles: Handles::default(),
        });
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.push(Arc::downgrade(&gate));
        drop(gates);
        tokio::spawn(listener::serve(door, gate));
    }
}

/// One repo's endpoint.
struct Gate {
    gateway: Arc<Gateway>,
    /// Weak: an endpoint does not keep a repo managed.
    handle: WeakHandle,
    guests: Arc<Guests>,
    held: Held,
    /// The way to the current generation, made when it is first needed.
    upstream: Mutex<Option<Arc<Upstream>>>,
    /// The handles of programs.
    handles: Handles,
}

impl Gate {
    fn settings(&self) -> &settings::Gateway {
        &self.gateway.settings
    }

    /// The way to the backend of this view, if it answers.
    fn upstream(&self, view: &View) -> Option<Arc<Upstream>> {
        let process = view.process.as_ref().filter(|_| view.is_ready())?;
        let mut current = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = current.as_ref().filter(|it| it.leads_to(view.generation, process))
        {
            return Some(Arc::clone(upstream));
        }
        // Idle connections to the backend before go with it.
        let upstream = Arc::new(Upstream::new(view.generation, process)?);
        *current = Some(Arc::clone(&upstream));
        Some(upstream)
    }
}

/// A request that was let in, and what it needs on its way.
struct Visit {
    gate: Arc<Gate>,
    handle: RepoHandle,
    /// With whose credentials it came in.
    admitted: Arc<View>,
    /// Resolves when the handle it came in by is closed.
    closed: Closed,
    /// Counted from here until the body of the answer has ended.
    client: ClientGuard,
    /// How long it may be held in all.
    deadline: Instant,
}

/// One request; whatever goes wrong becomes an answer here and nowhere else.
async fn answer(
    gate: &Arc<Gate>,
    visitor: &Visitor,
    mut request: Request<Incoming>,
) -> Response<GateBody> {
    let cors = Cors::of(request.headers(), &gate.settings().origins);
    let id = named::name(request.headers_mut());
    let request_id = id.as_ref().map(RequestId::as_str);
    let span = tracing::debug_span!("endpoint", repo = %gate.handle.id(), request_id);
    let response = match phases(gate, visitor, &cors, request).instrument(span.clone()).await {
        Ok(response) => response,
        Err(refusal) => {
            gate.gateway.refusals.count(refusal.reason());
            span.in_scope(|| refusal.into_response(id.as_ref()))
        }
    };
    cors.grant(named::tell(response, id.as_ref()))
}

async fn phases(
    gate: &Arc<Gate>,
    visitor: &Visitor,
    cors: &Cors,
    mut request: Request<Incoming>,
) -> Result<Response<GateBody>, Refusal> {
    let Some(handle) = gate.handle.upgrade() else {
        return Err(Refusal::new(Reason::Gone, "this repo is no longer managed"));
    };
    let route = Route::of(&request)?;
    authorise::surroundings(visitor.peer, cors, &request)?;
    if let Some(preflight) = cors.preflight(&request) {
        return Ok(preflight);
    }
    let admitted = handle.view();
    authorise::credentials(&admitted, &route, &request)?;
    if !visitor.guest.introduce().await {
        return Err(Refusal::new(Reason::Crowded, "too many connections are open"));
    }
    framing::check(&request, route.kind)?;
    bound::name_directory(&gate.gateway.locator, handle.repo(), &route, &mut request).await?;
    let deadline = Instant::now() + gate.settings().hold_timeout;
    let tie = gate.handles.tie(route.capability.as_ref().and_then(|it| it.handle.as_ref()))?;
    let (client, closed) = (handle.client(route.kind.used_as(&request)), tie.closed());
    let visit = Visit { gate: Arc::clone(gate), handle, admitted, closed, client, deadline };
    let served = serve(visit, route, request);
    if !tie.is_tied() {
        return served.await;
    }
    tokio::select! {
        served = served => Ok(served?.map(|body| body.tied(tie.settle()))),
        () = tie.closed() => Err(handles::closed()),
    }
}

async fn serve(
    visit: Visit,
    route: Route,
    mut request: Request<Incoming>,
) -> Result<Response<GateBody>, Refusal> {
    // Boxed, because a connection keeps room for the largest of them as long as it is open, and most
    // only wait.
    match route.kind {
        Kind::Closed(why) => Err(Refusal::new(Reason::ClosedRoute, why)),
        Kind::Events => Box::pin(events::events(visit, &route, &request)).await,
        Kind::Upgrade => {
            prepare::upgrade(&mut request, &route);
            Box::pin(upgrade::forward(visit, request)).await
        }
        Kind::Dispose => {
            dispose::unless_busy(&visit, &route, &request).await?;
            Box::pin(exchange(visit, route, request)).await
        }
        Kind::Plain => Box::pin(exchange(visit, route, request)).await,
    }
}

/// hold → prepare → forward → finish, for whatever streams both ways. What no backend may see is
/// taken out once; each generation's own address and password are added as it is sent. Only a request
/// that reached nobody, and once a `GET` that got no answer, goes round again: nothing else may be
/// done twice.
async fn exchange(
    visit: Visit,
    route: Route,
    mut request: Request<Incoming>,
) -> Result<Response<GateBody>, Refusal> {
    let size = prepare::announced(&request);
    let mut lease = None;
    if route.writes.is_some() {
        hold::hold(&visit, size).await?;
        lease = coordinate::coordinate(&visit, &route, &request).await?;
    }
    prepare::request(&mut request, &route);
    framing::keep_chunks(&mut request);
    let again = prepare::repeatable(&request);
    let mut retried = false;
    let body_limit = visit.gate.gateway.limits.body;
    let mut request = request.map(|body| body::Sent::Left(Arriving::new(body, body_limit)));
    loop {
        let upstream = hold::hold(&visit, size).await?;
        match forward::forward(&upstream, request).await {
            Ok((response, connection)) => {
                let finish = body::Finish::new(upstream, connection, visit.client, lease.take());
                return Ok(prepare::response(response).map(|body| finish.of(body)));
            }
            Err(Broken::Unsent(unsent, error)) => {
                hold::pause(&visit, &error).await?;
                request = *unsent;
            }
            Err(Broken::Lost(error)) => match &again {
                Some(copy) if !retried => {
                    retried = true;
                    // A process that was killed loses its connections a moment before it is seen to
                    // be dead, and the next one would be lost as well.
                    hold::pause(&visit, &io::Error::other(error)).await?;
                    request = copy.request();
                }
                _ => return Err(Refusal::broke(&error)),
            },
        }
    }
}

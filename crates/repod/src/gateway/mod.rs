//! The gateway: one loopback address per repo that outlives its backends. Nobody else talks to a
//! backend; its own port and password stay in here.
//!
//! [`phases`] is the whole way of a request, in order:
//! route → authorise → hold → prepare → forward → finish.

mod authorise;
mod body;
mod cors;
mod credential;
mod events;
mod forward;
mod hold;
mod listener;
mod peer;
mod prepare;
mod refuse;
mod route;
#[cfg(test)]
mod tests;
mod upgrade;
mod upstream;

pub(crate) use listener::{Door, Patience, open};

use crate::backend::{ClientGuard, RepoHandle, View, WeakHandle};
use crate::hub::Hub;
use crate::settings;
use body::GateBody;
use cors::Cors;
use forward::Broken;
use hold::Held;
use hyper::body::Incoming;
use hyper::{Request, Response};
use peer::Peer;
use refuse::{Reason, Refusal, Refusals};
use route::{Kind, Route};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::time::Instant;
use upstream::Upstream;

/// What the endpoints of all repos have in common.
pub(crate) struct Gateway {
    settings: settings::Gateway,
    refusals: Arc<Refusals>,
}

impl Gateway {
    pub(crate) fn new(settings: settings::Gateway) -> Self {
        Self { settings, refusals: Arc::default() }
    }

    /// Serves a repo's endpoint until the repo is no longer managed.
    pub(crate) fn serve(self: &Arc<Self>, door: Door, handle: WeakHandle) {
        let gate = Arc::new(Gate {
            gateway: Arc::clone(self),
            handle,
            held: Held::default(),
            upstream: Mutex::new(None),
            hub: OnceLock::new(),
        });
        tokio::spawn(listener::serve(door, gate));
    }

    /// Requests that were refused, by reason, since the daemon started.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the metrics to come"))]
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }
}

/// One repo's endpoint.
struct Gate {
    gateway: Arc<Gateway>,
    /// Weak: an endpoint does not keep a repo managed.
    handle: WeakHandle,
    held: Held,
    /// The way to the current generation, made when it is first needed.
    upstream: Mutex<Option<Arc<Upstream>>>,
    /// Its event streams, once somebody has asked for one.
    hub: OnceLock<Hub>,
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
    /// Counted from here until the body of the answer has ended.
    client: ClientGuard,
    /// How long it may be held in all.
    deadline: Instant,
}

/// One request; whatever goes wrong becomes an answer here and nowhere else.
async fn answer(gate: &Arc<Gate>, peer: Peer, request: Request<Incoming>) -> Response<GateBody> {
    let cors = Cors::of(request.headers(), &gate.settings().origins);
    let response = match phases(gate, peer, &cors, request).await {
        Ok(response) => response,
        Err(refusal) => {
            gate.gateway.refusals.count(refusal.reason());
            refusal.into_response()
        }
    };
    cors.grant(response)
}

async fn phases(
    gate: &Arc<Gate>,
    peer: Peer,
    cors: &Cors,
    mut request: Request<Incoming>,
) -> Result<Response<GateBody>, Refusal> {
    let Some(handle) = gate.handle.upgrade() else {
        return Err(Refusal::new(Reason::Gone, "this repo is no longer managed"));
    };
    let route = Route::of(&request)?;
    authorise::surroundings(peer, cors, &request)?;
    if let Some(preflight) = cors.preflight(&request) {
        return Ok(preflight);
    }
    authorise::credentials(&handle.view(), &route, &request)?;
    let deadline = Instant::now() + gate.settings().hold_timeout;
    let visit = Visit { gate: Arc::clone(gate), client: handle.client(), handle, deadline };
    // Boxed, because a connection keeps room for the largest of them as long as it is open, and most
    // only wait.
    match route.kind {
        Kind::Closed(why) => Err(Refusal::new(Reason::ClosedRoute, why)),
        Kind::Events => Box::pin(events::events(visit, &route, &request)).await,
        Kind::Upgrade => {
            prepare::upgrade(&mut request, &route);
            Box::pin(upgrade::forward(visit, request)).await
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
    prepare::request(&mut request, &route);
    let again = prepare::repeatable(&request);
    let mut retried = false;
    let mut request = request.map(body::Sent::Left);
    loop {
        let upstream = hold::hold(&visit, size).await?;
        match forward::forward(&upstream, request).await {
            Ok((response, connection)) => {
                let finish = body::Finish::new(upstream, connection, visit.client);
                return Ok(prepare::response(response).map(|body| finish.of(body)));
            }
            Err(Broken::Unsent(unsent, error)) => {
                hold::pause(&visit, &error).await?;
                request = *unsent;
            }
            Err(Broken::Lost(error)) => match &again {
                Some(copy) if !retried => {
                    tracing::debug!(%error, "asking again");
                    retried = true;
                    request = copy.request();
                }
                _ => return Err(Refusal::broke(&error)),
            },
        }
    }
}

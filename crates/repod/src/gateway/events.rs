//! Event streams (`/event`, `/global/event`): the one place they all come through. They are the
//! hub's, so they stay open when the backend behind them does not.

use super::body::GateBody;
use super::hold;
use super::refuse::{Reason, Refusal};
use super::route::{Route, percent_decode};
use super::{Gate, Visit};
use crate::backend::{View, WeakHandle};
use crate::hub::{CutSignal, Filter, Hub, Limits, Upstream};
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use jiff::{SignedDuration, Timestamp};
use repod_proto::BackendState;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How long after a daemon's start the readers of the one before are expected.
const COMING_BACK: SignedDuration = SignedDuration::from_secs(60);

/// Rides on the answer to the connection, which has to end when its reader is cut.
#[derive(Clone)]
pub(super) struct Cut(Arc<Mutex<Option<CutSignal>>>);

impl Cut {
    /// The signal; given once.
    pub(super) fn take(&self) -> Option<CutSignal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers a reader of events. A backend that sleeps is woken for it, as for any request.
pub(super) async fn events(
    visit: Visit,
    route: &Route,
    request: &Request<Incoming>,
) -> Result<Response<GateBody>, Refusal> {
    hold::hold(&visit, 0).await?;
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let mut reader = visit.gate.hub().subscribe(filter(&visit, route, request), last);
    let cut = Cut(Arc::new(Mutex::new(reader.take_cut_signal())));
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache, no-transform")
        .header("x-accel-buffering", "no")
        .extension(cut)
        .body(GateBody::events(reader, visit.client))
        .map_err(|error| Refusal::new(Reason::Malformed, error.to_string()))
}

/// As OpenCode has it: the query wins over the header, and the backend's own directory is left.
fn filter(visit: &Visit, route: &Route, request: &Request<Incoming>) -> Filter {
    if route.target.path() == "/global/event" {
        return Filter::Global;
    }
    let query = route.target.query().unwrap_or_default();
    let named = query.split('&').find_map(|pair| pair.strip_prefix("directory="));
    let named = named.map(|value| value.replace('+', " "));
    let header = || Some(request.headers().get("x-opencode-directory")?.to_str().ok()?.to_owned());
    let directory = named.or_else(header).filter(|directory| !directory.is_empty());
    Filter::Directory(match directory {
        Some(directory) => String::from_utf8_lossy(&percent_decode(&directory)).into_owned(),
        None => visit.handle.repo().root.display().to_string(),
    })
}

impl Gate {
    /// The repo's hub, which is there from its first reader on.
    fn hub(&self) -> &Hub {
        self.hub.get_or_init(|| {
            let (name, named) = watch::channel(None);
            tokio::spawn(name_upstreams(self.handle.clone(), name, self.born));
            Hub::new(named, Limits::default())
        })
    }
}

/// Tells the hub which backend there is, for as long as both are wanted.
async fn name_upstreams(
    handle: WeakHandle,
    name: watch::Sender<Option<Upstream>>,
    born: Timestamp,
) {
    let Some(mut views) = handle.upgrade().map(|handle| handle.watch()) else { return };
    loop {
        let now = upstream(&views.borrow_and_update(), born);
        let generation = |upstream: &Option<Upstream>| upstream.as_ref().map(|it| it.generation);
        name.send_if_modified(|named| {
            let changed = generation(named) != generation(&now);
            *named = now;
            changed
        });
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = name.closed() => return,
        }
    }
}

/// One that is merely slow stays named: its turns are not over.
fn upstream(view: &View, born: Timestamp) -> Option<Upstream> {
    let lives = matches!(view.state, BackendState::Ready | BackendState::Unresponsive);
    let process = view.process.as_ref().filter(|_| lives)?;
    let password = process.password.clone();
    let missed_since = missed_since(&process.started_at, born);
    Some(Upstream { generation: view.generation.0, port: process.port, password, missed_since })
}

/// A backend older than this endpoint's gate was another daemon's, whose readers come back to this
/// one with what they have seen until then.
fn missed_since(started_at: &str, born: Timestamp) -> Option<u64> {
    let started: Timestamp = started_at.parse().ok()?;
    let is_adopted = started + SignedDuration::from_secs(1) < born;
    let is_young = Timestamp::now().duration_since(born) < COMING_BACK;
    (is_adopted && is_young).then(|| u64::try_from(born.as_millisecond()).ok()).flatten()
}

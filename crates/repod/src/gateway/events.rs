//! Event streams (`/event`, `/global/event`): the one place they all come through. They are the
//! hub's, so they stay open when the backend behind them does not.

use super::Visit;
use super::body::GateBody;
use super::hold;
use super::refuse::{Reason, Refusal};
use super::route::Route;
use crate::hub::{CutSignal, Filter};
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use std::sync::{Arc, Mutex, PoisonError};

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
    let mut reader = visit.handle.hub().subscribe(filter(&visit, route, request), last);
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
    let directory = route.directory(request.headers());
    Filter::Directory(match directory {
        Some(directory) => directory,
        None => visit.handle.repo().root.display().to_string(),
    })
}

//! What every request has: somebody who may ask, a name that goes with it, and a count.

use super::Peer;
use super::answer::Failure;
use crate::daemon::Daemon;
use crate::tally::{Label, Tally};
use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::metrics::counter::Counter;
use repod_proto::{
    ApiError, ErrorBody, ErrorCode, REPOD_VERSION, REQUEST_ID_HEADER, RequestId, VERSION_HEADER,
};
use std::borrow::Cow;
use std::sync::Arc;
use tracing::Instrument as _;

/// What was asked on the socket, and what was answered with an error.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) requests: Counter,
    pub(crate) errors: Tally<ErrorCode>,
}

impl Label for ErrorCode {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = Self::ALL;

    fn text(self) -> Cow<'static, str> {
        self.to_string().into()
    }
}

/// Rides on an answer that is an error.
#[derive(Clone)]
pub(super) struct Failed(pub(super) ApiError);

/// Only the user who owns the daemon may speak to it.
pub(super) async fn admit(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    daemon.calls.requests.inc();
    let id = match name(request.headers()) {
        Ok(id) => id,
        Err(error) => return Failure(error).into_response(),
    };
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::info_span!("request", request_id = %id, %method, path);
    let mut response = if peer.is_owner() {
        request.extensions_mut().insert(id.clone());
        next.run(request).instrument(span.clone()).await
    } else {
        let message = format!("this daemon belongs to another user (you are uid {})", peer.uid());
        Failure(ApiError::new(ErrorCode::Forbidden, message)).into_response()
    };
    if let Some(Failed(error)) = response.extensions_mut().remove() {
        span.in_scope(|| tracing::debug!(code = %error.code, %error, "answered with an error"));
        daemon.calls.errors.count(error.code);
        let error = error.detail("request_id", id.as_str());
        response = (response.status(), Json(ErrorBody { error })).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, HeaderValue::from_static(REPOD_VERSION));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    response
}

/// The caller's name for it; a new one where there is none that can be used.
fn name(headers: &HeaderMap) -> Result<RequestId, ApiError> {
    let given = headers.get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    match given {
        Some(id) => Ok(id),
        None => repod_client::random_request(),
    }
}

//! From extractors and results to the one shape of an error, and to streams of lines.

use super::request::Failed;
use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use repod_proto::{ApiError, ErrorBody, ErrorCode, StreamItem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// An error on its way out.
pub(crate) struct Failure(pub(crate) ApiError);

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let failed = Extension(Failed(self.0.clone()));
        (status, failed, Json(ErrorBody { error: self.0 })).into_response()
    }
}

/// A JSON body, whatever its content type says: `curl -d` sends none that fits.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let invalid = |cause: String| {
            Failure(ApiError::new(
                ErrorCode::InvalidRequest,
                format!("the body can't be used: {cause}"),
            ))
        };
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| invalid(error.to_string()))?;
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| invalid(error.to_string()))
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => {
                let message = format!("the query can't be used: {error}");
                Err(Failure(ApiError::new(ErrorCode::InvalidRequest, message)))
            }
        }
    }
}

/// A body of one JSON document a line.
pub(crate) fn ndjson(items: impl Stream<Item = StreamItem> + Send + 'static) -> Response {
    let lines = items.map(|item| {
        let mut line = serde_json::to_vec(&item).unwrap_or_default();
        line.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    let body = axum::body::Body::from_stream(lines);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// How often an answer that only stays open says that the daemon is still there.
const BEAT: Duration = Duration::from_secs(20);

/// An answer of one line that then stays open, and holds something as long as it is read.
pub(crate) fn held(first: &impl Serialize, what: impl Send + 'static) -> Response {
    let mut first = serde_json::to_vec(first).unwrap_or_default();
    first.push(b'\n');
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lines = stream::unfold((what, beats, Some(first)), |(what, mut beats, first)| async move {
        beats.tick().await;
        let line = first.map_or(Bytes::from_static(b"{}\n"), Bytes::from);
        Some((Ok::<_, Infallible>(line), (what, beats, None)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, axum::body::Body::from_stream(lines)).into_response()
}

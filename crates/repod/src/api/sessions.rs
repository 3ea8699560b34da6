//! Agent sessions on the socket API.
//!
//! A turn is streamed as NDJSON, or as server-sent events to whom accepts those; it can be followed again
//! from any event on, by its number (`?after=`, or `Last-Event-ID`).

use super::answer::{Body, Failure, Query};
use crate::daemon::Daemon;
use crate::ops::sessions as ops;
use crate::sessions::Told;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use repod_proto::{
    ApiError, ErrorBody, ErrorCode, InstanceDisposeReport, InstanceDisposeRequest, InstanceInfo,
    RequestId, SessionAbortReport, SessionAbortRequest, SessionAnswer, SessionDetail,
    SessionEnsured, SessionInfo, SessionQuery, SessionRequest, SessionsQuery, TurnBegun,
    TurnRequest,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

type App = State<Arc<Daemon>>;

/// A prompt with its files.
const BODY_MAX: usize = 34 * 1024 * 1024;
/// How often a stream that has nothing to tell says that it is there.
const BEAT: Duration = Duration::from_secs(15);
const NDJSON: &str = "application/x-ndjson";
const SSE: &str = "text/event-stream";

pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/sessions", post(ensure).get(list))
        .route("/v1/sessions/{id}", get(show))
        .route("/v1/sessions/{id}/turns", post(prompt).layer(DefaultBodyLimit::max(BODY_MAX)))
        .route("/v1/sessions/{id}/turns/{turn}", get(turn))
        .route("/v1/sessions/{id}/abort", post(abort))
        .route("/v1/sessions/{id}/close", post(close))
        .route("/v1/sessions/{id}/answer", post(answer))
        .route("/v1/instances", get(instances))
        .route("/v1/instances/dispose", post(dispose))
}

/// Create a session, or resume the one of this name.
#[utoipa::path(post, path = "/v1/sessions", request_body = SessionRequest,
    responses((status = 200, body = SessionEnsured), (status = "default", body = ErrorBody)))]
pub(super) async fn ensure(
    State(daemon): App,
    Body(request): Body<SessionRequest>,
) -> Result<Json<SessionEnsured>, Failure> {
    Ok(Json(ops::ensure(&daemon, request).await?))
}

/// Sessions, the last active first.
#[utoipa::path(get, path = "/v1/sessions",
    params(("path" = Option<String>, Query, description = "a path in the only repo wanted"),
        ("closed" = Option<bool>, Query, description = "closed ones too"),
        ("limit" = Option<u32>, Query, description = "the most wanted; 100 where absent")),
    responses((status = 200, body = Vec<SessionInfo>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(
    State(daemon): App,
    Query(query): Query<SessionsQuery>,
) -> Result<Json<Vec<SessionInfo>>, Failure> {
    Ok(Json(ops::list(&daemon, &query).await?))
}

/// One session, with its last turns.
#[utoipa::path(get, path = "/v1/sessions/{id}",
    params(("id" = String, Path, description = "the session's name"),
        ("path" = Option<String>, Query, description = "a path in its repo; needed when another has one of this name"),
        ("repo_id" = Option<String>, Query, description = "its repo, by id")),
    responses((status = 200, body = SessionDetail), (status = "default", body = ErrorBody)))]
pub(super) async fn show(
    State(daemon): App,
    Path(id): Path<String>,
    Query(query): Query<SessionQuery>,
) -> Result<Json<SessionDetail>, Failure> {
    Ok(Json(ops::show(&daemon, &id, &query).await?))
}

/// Prompt a session. With `Accept: application/x-ndjson` or `text/event-stream` the turn is streamed, one
/// `TurnLine` each, to its end; else the answer says that it is in line.
#[utoipa::path(post, path = "/v1/sessions/{id}/turns", request_body = TurnRequest,
    params(("id" = String, Path, description = "the session's name"),
        ("path" = Option<String>, Query, description = "a path in its repo"),
        ("repo_id" = Option<String>, Query, description = "its repo, by id"),
        ("after" = Option<u64>, Query, description = "events up to this one are not told")),
    responses((status = 200, body = TurnBegun), (status = "default", body = ErrorBody)))]
pub(super) async fn prompt(
    State(daemon): App,
    Path(id): Path<String>,
    Extension(by): Extension<RequestId>,
    headers: HeaderMap,
    Query(mut query): Query<SessionQuery>,
    Body(request): Body<TurnRequest>,
) -> Result<Response, Failure> {
    query.after = last_event(&headers)?.or(query.after);
    let (begun, turn) = ops::prompt(&daemon, &id, &query, (request, by)).await?;
    Ok(match Form::of(&headers) {
        None => Json(begun).into_response(),
        Some(form) => streamed(ops::follow(&daemon, turn), form),
    })
}

/// Follow a turn, by its name: NDJSON, or server-sent events to whom accepts those.
#[utoipa::path(get, path = "/v1/sessions/{id}/turns/{turn}",
    params(("id" = String, Path, description = "the session's name"),
        ("turn" = String, Path, description = "the turn's name"),
        ("path" = Option<String>, Query, description = "a path in its repo"),
        ("repo_id" = Option<String>, Query, description = "its repo, by id"),
        ("after" = Option<u64>, Query, description = "events up to this one are not told")),
    responses((status = 200, body = repod_proto::TurnLine), (status = "default", body = ErrorBody)))]
pub(super) async fn turn(
    State(daemon): App,
    Path((id, turn)): Path<(String, String)>,
    headers: HeaderMap,
    Query(mut query): Query<SessionQuery>,
) -> Result<Response, Failure> {
    query.after = last_event(&headers)?.or(query.after);
    let turn = ops::turn(&daemon, (&id, &turn), &query).await?;
    let form = Form::of(&headers).unwrap_or(Form::Lines);
    Ok(streamed(ops::follow(&daemon, turn), form))
}

/// End what a session does: one turn, or all in line.
#[utoipa::path(post, path = "/v1/sessions/{id}/abort", request_body = SessionAbortRequest,
    params(("id" = String, Path, description = "the session's name"),
        ("path" = Option<String>, Query, description = "a path in its repo"),
        ("repo_id" = Option<String>, Query, description = "its repo, by id")),
    responses((status = 200, body = SessionAbortReport), (status = "default", body = ErrorBody)))]
pub(super) async fn abort(
    State(daemon): App,
    Path(id): Path<String>,
    Query(query): Query<SessionQuery>,
    Body(request): Body<SessionAbortRequest>,
) -> Result<Json<SessionAbortReport>, Failure> {
    Ok(Json(ops::abort(&daemon, &id, &query, &request).await?))
}

/// Close a session; its conversation stays in the agent's own records.
#[utoipa::path(post, path = "/v1/sessions/{id}/close",
    params(("id" = String, Path, description = "the session's name"),
        ("path" = Option<String>, Query, description = "a path in its repo"),
        ("repo_id" = Option<String>, Query, description = "its repo, by id")),
    responses((status = 200, body = SessionDetail), (status = "default", body = ErrorBody)))]
pub(super) async fn close(
    State(daemon): App,
    Path(id): Path<String>,
    Query(query): Query<SessionQuery>,
) -> Result<Json<SessionDetail>, Failure> {
    Ok(Json(ops::close(&daemon, &id, &query).await?))
}

/// Answer a permission or a question of a session's turn.
#[utoipa::path(post, path = "/v1/sessions/{id}/answer", request_body = SessionAnswer,
    params(("id" = String, Path, description = "the session's name"),
        ("path" = Option<String>, Query, description = "a path in its repo"),
        ("repo_id" = Option<String>, Query, description = "its repo, by id")),
    responses((status = 200, description = "it was answered"), (status = "default", body = ErrorBody)))]
pub(super) async fn answer(
    State(daemon): App,
    Path(id): Path<String>,
    Query(query): Query<SessionQuery>,
    Body(request): Body<SessionAnswer>,
) -> Result<Json<serde_json::Value>, Failure> {
    ops::answer(&daemon, &id, &query, &request).await?;
    Ok(Json(serde_json::json!({})))
}

/// Directories that agent sessions have open.
#[utoipa::path(get, path = "/v1/instances",
    responses((status = 200, body = Vec<InstanceInfo>), (status = "default", body = ErrorBody)))]
pub(super) async fn instances(State(daemon): App) -> Json<Vec<InstanceInfo>> {
    Json(ops::instances(&daemon))
}

/// Close directories that agent sessions have open, when those who work there have left; or open one anew.
#[utoipa::path(post, path = "/v1/instances/dispose", request_body = InstanceDisposeRequest,
    responses((status = 200, body = InstanceDisposeReport), (status = "default", body = ErrorBody)))]
pub(super) async fn dispose(
    State(daemon): App,
    Body(request): Body<InstanceDisposeRequest>,
) -> Result<Json<InstanceDisposeReport>, Failure> {
    Ok(Json(ops::dispose(&daemon, request).await?))
}

/// How a turn is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Events,
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
        let has = |kind: &str| accept.split(',').any(|one| one.trim().starts_with(kind));
        match (has(SSE), has(NDJSON)) {
            (true, _) => Some(Self::Events),
            (_, true) => Some(Self::Lines),
            _ => None,
        }
    }

    fn write(self, (id, line): &Told) -> Bytes {
        let text = match self {
            Self::Lines => [line, &b"\n"[..]].concat(),
            Self::Events => [format!("id: {id}\ndata: ").as_bytes(), line, &b"\n\n"[..]].concat(),
        };
        Bytes::from(text)
    }

    /// What says that the stream is there, and nothing else.
    fn beat(self) -> Bytes {
        match self {
            Self::Lines => Bytes::from_static(b"\n"),
            Self::Events => Bytes::from_static(b":\n\n"),
        }
    }
}

fn streamed(
    told: impl Stream<Item = Result<Told, ApiError>> + Send + 'static,
    form: Form,
) -> Response {
    let told = Box::pin(told);
    let bytes = futures_util::stream::unfold(Some(told), move |told| async move {
        let mut told = told?;
        match tokio::time::timeout(BEAT, told.next()).await {
            Err(_) => Some((form.beat(), Some(told))),
            Ok(Some(Ok(item))) => Some((form.write(&item), Some(told))),
            Ok(Some(Err(error))) => {
                let line = serde_json::to_vec(&ErrorBody { error }).unwrap_or_default();
                Some((form.write(&(0, Bytes::from(line))), None))
            }
            Ok(None) => None,
        }
    });
    let body = axum::body::Body::from_stream(bytes.map(Ok::<_, Infallible>));
    let kind = match form {
        Form::Lines => NDJSON,
        Form::Events => SSE,
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = HeaderValue::to_str(value).ok().and_then(|text| text.trim().parse().ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => {
            let message = "the Last-Event-ID is no number of an event";
            Err(Failure(ApiError::new(ErrorCode::InvalidRequest, message)))
        }
    }
}

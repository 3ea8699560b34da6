//! The socket API: HTTP/1.1 and JSON on `repod.sock`. Translates, and calls one operation each.

mod answer;
mod guard;
mod history;
mod listener;
mod request;
mod route;
mod sessions;
mod web;

pub(crate) use answer::{Body as JsonBody, Failure};
pub(crate) use listener::{Peer, PeerListener};
pub(crate) use request::Calls;
pub(crate) use web::dashboard;

use crate::daemon::Daemon;
use crate::ops;
use answer::{Body, Query};
use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use repod_proto::{
    Activity, ApiError, DaemonInfo, EnsureRequest, ErrorCode, GcReport, GcRequest, HibernateReport,
    HibernateRequest, LeaseHoldRequest, LeaseInfo, LeaseReleaseRequest, RepoStatus, RepoSummary,
    RestartRequest, ShutdownReport, ShutdownRequest, StatusQuery, StopReport, StopRequest,
};
use std::sync::Arc;
use utoipa::OpenApi;

type App = State<Arc<Daemon>>;

/// Every route there is.
pub(crate) fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/ensure", post(ensure))
        .route("/v1/ps", get(ps))
        .route("/v1/activity", get(activity))
        .route("/v1/status", get(status))
        .route("/v1/stop", post(stop))
        .route("/v1/hibernate", post(hibernate))
        .route("/v1/restart", post(restart))
        .merge(history::router())
        .route("/v1/leases", get(leases))
        .route("/v1/lease/hold", post(hold))
        .route("/v1/lease/release", post(release))
        .merge(route::router())
        .merge(sessions::router())
        .merge(web::router())
        .route("/v1/gc", post(gc))
        .merge(guard::router())
        .route("/v1/shutdown", post(shutdown))
        .route("/v1/version", get(version))
        .route("/metrics", get(metrics))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_route)
        .layer(middleware::from_fn_with_state(Arc::clone(&daemon), request::admit))
        .with_state(daemon)
}

async fn no_such_route(request: Request) -> Failure {
    let message = format!("there is no `{} {}`", request.method(), request.uri().path());
    Failure(ApiError::new(ErrorCode::NoSuchRoute, message).hint("see docs/openapi.json"))
}

/// ensureRunning. With `Accept: application/x-ndjson` progress is streamed, one `StreamItem` a line.
#[utoipa::path(post, path = "/v1/ensure", request_body = EnsureRequest,
    responses((status = 200, body = repod_proto::Endpoint), (status = "default", body = repod_proto::ErrorBody)))]
async fn ensure(
    State(daemon): App,
    headers: HeaderMap,
    Body(request): Body<EnsureRequest>,
) -> Result<Response, Failure> {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    if accept == Some(b"application/x-ndjson") {
        return Ok(answer::ndjson(ops::ensure_stream(daemon, request)));
    }
    Ok(Json(ops::ensure(&daemon, request).await?).into_response())
}

/// Every repo of this home.
#[utoipa::path(get, path = "/v1/ps",
    responses((status = 200, body = Vec<RepoSummary>), (status = "default", body = repod_proto::ErrorBody)))]
async fn ps(State(daemon): App) -> Result<Json<Vec<RepoSummary>>, Failure> {
    Ok(Json(ops::ps(&daemon).await?))
}

/// What goes on in every repo just now, out of the daemon's memory.
#[utoipa::path(get, path = "/v1/activity",
    responses((status = 200, body = Activity), (status = "default", body = repod_proto::ErrorBody)))]
async fn activity(State(daemon): App) -> Result<Json<Activity>, Failure> {
    Ok(Json(ops::activity(&daemon).await?))
}

/// One repo in full.
#[utoipa::path(get, path = "/v1/status", params(("path" = String, Query, description = "an absolute path in the repo")),
    responses((status = 200, body = RepoStatus), (status = "default", body = repod_proto::ErrorBody)))]
async fn status(
    State(daemon): App,
    Query(query): Query<StatusQuery>,
) -> Result<Json<RepoStatus>, Failure> {
    Ok(Json(ops::status(&daemon, &query.path).await?))
}

/// End backends with everything they started.
#[utoipa::path(post, path = "/v1/stop", request_body = StopRequest,
    responses((status = 200, body = StopReport), (status = "default", body = repod_proto::ErrorBody)))]
async fn stop(
    State(daemon): App,
    Body(request): Body<StopRequest>,
) -> Result<Json<StopReport>, Failure> {
    Ok(Json(ops::stop(&daemon, &request.target).await?))
}

/// End backends that nobody needs just now; the next request wakes them.
#[utoipa::path(post, path = "/v1/hibernate", request_body = HibernateRequest,
    responses((status = 200, body = HibernateReport), (status = "default", body = repod_proto::ErrorBody)))]
async fn hibernate(
    State(daemon): App,
    Body(request): Body<HibernateRequest>,
) -> Result<Json<HibernateReport>, Failure> {
    Ok(Json(ops::hibernate(&daemon, &request.target).await?))
}

/// Stop and start; unparks a failed repo.
#[utoipa::path(post, path = "/v1/restart", request_body = RestartRequest,
    responses((status = 200, body = Vec<repod_proto::Endpoint>), (status = "default", body = repod_proto::ErrorBody)))]
async fn restart(
    State(daemon): App,
    Body(request): Body<RestartRequest>,
) -> Result<Json<Vec<repod_proto::Endpoint>>, Failure> {
    Ok(Json(ops::restart(&daemon, request).await?))
}

/// Who may write where, and who waits for it.
#[utoipa::path(get, path = "/v1/leases",
    responses((status = 200, body = Vec<LeaseInfo>), (status = "default", body = repod_proto::ErrorBody)))]
async fn leases(State(daemon): App) -> Result<Json<Vec<LeaseInfo>>, Failure> {
    Ok(Json(ops::leases(&daemon).await?))
}

/// Hold a lease from outside, as long as the answer is read: NDJSON, the first line a `LeaseHeld`.
#[utoipa::path(post, path = "/v1/lease/hold", request_body = LeaseHoldRequest,
    responses((status = 200, body = repod_proto::LeaseHeld), (status = "default", body = repod_proto::ErrorBody)))]
async fn hold(
    State(daemon): App,
    Body(request): Body<LeaseHoldRequest>,
) -> Result<Response, Failure> {
    let (held, granted) = ops::hold(&daemon, request).await?;
    Ok(answer::held(&held, granted))
}

/// Take a lease away.
#[utoipa::path(post, path = "/v1/lease/release", request_body = LeaseReleaseRequest,
    responses((status = 200, body = repod_proto::LeaseReleaseReport), (status = "default", body = repod_proto::ErrorBody)))]
async fn release(
    State(daemon): App,
    Body(request): Body<LeaseReleaseRequest>,
) -> Result<Json<repod_proto::LeaseReleaseReport>, Failure> {
    Ok(Json(ops::release(&daemon, request).await?))
}

/// Clear stale registry entries and left-over processes.
#[utoipa::path(post, path = "/v1/gc", request_body = GcRequest,
    responses((status = 200, body = GcReport), (status = "default", body = repod_proto::ErrorBody)))]
async fn gc(State(daemon): App, Body(request): Body<GcRequest>) -> Result<Json<GcReport>, Failure> {
    Ok(Json(ops::gc(&daemon, &request).await?))
}

/// End the daemon.
#[utoipa::path(post, path = "/v1/shutdown", request_body = ShutdownRequest,
    responses((status = 200, body = ShutdownReport), (status = "default", body = repod_proto::ErrorBody)))]
async fn shutdown(
    State(daemon): App,
    Body(request): Body<ShutdownRequest>,
) -> Result<Json<ShutdownReport>, Failure> {
    Ok(Json(ops::shutdown(&daemon, &request).await?))
}

/// Which daemon this is.
#[utoipa::path(get, path = "/v1/version", responses((status = 200, body = DaemonInfo)))]
async fn version(State(daemon): App) -> Json<DaemonInfo> {
    Json(daemon.info())
}

/// What the daemon counts, as OpenMetrics text (Prometheus reads it too).
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), (status = "default", body = repod_proto::ErrorBody)))]
async fn metrics(State(daemon): App) -> Result<Response, Failure> {
    let text = crate::metrics::text(&daemon).await?;
    Ok(([(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text).into_response())
}

#[derive(OpenApi)]
#[openapi(
    paths(
        ensure,
        ps,
        activity,
        status,
        stop,
        hibernate,
        restart,
        leases,
        hold,
        release,
        gc,
        shutdown,
        version,
        metrics,
        history::adopt,
        history::eject,
        route::apply,
        route::write,
        route::mutations,
        sessions::ensure,
        sessions::list,
        sessions::show,
        sessions::prompt,
        sessions::turn,
        sessions::abort,
        sessions::close,
        sessions::answer,
        sessions::instances,
        sessions::dispose,
        web::web,
        web::memory,
        web::audit
    ),
    components(schemas(repod_proto::StreamItem, repod_proto::TurnLine)),
    info(
        title = "repod socket API",
        description = "HTTP/1.1 and JSON on `repod.sock`; only the owner's uid is let in."
    )
)]
struct Document;

/// The OpenAPI document, made from the types.
pub(crate) fn openapi() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checked_in_document_is_the_one_made_from_the_types() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let checked_in = fs_err::read_to_string(file).unwrap();
        assert_eq!(
            checked_in.trim_end(),
            super::openapi().trim_end(),
            "write it anew: repod openapi > docs/openapi.json"
        );
    }
}

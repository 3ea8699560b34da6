//! Routed writes on the socket API, and the journal.

use super::answer::{Body, Failure, Query};
use crate::daemon::Daemon;
use crate::ops::route as ops;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Extension, Json};
use repod_proto::{
    MutationInfo, MutationsQuery, RequestId, RouteApplyRequest, RouteReport, RouteWriteRequest,
};
use std::sync::Arc;

type App = State<Arc<Daemon>>;

/// 24 MiB of patch or files as base64, and their frame.
const BODY_MAX: usize = 33 * 1024 * 1024;

pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/route/apply", post(apply))
        .route("/v1/route/write", post(write))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .route("/v1/mutations", get(mutations))
}

/// Apply a patch in a repo through its backend, under its branch's lease.
#[utoipa::path(post, path = "/v1/route/apply", request_body = RouteApplyRequest,
    responses((status = 200, body = RouteReport), (status = "default", body = repod_proto::ErrorBody)))]
pub(super) async fn apply(
    State(daemon): App,
    Extension(id): Extension<RequestId>,
    Body(request): Body<RouteApplyRequest>,
) -> Result<Json<RouteReport>, Failure> {
    Ok(Json(ops::apply(daemon, request, id).await?))
}

/// Put files into repos through their backends; all or nothing.
#[utoipa::path(post, path = "/v1/route/write", request_body = RouteWriteRequest,
    responses((status = 200, body = RouteReport), (status = "default", body = repod_proto::ErrorBody)))]
pub(super) async fn write(
    State(daemon): App,
    Extension(id): Extension<RequestId>,
    Body(request): Body<RouteWriteRequest>,
) -> Result<Json<RouteReport>, Failure> {
    Ok(Json(ops::write(daemon, request, id).await?))
}

/// What crossed repos, the newest first.
#[utoipa::path(get, path = "/v1/mutations",
    params(("limit" = Option<u32>, Query, description = "the most entries wanted; 100 where absent")),
    responses((status = 200, body = Vec<MutationInfo>), (status = "default", body = repod_proto::ErrorBody)))]
pub(super) async fn mutations(
    State(daemon): App,
    Query(query): Query<MutationsQuery>,
) -> Result<Json<Vec<MutationInfo>>, Failure> {
    Ok(Json(ops::mutations(&daemon, &query).await?))
}

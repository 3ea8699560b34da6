//! Sessions from the user's shared database, and back, on the socket API.

use super::answer::{Body, Failure};
use crate::daemon::Daemon;
use crate::ops;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use repod_proto::{AdoptRequest, EjectRequest, HistoryReport};
use std::sync::Arc;

type App = State<Arc<Daemon>>;

pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new().route("/v1/adopt", post(adopt)).route("/v1/eject", post(eject))
}

/// Bring over from the user's shared OpenCode database what was added there since.
#[utoipa::path(post, path = "/v1/adopt", request_body = AdoptRequest,
    responses((status = 200, body = HistoryReport), (status = "default", body = repod_proto::ErrorBody)))]
pub(super) async fn adopt(
    State(daemon): App,
    Body(request): Body<AdoptRequest>,
) -> Result<Json<HistoryReport>, Failure> {
    Ok(Json(ops::adopt(&daemon, request).await?))
}

/// Bring a repo's sessions back into the user's shared OpenCode database, and put its own aside.
#[utoipa::path(post, path = "/v1/eject", request_body = EjectRequest,
    responses((status = 200, body = HistoryReport), (status = "default", body = repod_proto::ErrorBody)))]
pub(super) async fn eject(
    State(daemon): App,
    Body(request): Body<EjectRequest>,
) -> Result<Json<HistoryReport>, Failure> {
    Ok(Json(ops::eject(&daemon, request).await?))
}

//! The dashboard's part of the API: how it is opened, and what a browser may ask.

use super::answer::{Body, Failure, Query};
use super::{route, sessions};
use crate::daemon::Daemon;
use crate::ops;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use repod_proto::{
    ErrorBody, MemoryHistory, MemoryQuery, RepoId, RestartRequest, Target, WebOpened,
};
use serde::Deserialize;
use std::sync::Arc;

type App = State<Arc<Daemon>>;

pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/web", post(web))
        .route("/v1/memory", get(memory))
        .route("/v1/audit", get(audit))
}

/// What a browser may ask and do. No answer has a password or a capability in it.
pub(crate) fn dashboard(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/version", get(super::version))
        .route("/v1/ps", get(super::ps))
        .route("/v1/activity", get(super::activity))
        .route("/v1/leases", get(super::leases))
        .route("/v1/mutations", get(route::mutations))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{id}", get(sessions::show))
        .route("/v1/sessions/{id}/turns/{turn}", get(sessions::turn))
        .route("/v1/sessions/{id}/abort", post(sessions::abort))
        .route("/v1/memory", get(memory))
        .route("/v1/audit", get(audit))
        .route("/v1/stop", post(super::stop))
        .route("/v1/hibernate", post(super::hibernate))
        .route("/v1/restart", post(restart))
        .route("/v1/lease/release", post(super::release))
        .with_state(daemon)
}

/// Serve the dashboard, and invite a browser to it.
#[utoipa::path(post, path = "/v1/web",
    responses((status = 200, body = WebOpened), (status = "default", body = ErrorBody)))]
pub(super) async fn web(State(daemon): App) -> Result<Json<WebOpened>, Failure> {
    Ok(Json(ops::web(&daemon).await?))
}

/// What a repo's backends used over time.
#[utoipa::path(get, path = "/v1/memory",
    params(("path" = Option<String>, Query, description = "an absolute path in the repo"),
        ("repo_id" = Option<String>, Query, description = "the repo, by id"),
        ("after" = Option<String>, Query, description = "only what was measured after this (RFC 3339 in UTC)"),
        ("points" = Option<u32>, Query, description = "the most samples wanted, 2 to 5000; 500 where absent")),
    responses((status = 200, body = MemoryHistory), (status = "default", body = ErrorBody)))]
pub(super) async fn memory(
    State(daemon): App,
    Query(query): Query<MemoryQuery>,
) -> Result<Json<MemoryHistory>, Failure> {
    Ok(Json(ops::memory(&daemon, query).await?))
}

/// What `repod audit` finds on this machine.
#[utoipa::path(get, path = "/v1/audit",
    responses((status = 200, body = repod_audit::Report), (status = "default", body = ErrorBody)))]
pub(super) async fn audit(State(daemon): App) -> Result<Json<Arc<repod_audit::Report>>, Failure> {
    Ok(Json(ops::audit(&daemon).await?))
}

#[derive(Deserialize)]
struct Again {
    target: Target,
}

/// As `POST /v1/restart`, but tells only who was restarted, and makes no new credentials.
async fn restart(
    State(daemon): App,
    Body(Again { target }): Body<Again>,
) -> Result<Json<Vec<RepoId>>, Failure> {
    let request = RestartRequest { target, env: None, rotate: false };
    let endpoints = ops::restart(&daemon, request).await?;
    Ok(Json(endpoints.into_iter().map(|endpoint| endpoint.repo_id).collect()))
}

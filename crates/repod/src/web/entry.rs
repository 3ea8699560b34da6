//! Who may come in: first where the request comes from, then whether it has a pass.

use super::keys::Pass;
use super::serve::{Site, Visitor};
use super::unauthorized;
use crate::api::{Failure, JsonBody};
use crate::gateway::{Peer, is_loopback};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use repod_proto::{ApiError, ErrorCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

type Answer = Result<Response, Failure>;

/// Whether requests from there are listened to at all: another user, a page of another origin, and a
/// page that resolved a name of its own to this machine are not.
pub(super) async fn surroundings(
    Extension(visitor): Extension<Arc<Visitor>>,
    request: Request,
    next: Next,
) -> Answer {
    let forbidden = |message: &str| Failure(ApiError::new(ErrorCode::Forbidden, message));
    if let Peer::Foreign(uid) = visitor.peer {
        let message = format!("this dashboard belongs to another user, not to uid {uid}");
        return Err(forbidden(&message));
    }
    let Some(host) = only(request.headers(), &header::HOST).filter(|host| is_loopback(host)) else {
        return Err(forbidden("the `Host` of a request must be 127.0.0.1, [::1] or localhost"));
    };
    if request.uri().authority().is_some_and(|authority| !is_loopback(authority.as_str())) {
        return Err(forbidden("the target of a request must be this machine"));
    }
    if request.headers().contains_key(header::ORIGIN) {
        let ours = format!("http://{host}");
        if only(request.headers(), &header::ORIGIN) != Some(ours.as_str()) {
            return Err(forbidden("pages of another origin may not use the dashboard"));
        }
    }
    // What browsers say of themselves: a page of elsewhere may link here, and do nothing more.
    let site = request.headers().get("sec-fetch-site").map(header::HeaderValue::as_bytes);
    let is_navigation = request.method() == Method::GET && request.uri().path() == "/";
    if !is_navigation && !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Err(forbidden("pages of another site may not use the dashboard"));
    }
    Ok(next.run(request).await)
}

/// Whether the request has a pass. A stream ends with it.
pub(super) async fn with_pass(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Arc<Visitor>>,
    request: Request,
    next: Next,
) -> Answer {
    let pass = bearer(request.headers()).and_then(|sent| site.keys.pass(sent));
    let Some(pass) = pass else {
        return Err(Failure(unauthorized("the dashboard needs a login")));
    };
    if !visitor.guest.introduce().await {
        let message = "too many connections to the dashboard are open";
        return Err(Failure(ApiError::new(ErrorCode::Forbidden, message).hint("close a tab")));
    }
    let response = next.run(request).await;
    Ok(if response.headers().contains_key(header::CONTENT_LENGTH) || !is_stream(&response) {
        response
    } else {
        response.map(|body| until(body, pass))
    })
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    matches!(kind, Some(b"application/x-ndjson" | b"text/event-stream"))
}

fn until(body: Body, pass: Pass) -> Body {
    Body::from_stream(body.into_data_stream().take_until(Box::pin(pass.ended())))
}

#[derive(Deserialize)]
pub(super) struct Login {
    invitation: String,
}

#[derive(Serialize)]
struct LoggedIn {
    pass: String,
    expires_at: String,
}

/// A pass for an invitation.
pub(super) async fn login(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Arc<Visitor>>,
    JsonBody(login): JsonBody<Login>,
) -> Answer {
    let Some((pass, expires_at)) = site.keys.admit(&login.invitation)? else {
        let message = "this link was used already, or has expired";
        return Err(Failure(unauthorized(message)));
    };
    visitor.guest.introduce().await;
    tracing::info!("somebody has logged in to the dashboard");
    Ok(Json(LoggedIn { pass, expires_at }).into_response())
}

/// Ends the pass it is asked with.
pub(super) async fn logout(State(site): State<Arc<Site>>, headers: HeaderMap) -> StatusCode {
    if let Some(sent) = bearer(&headers) {
        site.keys.end(sent);
    }
    StatusCode::NO_CONTENT
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = only(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(rest)
}

/// The header's value, if there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

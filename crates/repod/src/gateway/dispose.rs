//! `POST /instance/dispose` closes what a backend has open of a directory, and every turn in it ends.
//! OpenCode's terminal asks for it after a login (1.18.33: `/connect`, switching organisations), which
//! is fine on a server of its own. Here others may be at work, so it is done when nobody is.

use super::body::Sent;
use super::bound::DIRECTORY;
use super::forward::{self, Broken};
use super::refuse::{Reason, Refusal};
use super::route::Route;
use super::{Visit, hold};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use serde::Deserialize;
use std::collections::HashMap;

/// Largest list of sessions that is read.
const STATUS_MAX: usize = 4 * 1024 * 1024;

/// Of a session's status, all that is of interest.
#[derive(Deserialize)]
struct Status {
    #[serde(rename = "type")]
    kind: String,
}

/// Refuses while a turn is in flight there. Unknown is not idle.
pub(super) async fn unless_busy<B>(
    visit: &Visit,
    route: &Route,
    request: &Request<B>,
) -> Result<(), Refusal> {
    let busy = busy(visit, route, request).await?;
    if busy == 0 {
        return Ok(());
    }
    let message = match busy {
        1 => "a turn is in flight in this directory, and would end".to_owned(),
        busy => format!("{busy} turns are in flight in this directory, and would end"),
    };
    Err(Refusal::new(Reason::Busy, message)
        .hint("ask again when they have ended, or abort them; `repod restart` doesn't wait"))
}

async fn busy<B>(visit: &Visit, route: &Route, request: &Request<B>) -> Result<usize, Refusal> {
    let unknown = |error: &dyn std::fmt::Display| {
        let message = format!("it can't be found out what is in flight there: {error}");
        Refusal::new(Reason::Broke, message)
    };
    let path = match route.target.query() {
        Some(query) => format!("/session/status?{query}"),
        None => "/session/status".to_owned(),
    };
    let mut asked = Request::get(path);
    if let Some(directory) = request.headers().get(DIRECTORY) {
        asked = asked.header(DIRECTORY, directory);
    }
    let asked = asked.body(Sent::Right(Empty::new())).map_err(|error| unknown(&error))?;
    let upstream = hold::hold(visit, 0).await?;
    let (response, connection) = match forward::forward(&upstream, asked).await {
        Ok(answer) => answer,
        Err(Broken::Unsent(_, error)) => return Err(unknown(&error)),
        Err(Broken::Lost(error)) => return Err(unknown(&error)),
    };
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Err(unknown(&head.status));
    }
    let body = Limited::new(body, STATUS_MAX).collect().await.map_err(|error| unknown(&error))?;
    upstream.give_back(connection);
    let all: HashMap<String, Status> =
        serde_json::from_slice(&body.to_bytes()).map_err(|error| unknown(&error))?;
    Ok(all.values().filter(|status| status.kind != "idle").count())
}

//! WebSockets (OpenCode's terminals): the two connections are joined once both sides agree.

use super::body::{Finish, GateBody, Sent};
use super::refuse::Refusal;
use super::upstream::{Connection, Upstream};
use super::{Visit, hold, prepare};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, copy, split};

/// How long the other direction may go on when one has ended. OpenCode 1.18.33 does not always close
/// what its client has closed.
const LINGER: Duration = Duration::from_secs(5);

/// Sends the request on a connection of its own: what becomes a WebSocket is no longer HTTP.
pub(super) async fn forward(
    visit: Visit,
    mut request: Request<Incoming>,
) -> Result<Response<GateBody>, Refusal> {
    let ours = hyper::upgrade::on(&mut request);
    let mut request = request.map(|_| Sent::Right(Empty::<Bytes>::new()));
    let (upstream, mut connection) = connect(&visit).await?;
    upstream.address(request.headers_mut());
    let mut response =
        connection.0.send_request(request).await.map_err(|error| Refusal::broke(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let finish = Finish::new(upstream, connection, visit.client, None);
        return Ok(prepare::response(response).map(|body| finish.of(body)));
    }
    let theirs = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let joined = async {
            match tokio::try_join!(ours, theirs) {
                Ok((ours, theirs)) => join(ours, theirs).await,
                Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
            }
        };
        tokio::select! {
            () = joined => {}
            () = visit.gate.handle.rotated(visit.admitted) => {}
            () = visit.closed => {}
        }
        drop(visit.client);
    });
    let mut response = prepare::response(response).map(|_| GateBody::empty());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(response)
}

/// A connection to a backend that answers; as long as none is had nothing was sent.
async fn connect(visit: &Visit) -> Result<(Arc<Upstream>, Connection), Refusal> {
    loop {
        let upstream = hold::hold(visit, 0).await?;
        match upstream.connect().await {
            Ok(connection) => return Ok((upstream, connection)),
            Err(error) => hold::pause(visit, &error).await?,
        }
    }
}

/// Copies both ways until both have ended, or one has and the other takes too long.
async fn join(ours: Upgraded, theirs: Upgraded) {
    let (mut our_end, mut our_start) = split(TokioIo::new(ours));
    let (mut their_end, mut their_start) = split(TokioIo::new(theirs));
    let up = async {
        let _ = copy(&mut our_end, &mut their_start).await;
        let _ = their_start.shutdown().await;
    };
    let down = async {
        let _ = copy(&mut their_end, &mut our_start).await;
        let _ = our_start.shutdown().await;
    };
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut up => drop(tokio::time::timeout(LINGER, down).await),
        () = &mut down => drop(tokio::time::timeout(LINGER, up).await),
    }
}

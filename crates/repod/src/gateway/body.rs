//! finish: bodies pass through piece by piece, and when one has ended its connection goes back to
//! the pool and its client is no longer counted.

use super::handles::{Closed, Tie};
use super::patient::Arriving;
use super::upstream::{Connection, Upstream};
use crate::backend::ClientGuard;
use crate::coordination::Granted;
use crate::hub::Reader;
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of an answer.
pub(super) enum GateBody {
    /// The gateway's own words.
    Own(Full<Bytes>),
    /// The backend's.
    Upstream(Box<Passing>),
    /// The hub's.
    Events(Box<Events>),
    /// One of them, for a program that may close what it takes for its server.
    Tied(Box<Tied>),
}

/// What breaks off an answer.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request on its way to the backend.
pub(super) type Sent = http_body_util::Either<Arriving, Empty<Bytes>>;

/// A body that is passed on.
pub(super) struct Passing {
    body: Incoming,
    finish: Finish,
}

/// A stream of events; its reader is a client as long as it is held.
pub(super) struct Events {
    reader: Reader,
    _client: ClientGuard,
}

/// A body that breaks off when its handle is closed.
pub(super) struct Tied {
    body: GateBody,
    closed: Closed,
    _tie: Tie,
}

/// What is to be done when an answer has ended.
pub(super) struct Finish {
    upstream: Arc<Upstream>,
    connection: Option<Connection>,
    _client: ClientGuard,
    /// What it may write under.
    _lease: Option<Granted>,
}

impl Finish {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        connection: Connection,
        client: ClientGuard,
        lease: Option<Granted>,
    ) -> Self {
        Self { upstream, connection: Some(connection), _client: client, _lease: lease }
    }

    pub(super) fn of(self, body: Incoming) -> GateBody {
        GateBody::Upstream(Box::new(Passing { body, finish: self }))
    }
}

impl GateBody {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }

    pub(super) fn events(reader: Reader, client: ClientGuard) -> Self {
        Self::Events(Box::new(Events { reader, _client: client }))
    }

    /// The same, as long as its handle is there.
    pub(super) fn tied(self, tie: Tie) -> Self {
        Self::Tied(Box::new(Tied { body: self, closed: tie.closed(), _tie: tie }))
    }

    pub(super) fn empty() -> Self {
        Self::Own(Full::default())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // An answer that was read to its end leaves the connection as good as new. One that was not
        // (the client went away) takes the connection with it: that is how the backend hears of it.
        if self.body.is_end_stream()
            && let Some(connection) = self.finish.connection.take()
        {
            self.finish.upstream.give_back(connection);
        }
    }
}

impl Body for GateBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Upstream(passing) => {
                let frame = ready!(Pin::new(&mut passing.body).poll_frame(context));
                if frame.is_none()
                    && let Some(connection) = passing.finish.connection.take()
                {
                    passing.finish.upstream.give_back(connection);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::Tied(tied) => {
                if tied.closed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Some(Err("the handle was closed".into())));
                }
                Pin::new(&mut tied.body).poll_frame(context)
            }
            Self::Events(events) => {
                let bytes = ready!(Pin::new(&mut events.reader).poll_next(context));
                Poll::Ready(bytes.map(|Ok(bytes)| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(passing) => passing.body.is_end_stream(),
            Self::Events(_) => false,
            Self::Tied(tied) => tied.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(passing) => passing.body.size_hint(),
            Self::Events(_) => SizeHint::new(),
            Self::Tied(tied) => tied.body.size_hint(),
        }
    }
}

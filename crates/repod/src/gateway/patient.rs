//! Patience with clients, and its end: one that takes nothing of its answer, and one whose body
//! stops coming. Neither may hold a connection, and what hangs on it, for ever.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A limit that runs while nothing moves.
struct Stall {
    limit: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn new(limit: Duration) -> Self {
        Self { limit, running: None }
    }

    /// `polled` as it is, or `late` when it has been pending for too long.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<T>,
        late: impl FnOnce() -> T,
    ) -> Poll<T> {
        if polled.is_ready() {
            self.running = None;
            return polled;
        }
        let limit = self.limit;
        let running = self.running.get_or_insert_with(|| Box::pin(sleep(limit)));
        running.as_mut().poll(context).map(|()| late())
    }
}

/// A connection whose client must take what it is sent.
pub(crate) struct Patient<T> {
    io: T,
    stall: Stall,
}

impl<T> Patient<T> {
    pub(crate) fn new(io: T, limit: Duration) -> Self {
        Self { io, stall: Stall::new(limit) }
    }
}

fn takes_nothing() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { io, stall } = self.get_mut();
        let polled = Pin::new(io).poll_write(context, bytes);
        stall.watch(context, polled, || Err(takes_nothing()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, stall } = self.get_mut();
        let polled = Pin::new(io).poll_write_vectored(context, slices);
        stall.watch(context, polled, || Err(takes_nothing()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// The body of a request, which must go on coming while the backend wants it.
pub(super) struct Arriving {
    body: Incoming,
    stall: Stall,
}

impl Arriving {
    pub(super) fn new(body: Incoming, limit: Duration) -> Self {
        Self { body, stall: Stall::new(limit) }
    }
}

/// Why the body of a request did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfinished {
    #[error("the body of the request stopped coming")]
    Stalled,
    #[error("the body of the request can't be read")]
    Broken(#[source] hyper::Error),
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Unfinished;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unfinished>>> {
        let Self { body, stall } = self.get_mut();
        let polled = Pin::new(body).poll_frame(context);
        let polled = polled.map(|frame| frame.map(|frame| frame.map_err(Unfinished::Broken)));
        stall.watch(context, polled, || Some(Err(Unfinished::Stalled)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn only_a_client_that_takes_nothing_loses_patience() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = Patient::new(ours, Duration::from_secs(10));
        let slowly = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
                theirs.read_exact(&mut [0; 2]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(&[0; 24]), slowly);
        written.unwrap();
        ours.stall.limit = Duration::from_millis(20);
        let error = ours.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

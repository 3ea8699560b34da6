//! One reader's stream of bytes.

use super::core::Next;
use super::{Filter, Shared};
use bytes::Bytes;
use futures_util::Stream;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The body of an answer to `/event` or `/global/event`. Dropping it unsubscribes.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    slot: u64,
    /// What is sent before the first event, last one first.
    first: Vec<Bytes>,
    ended: bool,
    signal: Option<CutSignal>,
}

/// Fires when a reader was cut. A reader that takes nothing is never asked for more, so its
/// connection has to be ended from outside.
#[derive(Debug)]
pub(crate) struct CutSignal(oneshot::Receiver<()>);

impl CutSignal {
    /// Waits until the reader was cut (`true`) or is gone (`false`).
    pub(crate) async fn cut(self) -> bool {
        self.0.await.is_ok()
    }
}

impl Reader {
    pub(super) fn new(shared: &Arc<Shared>, filter: Filter, last_event_id: Option<&str>) -> Self {
        let (slot, signal, mut first) = shared.with(|core| core.subscribe(filter, last_event_id));
        first.reverse();
        let signal = Some(CutSignal(signal));
        Self { shared: Arc::clone(shared), slot, first, ended: false, signal }
    }

    /// What fires when this reader is cut; given once.
    pub(crate) fn take_cut_signal(&mut self) -> Option<CutSignal> {
        self.signal.take()
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.pop() {
            if self.first.is_empty() {
                self.first = Vec::new();
            }
            return Poll::Ready(Some(Ok(first)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        match self.shared.with(|core| core.next_for(self.slot, cx.waker())) {
            Next::Send(bytes) => Poll::Ready(Some(Ok(bytes))),
            Next::SendLast(bytes) => {
                self.ended = true;
                Poll::Ready(Some(Ok(bytes)))
            }
            Next::Wait => Poll::Pending,
            Next::End => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.with(|core| core.unsubscribe(self.slot));
    }
}

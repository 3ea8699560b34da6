//! The way to the desk: a call asks, waits for its answer, and is taken out when whoever asked leaves.

use repod_coordination::lease::{Answer, Ask, CallId, Event, LeaseKey, words};
use repod_proto::{ApiError, ErrorCode, LeaseInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

/// What the desk is told.
pub(super) enum Word {
    Ask(Box<Ask>, Arc<Asker>, oneshot::Sender<Answer>),
    /// Whoever asked has left.
    Left(CallId, Arc<Asker>),
    Event(Box<Event>),
    Leases(oneshot::Sender<Vec<LeaseInfo>>),
}

/// One who asks. The same call may be asked for again (the connection was lost): then only the last
/// one's leaving is its end.
#[derive(Default)]
pub(super) struct Asker(AtomicBool);

impl Asker {
    pub(super) fn is_followed(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_last(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Line(mpsc::Sender<Word>);

impl Line {
    /// With what the desk hears, as long as there is such a line. It never waits, so more than a few
    /// words on their way mean that the machine does.
    pub(super) fn new(words_max: usize) -> (Self, mpsc::Receiver<Word>) {
        let (words, received) = mpsc::channel(words_max);
        (Self(words), received)
    }

    /// Asks for a lease and a ticket, and waits for them. A caller who leaves is taken out of line.
    /// `on_its_way` is dropped when the call is in line.
    pub(super) async fn ask(&self, ask: Ask, on_its_way: impl Send) -> Result<Granted, ApiError> {
        let asker = Arc::new(Asker::default());
        let call = Some((ask.call.clone(), Arc::clone(&asker)));
        let mut asked = Granted { line: self.clone(), call, lease: None };
        let (reply, answer) = oneshot::channel();
        self.say(Word::Ask(Box::new(ask), asker, reply)).await?;
        drop(on_its_way);
        match answer.await {
            Ok(Answer::Granted { key, fence }) => {
                asked.lease = Some((key, fence));
                Ok(asked)
            }
            Ok(Answer::Refused(refusal)) => {
                asked.call = None;
                Err(words::refusal(&refusal))
            }
            Err(_) => {
                // Asked again under the same name: whoever asked last gets the answer.
                asked.call = None;
                Err(ApiError::new(ErrorCode::Stopped, "this call was asked for a second time"))
            }
        }
    }

    /// Tells the desk what happened.
    pub(super) async fn tell(&self, event: Event) {
        let _ = self.say(Word::Event(Box::new(event))).await;
    }

    /// Everything that is held.
    pub(super) async fn leases(&self) -> Result<Vec<LeaseInfo>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.say(Word::Leases(reply)).await?;
        answer.await.map_err(|_| ended())
    }

    async fn say(&self, word: Word) -> Result<(), ApiError> {
        self.0.send(word).await.map_err(|_| ended())
    }
}

fn ended() -> ApiError {
    ApiError::new(ErrorCode::Internal, "the task that keeps the leases has ended; see repod.log")
}

/// A call that may write, or still waits to: gone when this is dropped, unless it is kept.
pub(crate) struct Granted {
    line: Line,
    call: Option<(CallId, Arc<Asker>)>,
    pub(crate) lease: Option<(LeaseKey, u64)>,
}

impl Granted {
    /// It runs on after this: its end will be reported.
    pub(crate) fn keep(mut self) -> Option<(LeaseKey, u64)> {
        self.call = None;
        self.lease.take()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let Some((call, asker)) = self.call.take() else { return };
        let word = Word::Left(call, asker);
        if let Err(mpsc::error::TrySendError::Full(word)) = self.line.0.try_send(word) {
            let line = self.line.clone();
            tokio::spawn(async move { line.say(word).await });
        }
    }
}

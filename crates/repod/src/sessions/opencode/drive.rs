//! Runs one turn: hears what the backend tells of it, and carries out what `turn` wants done.

use super::look::{Found, Wanted};
use crate::backend::{RepoHandle, View};
use crate::hub::{Hub, Tap, Tapped};
use crate::scope::InstanceLease;
use crate::sessions::backend::{Bound, Start, TurnContext, TurnResult};
use crate::sessions::turn::{self, Begin, Effect, Event, Look, Patience, Says, Settled, Turn};
use futures_util::future::BoxFuture;
use repod_opencode::v1_18::agent::{
    Incoming, Progress, ServerView, Stand, TranslateOptions, Translator,
};
use repod_opencode::{BackendClient, PermissionReply, ProbeError, PromptSpec};
use repod_proto::agent::{AgentEvent, Status, TurnEnd, TurnOutcome, TurnState};
use repod_proto::{BackendState, Generation};
use serde_json::Value;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long something takes that is under way: last parts, an abort.
const MOMENT: Duration = Duration::from_secs(2);
/// Between two looks after gaps: a stream that breaks all the time must not make a flood of them.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// An agent that doesn't answer is told to abort again and again, for so long.
const ABORT_LIMIT: Duration = Duration::from_mins(30);
const ABORT_PAUSE: Duration = Duration::from_secs(2);

/// One turn under way.
pub(super) struct Drive<'a> {
    bound: &'a Bound,
    context: &'a TurnContext<'a>,
    scope: &'a InstanceLease,
    hub: Hub,
    tap: Tap,
    translator: Translator,
    turn: Turn,
    sending: Option<BoxFuture<'a, Result<(), ProbeError>>>,
    looking: Option<BoxFuture<'a, Result<Found, ProbeError>>>,
    deadline: Option<Instant>,
    last_look: Option<Instant>,
    views: watch::Receiver<Arc<View>>,
    is_gone: bool,
    abort: watch::Receiver<bool>,
    is_aborted: bool,
    is_forgotten: bool,
    /// Its end, if that came before the answer to its prompt.
    early: Option<TurnEnd>,
    settled: Option<Settled>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(bound: &'a Bound, context: &'a TurnContext<'a>) -> Self {
        let scope = context.scope;
        let hub = scope.handle.hub().clone();
        // Before the prompt is sent: nothing it leads to is missed.
        let tap = hub.tap_session(&bound.id);
        let mut translator = Translator::new(&bound.id, TranslateOptions::default());
        translator.begin_turn(Some(context.prompt));
        let (turn, _) = Turn::begin(Begin::Send);
        Self {
            bound,
            context,
            scope,
            hub,
            tap,
            translator,
            turn,
            sending: None,
            looking: None,
            deadline: None,
            last_look: None,
            views: scope.handle.watch(),
            is_gone: false,
            abort: context.abort.clone(),
            is_aborted: false,
            is_forgotten: false,
            early: None,
            settled: None,
        }
    }

    /// To its end.
    pub(super) async fn run(mut self, prompt: PromptSpec) -> TurnResult {
        let begin = match self.context.start {
            Start::Prompt => {
                let backend = self.scope.backend.on_behalf_of(self.context.request);
                let session = &self.bound.id;
                let sending = async move { backend.prompt_async(session, &prompt).await };
                self.sending = Some(Box::pin(sending));
                Begin::Send
            }
            Start::Recover { go_on } => Begin::Recover { go_on },
        };
        let (turn, effects) = Turn::begin(begin);
        self.turn = turn;
        self.carry_out(effects);
        loop {
            if let Some(settled) = self.settled.take() {
                return TurnResult { settled, forgotten: self.is_forgotten };
            }
            let event = self.next().await;
            let effects = match event {
                Some(event) => self.turn.on(event),
                None => Vec::new(),
            };
            self.carry_out(effects);
        }
    }

    /// What happens next; `None` for what concerns nobody.
    async fn next(&mut self) -> Option<Event> {
        let generation = self.scope.generation;
        tokio::select! {
            biased;
            sent = or_never(&mut self.sending) => {
                self.sending = None;
                Some(self.sent(sent))
            }
            found = or_never(&mut self.looking) => {
                self.looking = None;
                Some(Event::Looked(self.looked(found)))
            }
            // Before what is told of its end, which is made up then.
            () = gone(&mut self.views, generation), if !self.is_gone => {
                self.is_gone = true;
                Some(Event::Gone)
            }
            tapped = self.tap.next() => match tapped {
                Some(Tapped::Event(data)) => self.heard(&data),
                Some(Tapped::Missed) => Some(Event::Missed),
                None => {
                    self.is_gone = true;
                    Some(Event::Gone)
                }
            },
            () = wanted(&mut self.abort), if !self.is_aborted => {
                self.is_aborted = true;
                Some(Event::Abort)
            }
            () = until(self.deadline) => {
                self.deadline = None;
                Some(Event::Elapsed)
            }
        }
    }

    fn sent(&mut self, sent: Result<(), ProbeError>) -> Event {
        match sent {
            Ok(()) => match self.early.take() {
                Some(end) => Event::Heard { says: Says::Over(end), waiting: false },
                None => Event::Sent,
            },
            Err(ProbeError::Failed { status, message }) if (400..500).contains(&status) => {
                self.is_forgotten = status == 404;
                Event::Refused(turn::error("Refused", &message))
            }
            Err(error) => {
                tracing::debug!(session = self.bound.id, %error, "whether a prompt was taken isn't known");
                Event::SendLost
            }
        }
    }

    fn heard(&mut self, data: &[u8]) -> Option<Event> {
        if crate::fault::loses(self.context.home, data) {
            return None;
        }
        let event = Incoming::read(data)?;
        let mut told = Vec::new();
        let progress = self.translator.feed(event, &mut told);
        told.into_iter().for_each(|event| self.context.log.tell(event));
        let says = match progress {
            Progress::Open => Says::Open,
            Progress::Ending(end) => Says::Ending(end),
            // Quicker than the answer to its prompt; or its session was deleted before, which that says.
            Progress::Settled(end) if self.sending.is_some() => {
                self.early = Some(end);
                return None;
            }
            Progress::Settled(end) => Says::Over(end),
            Progress::Over => return None,
        };
        Some(Event::Heard { says, waiting: self.translator.is_waiting() })
    }

    fn looked(&mut self, found: Result<Found, ProbeError>) -> Look {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(session = self.bound.id, %error, "a turn can't be looked at");
                return Look::Unanswered;
            }
        };
        for (child, parent) in &found.children {
            self.tap.child(child, parent);
        }
        let view = ServerView {
            messages: &found.messages,
            busy: found.busy,
            permissions: &found.permissions,
            questions: &found.questions,
            same_backend: found.same_backend,
        };
        let tap = &self.tap;
        let reconciled = self.translator.reconcile(&view, |session| tap.is_kin(session));
        if !reconciled.events.is_empty() {
            let state = TurnState::Reconciled;
            self.context.log.tell(AgentEvent::Status(Status { state, ..Status::default() }));
        }
        reconciled.events.into_iter().for_each(|event| self.context.log.tell(event));
        match reconciled.stand {
            Stand::Finished(end) => Look::Finished(end),
            Stand::Waiting => Look::Waiting,
            Stand::Running => Look::Running,
            Stand::Crashed => Look::Crashed,
            Stand::Absent => Look::Absent,
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let gives_up = effects.iter().any(|effect| matches!(effect, Effect::Settle(_)));
        for effect in effects {
            match effect {
                Effect::Wait(patience) => {
                    let patience = match patience {
                        Patience::Silence => self.context.watchdog,
                        Patience::Moment => MOMENT,
                    };
                    self.deadline = Some(Instant::now() + patience);
                }
                Effect::Look => self.look(),
                Effect::Abort => {
                    let limit = if gives_up { ABORT_LIMIT } else { Duration::ZERO };
                    tokio::spawn(self.aborting().run(limit));
                }
                Effect::TellWaiting => {
                    let end = TurnEnd { outcome: TurnOutcome::Waiting, error: None };
                    self.context.log.tell(AgentEvent::Turn(end));
                }
                Effect::Settle(settled) => self.settled = Some(settled),
            }
        }
    }

    fn look(&mut self) {
        self.deadline = None;
        let view = self.scope.handle.view();
        let same_backend = view.generation == self.scope.generation && !self.is_gone;
        let backend = match (&view.process, same_backend) {
            (_, true) => Some(self.scope.backend.clone()),
            // What the next one has of the last one's turns.
            (Some(process), false) if view.is_ready() => {
                Some(BackendClient::new(process.port, process.password.clone()))
            }
            _ => None,
        };
        let Some(backend) = backend else {
            self.looking = Some(Box::pin(async { Err(ProbeError::Refused) }));
            return;
        };
        let wanted = Wanted {
            backend,
            directory: self.scope.directory.clone(),
            session: self.bound.id.clone(),
            prompt: self.context.prompt.to_owned(),
            same_backend,
        };
        let now = Instant::now();
        let due = self.last_look.map_or(now, |last| last + LOOK_PAUSE);
        self.last_look = Some(now.max(due));
        self.looking = Some(Box::pin(wanted.look(due.saturating_duration_since(now))));
    }

    fn aborting(&self) -> Aborting {
        Aborting {
            handle: self.scope.handle.clone(),
            hub: self.hub.clone(),
            backend: self.scope.backend.clone(),
            generation: self.scope.generation,
            directory: self.scope.directory.clone(),
            session: self.bound.id.clone(),
        }
    }
}

/// A turn that is to end, in a task of its own: it is ended even when nobody waits for that any more.
struct Aborting {
    handle: RepoHandle,
    hub: Hub,
    backend: BackendClient,
    generation: Generation,
    directory: String,
    session: String,
}

impl Aborting {
    async fn run(self, limit: Duration) {
        let begun = Instant::now();
        loop {
            match self.once().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(session = self.session, %error, "a turn can't be aborted");
                }
            }
            if begun.elapsed() >= limit || is_gone(&self.handle.view(), self.generation) {
                return;
            }
            tokio::time::sleep(ABORT_PAUSE).await;
        }
    }

    async fn once(&self) -> Result<(), ProbeError> {
        self.backend.abort(&self.session).await?;
        // OpenCode 1.18.33 keeps the requests of an aborted turn, and an answer to one still has its
        // tool run.
        let [permissions, questions] = self.backend.asked(&self.directory).await?;
        let is_ours = |row: &&Value| {
            let session = row["sessionID"].as_str().unwrap_or_default();
            self.hub.is_kin(session, &self.session)
        };
        let id = |row: &Value| row["id"].as_str().unwrap_or_default().to_owned();
        for request in permissions.iter().filter(is_ours).map(id) {
            let reject = PermissionReply::Reject;
            // Rejecting one rejects the session's others, which are gone by then.
            let _ = self.backend.reply_permission(&self.directory, &request, reject, None).await;
        }
        for request in questions.iter().filter(is_ours).map(id) {
            let _ = self.backend.reject_question(&self.directory, &request).await;
        }
        Ok(())
    }
}

async fn or_never<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn wanted(abort: &mut watch::Receiver<bool>) {
    if abort.wait_for(|abort| *abort).await.is_err() {
        pending::<()>().await;
    }
}

/// Returns when the process of this generation has ended.
async fn gone(views: &mut watch::Receiver<Arc<View>>, generation: Generation) {
    // The daemon's own end is none of the backend's.
    if views.wait_for(|view| is_gone(view, generation)).await.is_err() {
        pending::<()>().await;
    }
}

fn is_gone(view: &View, generation: Generation) -> bool {
    let runs = matches!(view.state, BackendState::Ready | BackendState::Unresponsive);
    view.generation != generation || view.process.is_none() || !runs
}

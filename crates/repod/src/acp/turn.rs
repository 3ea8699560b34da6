//! One turn: sent, followed to its end, and told to the editor. The stream may break, the daemon and the
//! backend may die: what was missed is looked up then.
//!
//! ```text
//! send ─► hear ⇄ look (after a gap, silence, or an end whose last parts are missing) ─► settled
//!           └─ cancel ─► abort ─► hear the end of it
//! ```

use super::editor::Editor;
use super::link::{Live, failed};
use super::reply::{BACK_LIMIT, Of, PAUSE, Reply};
use super::update::Teller;
use repod_opencode::v1_18::agent::{
    Incoming, Kin, Progress, ServerView, Stand, TranslateOptions, Translator,
};
use repod_opencode::{
    EventBody, PermissionReply, ProbeError, PromptSpec, SessionState, SseDecoder,
};
use repod_proto::agent::{
    AgentEvent, PermissionAsk, QuestionAsk, ToolKind, ToolStatus, TurnEnd, TurnError, TurnOutcome,
};
use repod_proto::{ApiError, Generation};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Largest event taken.
const EVENT_MAX: usize = 16 * 1024 * 1024;
/// How long opening the stream may take: a backend that sleeps is woken by it.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// How long something takes that is under way: last parts, an abort.
const MOMENT: Duration = Duration::from_secs(2);
/// Silence after which the turn is looked at.
const SILENCE: Duration = Duration::from_mins(1);
/// Looks at a turn that nobody works on, or whose abort has no effect, before it is given up.
const LOOKS: u32 = 3;
/// How long the editor may take for the files of a turn that is over.
const FILES_LIMIT: Duration = Duration::from_secs(5);
/// Messages looked at.
const MESSAGES: u32 = 300;

/// One turn under way.
struct Drive<'a> {
    of: &'a Of,
    editor: &'a Editor,
    cancel: watch::Receiver<u64>,
    is_cancelled: bool,
    translator: Translator,
    kin: Kin,
    teller: Teller,
    live: Live,
    began: Generation,
    events: Option<EventBody>,
    decoder: SseDecoder,
    deadline: Instant,
    vain: u32,
    /// What the editor is asked, by the request.
    asks: BTreeMap<String, AbortHandle>,
    asking: JoinSet<()>,
    files: JoinSet<()>,
}

/// Sends a prompt and follows it to the end.
pub(super) async fn run(
    of: &Of,
    editor: &Editor,
    prompt: &PromptSpec,
    cancel: watch::Receiver<u64>,
) -> Result<TurnEnd, ApiError> {
    let live = of.link.live().await?;
    let mut translator = Translator::new(&of.session, TranslateOptions::default());
    translator.begin_turn(Some(&prompt.message_id));
    let mut drive = Drive {
        began: live.generation,
        of,
        editor,
        cancel,
        is_cancelled: false,
        translator,
        kin: Kin::default(),
        teller: Teller::new(&editor.directory),
        live,
        events: None,
        decoder: SseDecoder::new(EVENT_MAX),
        deadline: Instant::now() + SILENCE,
        vain: 0,
        asks: BTreeMap::new(),
        asking: JoinSet::new(),
        files: JoinSet::new(),
    };
    // Before the prompt is sent: nothing it leads to is missed.
    drive.open().await.map_err(failed)?;
    drive.learn_children().await;
    if drive.cancel.has_changed().unwrap_or(false) {
        return Ok(interrupted());
    }
    match drive.live.backend.prompt_async(&of.session, prompt).await {
        Ok(()) => {}
        Err(error @ ProbeError::Failed { status: 400..=499, .. }) => return Err(failed(error)),
        Err(error) => {
            // It may have been taken, and is not sent again: that is looked up.
            tracing::debug!(%error, "whether the prompt was taken isn't known");
            drive.deadline = Instant::now() + MOMENT;
        }
    }
    let end = drive.follow().await;
    drive.asking.shutdown().await;
    let written = async { while drive.files.join_next().await.is_some() {} };
    let _ = timeout(FILES_LIMIT, written).await;
    end
}

impl Drive<'_> {
    async fn follow(&mut self) -> Result<TurnEnd, ApiError> {
        loop {
            let end = tokio::select! {
                biased;
                Ok(()) = self.cancel.changed(), if !self.is_cancelled => {
                    self.is_cancelled = true;
                    self.abort().await;
                    None
                }
                bytes = next(&mut self.events) => match bytes {
                    Some(bytes) => self.heard(&bytes),
                    None => {
                        self.events = None;
                        self.look().await?
                    }
                },
                () = sleep_until(self.deadline) => self.look().await?,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) -> Option<TurnEnd> {
        let (mut told, mut end, mut progress) = (Vec::new(), None, None);
        let (translator, kin) = (&mut self.translator, &mut self.kin);
        self.decoder.each(bytes, |data| {
            let Some(event) = Incoming::read(data) else { return };
            kin.note(&event);
            if kin.root(event.session()) != translator.session() {
                return;
            }
            match translator.feed(event, &mut told) {
                Progress::Settled(settled) => end = Some(settled),
                other => progress = Some(other),
            }
        });
        match progress {
            Some(Progress::Ending(_)) => self.deadline = Instant::now() + MOMENT,
            Some(_) if !self.is_cancelled => {
                self.deadline = Instant::now() + SILENCE;
                self.vain = 0;
            }
            _ => {}
        }
        if self.decoder.take_oversized() > 0 {
            self.deadline = Instant::now();
        }
        told.iter().for_each(|event| self.tell(event));
        end
    }

    fn tell(&mut self, event: &AgentEvent) {
        for update in self.teller.updates(event) {
            self.editor.tell(update);
        }
        match event {
            AgentEvent::ToolCall { tool_call } | AgentEvent::ToolUpdate { tool_call }
                if tool_call.kind == ToolKind::Edit
                    && tool_call.status == ToolStatus::Completed =>
            {
                for diff in &tool_call.diffs {
                    let path = self.editor.directory.join(&diff.path);
                    self.written(path);
                }
            }
            AgentEvent::Permission(ask) => self.permission(ask.clone()),
            AgentEvent::Question(ask) => self.question(ask.clone()),
            AgentEvent::Answered { request_id } => {
                if let Some(asked) = self.asks.remove(request_id) {
                    asked.abort();
                }
            }
            _ => {}
        }
    }

    /// The turn's session tree holds the branch's lease as long as the turn runs, so nobody else writes
    /// the file meanwhile.
    fn written(&mut self, path: PathBuf) {
        let editor = self.editor.clone();
        self.files.spawn(async move { editor.wrote(&path).await });
    }

    fn permission(&mut self, ask: PermissionAsk) {
        let (of, editor, request) = (self.of.clone(), self.editor.clone(), ask.request_id.clone());
        let call = ask.tool_call_id.as_deref().and_then(|id| self.teller.call(id)).cloned();
        let asking = self.asking.spawn(async move {
            let reply = match editor.permit(&ask, call.as_ref()).await.as_deref() {
                Some("once") => PermissionReply::Once,
                Some("always") => PermissionReply::Always,
                _ => PermissionReply::Reject,
            };
            of.deliver(&ask.request_id, Reply::Permission(reply)).await;
        });
        self.asks.insert(request, asking);
    }

    fn question(&mut self, ask: QuestionAsk) {
        let (of, editor, request) = (self.of.clone(), self.editor.clone(), ask.request_id.clone());
        let asking = self.asking.spawn(async move {
            let mut answers = Some(Vec::new());
            for question in &ask.questions {
                let Some(given) = &mut answers else { break };
                match editor.question(&ask.request_id, question).await {
                    Some(label) => given.push(vec![label]),
                    None => answers = None,
                }
            }
            of.deliver(&ask.request_id, Reply::Question(answers)).await;
        });
        self.asks.insert(request, asking);
    }

    async fn abort(&mut self) {
        self.asking.abort_all();
        let ended = async {
            self.live.backend.abort(&self.of.session).await?;
            // OpenCode 1.18.33 keeps the requests of an aborted turn, and an answer to one still has its
            // tool run.
            let backend = &self.live.backend;
            for request in std::mem::take(&mut self.asks).into_keys() {
                let reject = PermissionReply::Reject;
                if backend
                    .reply_permission(&self.of.directory, &request, reject, None)
                    .await
                    .is_err()
                {
                    let _ = backend.reject_question(&self.of.directory, &request).await;
                }
            }
            Ok::<_, ProbeError>(())
        };
        if let Err(error) = ended.await {
            tracing::warn!(%error, "a turn can't be aborted");
        }
        self.deadline = Instant::now() + MOMENT;
    }

    async fn open(&mut self) -> Result<(), ProbeError> {
        self.decoder = SseDecoder::new(EVENT_MAX);
        self.events = Some(self.live.backend.global_events(OPEN_LIMIT).await?);
        Ok(())
    }

    async fn learn_children(&mut self) {
        for child in self.live.backend.children(&self.of.session).await.unwrap_or_default() {
            self.kin.child(&child.id, &self.of.session);
        }
    }

    /// What the backend has of the turn, once it is there again.
    async fn look(&mut self) -> Result<Option<TurnEnd>, ApiError> {
        let since = Instant::now();
        let stand = loop {
            let cause = match self.look_once().await {
                Ok(stand) => break stand,
                Err(cause) => cause,
            };
            if since.elapsed() > BACK_LIMIT {
                return Err(cause);
            }
            tracing::debug!(cause = cause.message, "the turn can't be looked at");
            self.events = None;
            sleep(PAUSE).await;
        };
        let (wait, is_vain) = match stand {
            Stand::Finished(end) => return Ok(Some(end)),
            // Just sent, just ended or never to end: the next look tells.
            Stand::Absent | Stand::Crashed => (MOMENT, true),
            Stand::Running | Stand::Waiting if self.is_cancelled => {
                self.abort().await;
                (MOMENT, true)
            }
            Stand::Running | Stand::Waiting => (SILENCE, false),
        };
        self.deadline = Instant::now() + wait;
        self.vain = if is_vain { self.vain + 1 } else { 0 };
        let is_replaced = self.live.generation != self.began;
        if self.vain >= LOOKS || (is_vain && is_replaced) {
            return Ok(Some(if self.is_cancelled { interrupted() } else { lost(is_replaced) }));
        }
        Ok(None)
    }

    async fn look_once(&mut self) -> Result<Stand, ApiError> {
        self.live = self.of.link.live().await?;
        if self.events.is_none() {
            self.open().await.map_err(failed)?;
        }
        self.learn_children().await;
        let backend = &self.live.backend;
        // The state first: a turn that ends meanwhile is taken for busy then, and its end is heard.
        let states = backend.session_status(&self.of.directory).await.map_err(failed)?;
        let state = states.get(&self.of.session);
        let messages = backend.last_messages(&self.of.session, MESSAGES).await.map_err(failed)?;
        let (permissions, questions) =
            backend.pending_asks(&self.of.directory).await.map_err(failed)?;
        let view = ServerView {
            messages: &messages,
            busy: state.is_some_and(|state| *state != SessionState::Idle),
            permissions: &permissions,
            questions: &questions,
            same_backend: self.live.generation == self.began,
        };
        let (kin, session) = (&self.kin, &self.of.session);
        let found = self.translator.reconcile(&view, |child| kin.root(child) == session);
        found.events.iter().for_each(|event| self.tell(event));
        Ok(found.stand)
    }
}

async fn next(events: &mut Option<EventBody>) -> Option<bytes::Bytes> {
    match events {
        Some(events) => events.next().await?.ok(),
        None => None,
    }
}

fn interrupted() -> TurnEnd {
    TurnEnd { outcome: TurnOutcome::Interrupted, error: None }
}

fn lost(is_replaced: bool) -> TurnEnd {
    let message = match is_replaced {
        true => {
            "the repository's backend died during the turn; what it had done until then is kept"
        }
        false => "nobody works on this turn any more, and it has no end",
    };
    let error = TurnError { name: "Interrupted".to_owned(), message: message.to_owned() };
    TurnEnd { outcome: TurnOutcome::Failed, error: Some(error) }
}

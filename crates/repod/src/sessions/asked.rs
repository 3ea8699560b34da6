//! What is asked of a session that is there: a prompt, an end, an answer.

use super::backend::TurnInput;
use super::live::{Live, TurnRun};
use super::log::TurnLog;
use super::stores::{Opened, failed, updated};
use super::{Sessions, binding, checked_name, run, save};
use crate::scope::Place;
use crate::settings;
use futures_util::future;
use repod_proto::agent::{AgentEvent, Status, TurnState};
use repod_proto::{ApiError, ErrorCode, OnBusy, RequestId, SessionAnswer, TurnBegun, TurnRequest};
use repod_store::{Begun, NewTurn, Session, SessionKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};
use tracing::Instrument as _;

/// How long the turns of a session that is closed may take to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(20);
/// What is kept of a prompt when its turn is over, in bytes.
const PROMPT_KEPT: usize = 4096;

impl Sessions {
    /// Puts a prompt in line. The same turn again is the one there is.
    pub(crate) async fn prompt(
        &self,
        key: &SessionKey,
        (request, by): (TurnRequest, RequestId),
    ) -> Result<TurnBegun, ApiError> {
        let (opened, session) = self.find(key).await?;
        let turn_id = match request.turn_id {
            Some(name) => checked_name("turn", name)?,
            None => format!("turn-{}", crate::secret::random_hex::<8>()?),
        };
        let input = TurnInput { text: request.text, files: request.files };
        let waits = match request.on_busy {
            Some(on_busy) => on_busy == OnBusy::Wait,
            None => self.0.settings.queue == settings::Queue::Wait,
        };
        let new = NewTurn {
            turn_id,
            prompt: beginning(&input.text),
            input: serde_json::to_vec(&input)
                .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?,
            most_ahead: if waits { self.0.settings.queue_max } else { 0 },
        };
        let place = self.place(&session).await?;
        let (this, key) = (self.clone(), key.clone());
        // Whether its caller stays or not: a turn that is on record has to be in line.
        let lining = async move { this.put_in_line(&opened, &key, &new, (input, place, by)).await };
        let lined = tokio::spawn(lining.in_current_span()).await;
        lined.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?
    }

    async fn put_in_line(
        &self,
        opened: &Opened,
        key: &SessionKey,
        new: &NewTurn,
        (input, place, by): (TurnInput, Place, RequestId),
    ) -> Result<TurnBegun, ApiError> {
        // In the order in which they are on record.
        let (live, _in_line) = self.lining(key).await;
        let begun = opened.store.begin_turn(&opened.owner, key, new).await.map_err(failed)?;
        let (turn, ahead) = match updated(begun)? {
            Begun::New(turn, ahead) => (turn, ahead),
            Begun::Known(turn) => return Ok(self.begun(&turn, 0)),
            Begun::Full(ahead) => return Err(busy(key, ahead)),
        };
        let run = TurnRun {
            turn: turn.turn,
            turn_id: turn.turn_id.clone(),
            place,
            input,
            log: Arc::new(TurnLog::new(turn.next_event)),
            left: None,
            request: Some(by),
            abort: watch::Sender::new(false),
        };
        if ahead > 0 {
            let status = Status { state: TurnState::Queued, ..Status::default() };
            run.log.tell(AgentEvent::Status(status));
            // Nobody saves what a turn in line tells.
            save::last(opened, key, &run).await;
        }
        self.line_up(&live, run);
        Ok(self.begun(&turn, ahead))
    }

    /// Ends one turn of a session, or all it has; says which.
    pub(crate) async fn abort(
        &self,
        key: &SessionKey,
        turn_id: Option<&str>,
    ) -> Result<Vec<String>, ApiError> {
        let (opened, _) = self.find(key).await?;
        let live = self.live(key);
        let mut ended = Vec::new();
        for run in live.open() {
            if turn_id.is_some_and(|wanted| wanted != run.turn_id) {
                continue;
            }
            run.abort.send_replace(true);
            // One that has not begun is over at once.
            ended.push(run.turn_id.clone());
            if live.leave_line(run.turn) {
                let (this, opened, live) = (self.clone(), opened.clone(), Arc::clone(&live));
                // It is in no line any more: settled it must be, also when its caller leaves.
                let settling =
                    async move { run::settle_unstarted(&this, &opened, &live, &run).await };
                let _ = tokio::spawn(settling.in_current_span()).await;
            }
        }
        Ok(ended)
    }

    /// A session at hand, into whose line nobody else puts anything meanwhile.
    async fn lining(&self, key: &SessionKey) -> (Arc<Live>, OwnedMutexGuard<()>) {
        loop {
            let live = self.live(key);
            let alone = Arc::clone(&live.lining).lock_owned().await;
            // Who had it before may have closed it.
            if Arc::ptr_eq(&live, &self.live(key)) {
                return (live, alone);
            }
        }
    }

    /// Closes a session, after its turns have been ended. Its conversation stays where it is.
    pub(crate) async fn close(&self, key: &SessionKey) -> Result<Session, ApiError> {
        let (opened, _) = self.find(key).await?;
        // What comes meanwhile finds it closed.
        let (live, _alone) = self.lining(key).await;
        let open = live.open();
        self.abort(key, None).await?;
        let all = open.iter().map(|run| async {
            let mut changes = run.log.changes();
            while !run.log.is_closed() && changes.changed().await.is_ok() {}
        });
        let have_ended = tokio::time::timeout(CLOSE_LIMIT, future::join_all(all)).await.is_ok();
        // What others have it do ends too; a backend that sleeps isn't woken for that.
        if let Some(place) = self.open_place(&live).await {
            let scope = self.0.scopes.acquire(&place).await?;
            let bound = binding::bind(self, &live, &opened, &scope).await?;
            self.0.agent.close_session(&bound, &scope).await?;
        }
        let closing = opened.store.close(&opened.owner, key).await.map_err(failed)?;
        if have_ended {
            self.live_mut().remove(key);
        }
        updated(closing)
    }

    /// Where a session works, if the backend that has its conversation is awake.
    async fn open_place(&self, live: &Live) -> Option<Place> {
        let session = live.session()?;
        session.agent_session_id.as_ref()?;
        if !self.is_awake(&live.key, session.generation).await {
            return None;
        }
        self.place(&session).await.ok()
    }

    /// Whether this generation of a session's backend is still there.
    pub(super) async fn is_awake(&self, key: &SessionKey, generation: u64) -> bool {
        let known = self.fleet().known(&self.repo_of(key)).await;
        let Ok(Some(handle)) = known else { return false };
        let view = handle.settled().await;
        view.generation.0 == generation && view.process.is_some() && view.state.is_live()
    }

    /// Gives a person's answer to what a turn of the session asks.
    pub(crate) async fn answer(
        &self,
        key: &SessionKey,
        answer: &SessionAnswer,
    ) -> Result<(), ApiError> {
        let (opened, session) = self.find(key).await?;
        let place = match self.live(key).running() {
            Some(run) => run.place.clone(),
            None => self.place(&session).await?,
        };
        let live = self.live(key);
        self.0
            .scopes
            .with(&place, async |scope| {
                let bound = binding::bind(self, &live, &opened, scope).await?;
                self.0.agent.answer(&bound, answer, scope).await
            })
            .await?
    }
}

/// What of a prompt is shown to people later.
fn beginning(text: &str) -> String {
    let text = text.trim();
    let kept = &text[..text.floor_char_boundary(PROMPT_KEPT)];
    let kept = kept.replace('\0', "\u{fffd}");
    if text.len() > PROMPT_KEPT { kept + "…" } else { kept }
}

fn busy(key: &SessionKey, ahead: u32) -> ApiError {
    let message = match ahead {
        1 => format!("the session `{}` has a turn already", key.session_id),
        _ => format!("{ahead} turns are in line in the session `{}` already", key.session_id),
    };
    ApiError::new(ErrorCode::SessionBusy, message)
        .hint("ask again when it is idle, or abort what it does: `repod sessions abort`")
}

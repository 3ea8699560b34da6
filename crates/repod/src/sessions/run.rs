//! Goes through a session's line, one turn after the other: binds the session, starts the turn on record,
//! has the agent run it, and settles it, once.

use super::backend::{Bound, Start, TurnContext, TurnResult};
use super::live::{LeftOver, Live, TurnRun};
use super::stores::{Opened, failed, updated};
use super::turn::{self, Settled};
use super::{Ended, Sessions, binding, save};
use crate::backend::Use;
use crate::scope::{self, InstanceLease};
use crate::tally::Label as _;
use repod_proto::agent::{AgentEvent, Status, TurnEnd, TurnError, TurnOutcome, TurnState};
use repod_proto::{ApiError, ErrorCode, RequestId};
use repod_store::{Change, Outcome, Settlement, Started, TurnFailure};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument as _;

/// Tries to put the end of a turn on record, and the pause between two.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a backend that does not answer may take to be known as ended, and how soon it is looked again.
const DYING: Duration = Duration::from_secs(10);
const DYING_PAUSE: Duration = Duration::from_millis(100);

/// Serves the line until it is empty.
pub(super) async fn serve(sessions: Sessions, live: Arc<Live>) {
    while let Some(run) = live.advance() {
        let request_id = run.request.as_ref().map(RequestId::as_str);
        let span =
            tracing::info_span!("turn", session = live.key.session_id, turn = run.turn, request_id);
        let one = Box::pin(one(&sessions, &live, &run));
        one.instrument(span).await;
        sessions.touched(&live);
    }
}

/// Runs one turn to its end.
async fn one(sessions: &Sessions, live: &Arc<Live>, run: &Arc<TurnRun>) {
    let opened = match sessions.stores().of(&sessions.repo_of(&live.key)).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(session = live.key.session_id, %error, "a turn has no store");
            run.log.unrecorded();
            sessions.turn_ended(Outcome::Failed);
            tell_end(run, failed_end(&error));
            return;
        }
    };
    let saving = save::Saving::begin(&opened, &live.key, run);
    let settled = run_to_end(sessions, live, run, &opened).await;
    saving.end().await;
    settle(sessions, &opened, live, run, settled).await;
    if live.session().is_some_and(|session| session.title.is_empty()) {
        // Beside the next turn, which doesn't wait for it.
        let (sessions, live, place) = (sessions.clone(), Arc::clone(live), run.place.clone());
        tokio::spawn(async move {
            if let Err(error) = binding::entitle(&sessions, &live, &place, &opened).await {
                tracing::debug!(session = live.key.session_id, %error, "it stays without a title");
            }
        });
    }
}

async fn run_to_end(
    sessions: &Sessions,
    live: &Live,
    run: &Arc<TurnRun>,
    opened: &Opened,
) -> Settled {
    if *run.abort.borrow() && run.left.is_none() {
        return ended(turn::aborted());
    }
    if let Some(left) = &run.left
        && !sessions.is_awake(&live.key, left.generation).await
    {
        // Nothing is started only to find that nobody works on it.
        return unless_resumed(sessions, live, run, opened, Ok(lost())).await;
    }
    let scope = {
        let mut abort = run.abort.subscribe();
        tokio::select! {
            scope = acquire(sessions, run) => scope,
            // Before it was started, nothing has to be ended.
            _ = abort.wait_for(|abort| *abort), if run.left.is_none() => {
                return ended(turn::aborted());
            }
        }
    };
    let scope = match scope {
        Ok(scope) => scope,
        Err(_) if run.left.is_some() => return lost(),
        Err(error) => return ended(failed_end(&error)),
    };
    // Counted as a client, so that the backend isn't put to sleep meanwhile.
    let _used = scope.handle.client(Use::Request { stirs: true });
    let result = match &run.left {
        Some(left) => recover(sessions, live, run, left, &scope).await,
        None => prompt(sessions, live, run, opened, &scope).await,
    };
    drop(scope);
    unless_resumed(sessions, live, run, opened, result).await
}

/// Where the turn runs, with its guard. A backend that is killed still counts as there for a moment, until
/// the kernel has cleared it away: then its next one is waited for, since nothing was sent yet.
async fn acquire(sessions: &Sessions, run: &TurnRun) -> Result<InstanceLease, ApiError> {
    let give_up = Instant::now() + DYING;
    loop {
        let scope = sessions.scopes().acquire(&run.place).await?;
        match scope::guard(sessions.coordination(), &scope).await {
            Ok(()) => return Ok(scope),
            Err(error) if error.code != ErrorCode::BackendBroke => return Err(error),
            Err(error) if Instant::now() > give_up => return Err(error),
            Err(error) => tracing::debug!(%error, "once more"),
        }
        drop(scope);
        tokio::time::sleep(DYING_PAUSE).await;
    }
}

/// How it ended; or, if what ran it is gone and the user wants that, its end after it was resumed.
async fn unless_resumed(
    sessions: &Sessions,
    live: &Live,
    run: &Arc<TurnRun>,
    opened: &Opened,
    result: Result<Settled, ApiError>,
) -> Settled {
    let is_resumed = run.left.as_ref().is_some_and(|left| left.is_resumed);
    let may_resume = sessions.settings().resume_interrupted && !is_resumed;
    let result = match result {
        Ok(settled) if settled.lost && may_resume && !*run.abort.borrow() => {
            resume(sessions, live, run, opened).await
        }
        result => result,
    };
    result.unwrap_or_else(|error| ended(failed_end(&error)))
}

/// From the prompt.
async fn prompt(
    sessions: &Sessions,
    live: &Live,
    run: &Arc<TurnRun>,
    opened: &Opened,
    scope: &InstanceLease,
) -> Result<Settled, ApiError> {
    // Recorded before it is sent, so that after a crash it can be found out whether it was.
    let mut id = sessions.agent().prompt_id();
    let started = Started { generation: scope.generation.0, message_id: Some(id.clone()) };
    let starting = opened.store.start_turn(&opened.owner, &live.key, run.turn, &started);
    updated(starting.await.map_err(failed)?)?;
    crate::fault::point(sessions.home(), "turn-started");
    let branch = scope.place.located.branch.as_deref().unwrap_or("-");
    tracing::info!("a turn begins");
    tracing::debug!(scope = ?**scope, branch, "where it runs");
    tell(run, TurnState::Busy, None);
    let mut bound = binding::bind(sessions, live, opened, scope).await?;
    scope::guard(sessions.coordination(), scope).await?;
    let mut result = ask(sessions, run, scope, &bound, (&id, Start::Prompt)).await;
    if result.forgotten {
        // Nothing of it was done, so it may be sent once more, to a new conversation.
        live.verify(None);
        bound = binding::bind(sessions, live, opened, scope).await?;
        tell(
            run,
            TurnState::Busy,
            Some("the agent had forgotten the conversation; a new one begins"),
        );
        id = sessions.agent().prompt_id();
        result = ask(sessions, run, scope, &bound, (&id, Start::Prompt)).await;
    }
    Ok(result.settled)
}

/// What an earlier daemon had started.
async fn recover(
    sessions: &Sessions,
    live: &Live,
    run: &Arc<TurnRun>,
    left: &LeftOver,
    scope: &InstanceLease,
) -> Result<Settled, ApiError> {
    let session = live.session();
    let known = session.as_ref().and_then(|session| session.agent_session_id.clone());
    let (Some(id), Some(message)) = (known, &left.message_id) else { return Ok(lost()) };
    if left.generation != scope.generation.0 {
        return Ok(lost());
    }
    let options = session.map(|it| binding::options(&it)).unwrap_or_default();
    let bound = Bound { id, is_new: false, reason: "", options };
    let start = Start::Recover { go_on: sessions.settings().resume_interrupted };
    Ok(ask(sessions, run, scope, &bound, (message, start)).await.settled)
}

/// Once more, in the next generation of its backend. Said before it is done, and on record, so that it is
/// not done twice.
async fn resume(
    sessions: &Sessions,
    live: &Live,
    run: &Arc<TurnRun>,
    opened: &Opened,
) -> Result<Settled, ApiError> {
    let scope = acquire(sessions, run).await?;
    let _used = scope.handle.client(Use::Request { stirs: true });
    tell(run, TurnState::Resumed, Some("what ran it has ended; its prompt is sent once more"));
    save::now(opened, &live.key, run).await?;
    crate::fault::point(sessions.home(), "turn-resumed");
    let bound = binding::bind(sessions, live, opened, &scope).await?;
    let id = sessions.agent().prompt_id();
    Ok(ask(sessions, run, &scope, &bound, (&id, Start::Prompt)).await.settled)
}

async fn ask(
    sessions: &Sessions,
    run: &Arc<TurnRun>,
    scope: &InstanceLease,
    bound: &Bound,
    (prompt, start): (&str, Start),
) -> TurnResult {
    let context = TurnContext {
        home: sessions.home(),
        scope,
        log: &run.log,
        prompt,
        request: run.request.as_ref(),
        abort: run.abort.subscribe(),
        watchdog: sessions.settings().watchdog,
        start,
    };
    sessions.agent().prompt(bound, &run.input, &context).await
}

/// Puts the end on record, once, and tells it.
async fn settle(
    sessions: &Sessions,
    opened: &Opened,
    live: &Live,
    run: &Arc<TurnRun>,
    settled: Settled,
) {
    let Settled { end, crashed, .. } = settled;
    let outcome = match end.outcome {
        TurnOutcome::Completed => Outcome::Completed,
        TurnOutcome::Interrupted => Outcome::Interrupted,
        _ => Outcome::Failed,
    };
    let error = end
        .error
        .as_ref()
        .map(|error| TurnFailure { name: error.name.clone(), message: error.message.clone() });
    tracing::info!(outcome = %Ended::of(outcome).text(), "a turn has ended");
    let settlement = Settlement { outcome, error, crashed };
    let (store, owner) = (&opened.store, &opened.owner);
    for _ in 0..TRIES {
        match store.settle_turn(owner, &live.key, run.turn, &settlement).await {
            Ok(Change::Updated(_)) => {
                sessions.turn_ended(outcome);
                if let Ok(Some(session)) = store.session(&live.key).await {
                    live.note(session);
                }
                break;
            }
            Ok(other) => {
                tracing::warn!(
                    session = live.key.session_id,
                    turn = run.turn,
                    ?other,
                    "settled before"
                );
                break;
            }
            // Told only when it is on record: a turn has one end.
            Err(error) => {
                tracing::error!(session = live.key.session_id, turn = run.turn, %error, "not settled");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    tell_end(run, end);
    save::last(opened, &live.key, run).await;
}

/// A turn that was taken out of the line.
pub(super) async fn settle_unstarted(
    sessions: &Sessions,
    opened: &Opened,
    live: &Live,
    run: &Arc<TurnRun>,
) {
    settle(sessions, opened, live, run, ended(turn::aborted())).await;
}

fn tell_end(run: &TurnRun, end: TurnEnd) {
    run.log.tell(AgentEvent::Turn(end));
    run.log.close();
}

fn tell(run: &TurnRun, state: TurnState, message: Option<&str>) {
    let message = message.map(str::to_owned);
    run.log.tell(AgentEvent::Status(Status { state, message, ..Status::default() }));
}

fn ended(end: TurnEnd) -> Settled {
    Settled { end, crashed: false, lost: false }
}

fn lost() -> Settled {
    Settled { end: turn::interrupted(), crashed: false, lost: true }
}

fn failed_end(error: &ApiError) -> TurnEnd {
    let error = TurnError { name: error.code.to_string(), message: error.message.clone() };
    TurnEnd { outcome: TurnOutcome::Failed, error: Some(error) }
}

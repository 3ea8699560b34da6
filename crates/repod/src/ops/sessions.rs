//! sessions: agent sessions and their turns, for whoever asks: the socket API, the command line, ACP.

use crate::daemon::Daemon;
use crate::scope::Place;
use crate::sessions::{Told, Wanted};
use futures_util::stream::Stream;
use repod_proto::{
    ApiError, InstanceDisposeReport, InstanceDisposeRequest, InstanceInfo, RepoId, RequestId,
    SessionAbortReport, SessionAbortRequest, SessionAnswer, SessionDetail, SessionEnsured,
    SessionInfo, SessionQuery, SessionRequest, SessionsQuery, TurnBegun, TurnRequest,
};
use repod_store::SessionKey;
use std::time::Duration;

/// Sessions listed where nobody says how many, and at most.
const LISTED: u32 = 100;
const LISTED_MAX: u32 = 10_000;
/// How long those who work in a directory are waited for.
const DISPOSE_WAIT: Duration = Duration::from_secs(30);

/// A turn, and what it tells after the event it was asked for.
pub(crate) struct Turn {
    key: SessionKey,
    turn: u64,
    after: u64,
}

/// Creates a session, or resumes it.
pub(crate) async fn ensure(
    daemon: &Daemon,
    request: SessionRequest,
) -> Result<SessionEnsured, ApiError> {
    let located = daemon.locator.locate(&request.path).await?;
    let place = Place { located, env: request.env };
    let wanted = Wanted {
        session_id: request.session_id,
        agent: request.agent,
        model: request.model,
        title: request.title,
    };
    daemon.sessions.ensure(&place, wanted).await
}

pub(crate) async fn list(
    daemon: &Daemon,
    query: &SessionsQuery,
) -> Result<Vec<SessionInfo>, ApiError> {
    let repo = repo_at(daemon, query.path.as_deref()).await?;
    let limit = query.limit.unwrap_or(LISTED).min(LISTED_MAX);
    daemon.sessions.list(repo.as_ref(), query.closed, limit).await
}

pub(crate) async fn show(
    daemon: &Daemon,
    name: &str,
    query: &SessionQuery,
) -> Result<SessionDetail, ApiError> {
    daemon.sessions.show(&key(daemon, name, query).await?).await
}

/// Puts a prompt in line.
pub(crate) async fn prompt(
    daemon: &Daemon,
    name: &str,
    query: &SessionQuery,
    request: (TurnRequest, RequestId),
) -> Result<(TurnBegun, Turn), ApiError> {
    let key = key(daemon, name, query).await?;
    let begun = daemon.sessions.prompt(&key, request).await?;
    let turn = Turn { key, turn: begun.turn.turn, after: query.after.unwrap_or(0) };
    Ok((begun, turn))
}

/// A turn that is there.
pub(crate) async fn turn(
    daemon: &Daemon,
    (name, turn_id): (&str, &str),
    query: &SessionQuery,
) -> Result<Turn, ApiError> {
    let key = key(daemon, name, query).await?;
    let turn = daemon.sessions.turn_named(&key, turn_id).await?;
    Ok(Turn { key, turn, after: query.after.unwrap_or(0) })
}

/// What a turn tells, to its end.
pub(crate) fn follow(
    daemon: &Daemon,
    turn: Turn,
) -> impl Stream<Item = Result<Told, ApiError>> + Send + use<> {
    daemon.sessions.follow(turn.key, turn.turn, turn.after)
}

pub(crate) async fn abort(
    daemon: &Daemon,
    name: &str,
    query: &SessionQuery,
    request: &SessionAbortRequest,
) -> Result<SessionAbortReport, ApiError> {
    let key = key(daemon, name, query).await?;
    let turns = daemon.sessions.abort(&key, request.turn_id.as_deref()).await?;
    Ok(SessionAbortReport { turns })
}

/// Closes a session. Its conversation stays in the agent's own records.
pub(crate) async fn close(
    daemon: &Daemon,
    name: &str,
    query: &SessionQuery,
) -> Result<SessionDetail, ApiError> {
    let key = key(daemon, name, query).await?;
    daemon.sessions.close(&key).await?;
    daemon.sessions.show(&key).await
}

/// Answers a permission or a question.
pub(crate) async fn answer(
    daemon: &Daemon,
    name: &str,
    query: &SessionQuery,
    answer: &SessionAnswer,
) -> Result<(), ApiError> {
    daemon.sessions.answer(&key(daemon, name, query).await?, answer).await
}

/// Directories that sessions have open.
pub(crate) fn instances(daemon: &Daemon) -> Vec<InstanceInfo> {
    daemon.sessions.instances()
}

/// Closes them, when those who work there have left.
pub(crate) async fn dispose(
    daemon: &Daemon,
    request: InstanceDisposeRequest,
) -> Result<InstanceDisposeReport, ApiError> {
    let patience = request.wait_seconds.map_or(DISPOSE_WAIT, Duration::from_secs);
    let located = match &request.path {
        Some(path) => Some(daemon.locator.locate(path).await?),
        None => None,
    };
    let disposed = match located {
        Some(located) if request.reload => {
            daemon.sessions.reload(&Place { located, env: None }, patience).await?;
            1
        }
        Some(located) => daemon.sessions.dispose(Some(&located.directory), patience).await?,
        None => daemon.sessions.dispose(None, patience).await?,
    };
    Ok(InstanceDisposeReport { disposed: disposed as u64 })
}

async fn key(daemon: &Daemon, name: &str, query: &SessionQuery) -> Result<SessionKey, ApiError> {
    let repo = match &query.repo_id {
        Some(repo) => Some(repo.clone()),
        None => repo_at(daemon, query.path.as_deref()).await?,
    };
    daemon.sessions.resolve(name, repo.as_ref()).await
}

async fn repo_at(daemon: &Daemon, path: Option<&str>) -> Result<Option<RepoId>, ApiError> {
    match path {
        Some(path) => Ok(Some(daemon.locator.locate(path).await?.repo.id)),
        None => Ok(None),
    }
}

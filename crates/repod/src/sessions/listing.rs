//! What is said of sessions and turns.

use super::live::Live;
use super::stores::failed;
use super::{Sessions, not_found};
use repod_proto::agent::TurnError;
use repod_proto::{
    ApiError, ErrorCode, Generation, RepoId, SessionDetail, SessionInfo, SessionStatus, TurnBegun,
    TurnInfo,
};
use repod_store::{Session, SessionFilter, SessionKey, Turn};
use std::sync::Arc;

/// Turns shown of one session.
const TURNS: u32 = 20;

impl Sessions {
    /// Sessions of one repo, or of all, the last active first.
    pub(crate) async fn list(
        &self,
        repo: Option<&RepoId>,
        closed: bool,
        limit: u32,
    ) -> Result<Vec<SessionInfo>, ApiError> {
        let filter = SessionFilter { repo_id: repo.map(ToString::to_string), closed };
        let mut all = Vec::new();
        for repo in self.repos(repo) {
            if self.stores().known(&repo).await?.is_none() {
                continue;
            }
            let opened = self.opened(&repo).await?;
            all.extend(opened.store.list(&filter, limit).await.map_err(failed)?);
            if self.stores().is_shared() {
                break;
            }
        }
        all.sort_by_key(|session| std::cmp::Reverse(session.last_active_ms));
        all.truncate(limit as usize);
        Ok(all.iter().map(|session| self.info(session)).collect())
    }

    /// The session of this name, in this repo or in the only one that has it.
    pub(crate) async fn resolve(
        &self,
        name: &str,
        repo: Option<&RepoId>,
    ) -> Result<SessionKey, ApiError> {
        if let Some(repo) = repo {
            return Ok(SessionKey::new(repo.as_str(), name));
        }
        let mut found = Vec::new();
        for repo in self.repos(None) {
            let key = SessionKey::new(repo.as_str(), name);
            let is_live = self.live_mut().contains_key(&key);
            let Some(_) = self.stores().known(&repo).await? else { continue };
            let opened = self.opened(&repo).await?;
            if is_live || opened.store.session(&key).await.map_err(failed)?.is_some() {
                found.push(key);
            }
        }
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(not_found(name)),
            (Some(key), true) => Ok(key),
            (Some(_), false) => {
                let message = format!("more than one repo has a session `{name}`");
                Err(ApiError::new(ErrorCode::SessionAmbiguous, message)
                    .hint("say which repo is meant: `--repo PATH`, or `?path=` in the API"))
            }
        }
    }

    /// One session with its last turns.
    pub(crate) async fn show(&self, key: &SessionKey) -> Result<SessionDetail, ApiError> {
        let opened = self.opened(&self.repo_of(key)).await?;
        let session = opened.store.session(key).await.map_err(failed)?;
        let session = session.ok_or_else(|| not_found(&key.session_id))?;
        let turns = opened.store.turns(key, None, TURNS).await.map_err(failed)?;
        Ok(SessionDetail {
            session: self.info(&session),
            turns: turns.iter().map(turn_info).collect(),
        })
    }

    /// The turn of this name.
    pub(crate) async fn turn_named(
        &self,
        key: &SessionKey,
        turn_id: &str,
    ) -> Result<u64, ApiError> {
        let live = self.live_mut().get(key).cloned();
        let at_hand = |live: Arc<Live>| {
            live.open().iter().find(|run| run.turn_id == turn_id).map(|run| run.turn)
        };
        if let Some(turn) = live.and_then(at_hand) {
            return Ok(turn);
        }
        let opened = self.opened(&self.repo_of(key)).await?;
        let mut below = None;
        loop {
            let turns = opened.store.turns(key, below, 200).await.map_err(failed)?;
            if let Some(turn) = turns.iter().find(|turn| turn.turn_id == turn_id) {
                return Ok(turn.turn);
            }
            let Some(last) = turns.last() else {
                let message = format!("the session `{}` has no turn `{turn_id}`", key.session_id);
                return Err(ApiError::new(ErrorCode::SessionNotFound, message));
            };
            below = Some(last.turn);
        }
    }

    /// The repos whose stores are looked at.
    fn repos(&self, only: Option<&RepoId>) -> Vec<RepoId> {
        match only {
            Some(repo) => vec![repo.clone()],
            None => self.0.fleet.all().iter().map(|handle| handle.repo().id.clone()).collect(),
        }
    }

    pub(super) fn info(&self, session: &Session) -> SessionInfo {
        let live = self.live_mut().get(&session.key).cloned();
        let queued = live.as_ref().map_or(0, |live| live.queued());
        // What runs here is known better than the record, which comes after.
        let running = live.and_then(|live| live.running()).filter(|run| !run.log.is_closed());
        let running = running.map(|run| match run.log.is_waiting() {
            true => SessionStatus::Waiting,
            false => SessionStatus::Busy,
        });
        SessionInfo {
            session_id: session.key.session_id.clone(),
            repo_id: self.repo_of(&session.key),
            directory: session.directory.clone(),
            backend: session.backend.clone(),
            agent: session.agent.clone(),
            model: session.model.clone(),
            agent_session_id: session.agent_session_id.clone(),
            generation: Generation(session.generation),
            status: running.unwrap_or(match session.status {
                repod_store::SessionStatus::Idle => SessionStatus::Idle,
                repod_store::SessionStatus::Busy => SessionStatus::Busy,
                repod_store::SessionStatus::Waiting => SessionStatus::Waiting,
                repod_store::SessionStatus::Crashed => SessionStatus::Crashed,
                repod_store::SessionStatus::Closed => SessionStatus::Closed,
            }),
            queued: queued as u64,
            created_at: time(session.created_ms),
            last_active_at: time(session.last_active_ms),
            title: session.title.clone(),
        }
    }

    pub(super) fn begun(&self, turn: &Turn, ahead: u32) -> TurnBegun {
        TurnBegun {
            session_id: turn.key.session_id.clone(),
            repo_id: self.repo_of(&turn.key),
            turn: turn_info(turn),
            ahead,
        }
    }
}

fn turn_info(turn: &Turn) -> TurnInfo {
    TurnInfo {
        turn: turn.turn,
        turn_id: turn.turn_id.clone(),
        state: turn.state.name().to_owned(),
        prompt: turn.prompt.clone(),
        error: turn
            .error
            .as_ref()
            .map(|error| TurnError { name: error.name.clone(), message: error.message.clone() }),
        begun_at: time(turn.begun_ms),
        started_at: turn.started_ms.map(time),
        settled_at: turn.settled_ms.map(time),
    }
}

fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default()
}

//! A daemon that starts takes up the turns the one before has left: those in line run, and those that had
//! been started are gone on with or ended, as the user wants it.

use super::Sessions;
use super::backend::TurnInput;
use super::live::{LeftOver, TurnRun};
use super::log::TurnLog;
use super::retold::Retold;
use super::stores::{Opened, failed, updated};
use repod_proto::{ApiError, ErrorCode, RepoId};
use repod_store::{Outcome, Session, Settlement, Turn, TurnFailure, TurnState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Lines of what a turn told, read in one go.
const PAGE: u32 = 1000;
/// Between two tries at a store that fails, and how many there are.
const PAUSE: Duration = Duration::from_secs(5);
const TRIES: u32 = 100;

impl Sessions {
    /// Before anybody is answered: every turn that was left has its place in its session's line again.
    /// Where that fails it is tried on, and by whoever wants something of the sessions there.
    pub(crate) async fn recover(&self) {
        for handle in self.0.fleet.all() {
            let id = &handle.repo().id;
            match self.stores().known(id).await {
                Ok(None) => continue,
                Ok(Some(_)) => {
                    if let Err(error) = self.opened(id).await {
                        tracing::error!(repo = %id, %error, "its sessions can't be taken up");
                        tokio::spawn(self.clone().try_on(id.clone()));
                    }
                }
                Err(error) => {
                    tracing::error!(repo = %id, %error, "its sessions can't be read");
                    tokio::spawn(self.clone().try_on(id.clone()));
                }
            }
            if self.stores().is_shared() {
                return;
            }
        }
    }

    async fn try_on(self, repo: RepoId) {
        for _ in 0..TRIES {
            tokio::time::sleep(PAUSE).await;
            match self.opened(&repo).await {
                Err(error) if error.code == ErrorCode::StateIo => {
                    tracing::warn!(%repo, %error, "its sessions can't be taken up yet");
                }
                // What else is wrong with it, time doesn't mend.
                _ => return,
            }
        }
    }

    /// May be done again at any time: what is in line already stays where it is.
    pub(super) async fn recover_store(&self, opened: &Opened) -> Result<(), ApiError> {
        let left = opened.store.recover(&opened.owner).await.map_err(failed)?;
        let mut failures = BTreeMap::new();
        for turn in updated(left)? {
            let key = turn.key.clone();
            if failures.contains_key(&key) {
                // In its order, or not yet.
                continue;
            }
            tracing::info!(session = key.session_id, turn = turn.turn, "a turn was left");
            if let Err(error) = self.take_up_or_end(opened, turn).await {
                failures.insert(key, error);
            }
        }
        failures.into_values().next().map_or(Ok(()), Err)
    }

    async fn take_up_or_end(&self, opened: &Opened, turn: Turn) -> Result<(), ApiError> {
        let (key, number) = (turn.key.clone(), turn.turn);
        let Err(error) = self.take_up(opened, turn).await else { return Ok(()) };
        tracing::warn!(session = key.session_id, turn = number, %error, "it can't go on");
        if error.code == ErrorCode::StateIo {
            // It isn't known yet what it was.
            return Err(error);
        }
        let failure = TurnFailure {
            name: "Interrupted".to_owned(),
            message: format!("it can't go on: {error}"),
        };
        let settlement =
            Settlement { outcome: Outcome::Interrupted, error: Some(failure), crashed: false };
        let settling = opened.store.settle_turn(&opened.owner, &key, number, &settlement).await;
        settling.map_err(failed).map(drop)
    }

    async fn take_up(&self, opened: &Opened, turn: Turn) -> Result<(), ApiError> {
        crate::fault::failure(self.home(), "take-up")?;
        let session = opened.store.session(&turn.key).await.map_err(failed)?;
        let session: Session = session.ok_or_else(|| super::not_found(&turn.key.session_id))?;
        let place = self.place(&session).await?;
        let input: TurnInput =
            serde_json::from_slice(turn.input.as_deref().unwrap_or_default()).unwrap_or_default();
        let log = Arc::new(TurnLog::new(turn.next_event));
        let left = match turn.state {
            TurnState::Queued => None,
            _ => {
                let told = self.told(opened, &turn).await?;
                let is_resumed = told.is_resumed();
                log.retell(told);
                let (message_id, generation) = (turn.message_id, turn.generation);
                Some(LeftOver { message_id, generation, is_resumed })
            }
        };
        let live = self.live(&turn.key);
        live.note(session);
        self.line_up(
            &live,
            TurnRun {
                request: None,
                turn: turn.turn,
                turn_id: turn.turn_id,
                place,
                input,
                log,
                left,
                abort: watch::Sender::new(false),
            },
        );
        Ok(())
    }

    /// What a turn has told so far.
    async fn told(&self, opened: &Opened, turn: &Turn) -> Result<Retold, ApiError> {
        let (mut told, mut after) = (Retold::default(), 0);
        loop {
            let page = opened.store.events(&turn.key, turn.turn, after, PAGE).await;
            let Some(page) = page.map_err(failed)? else { return Ok(told) };
            let Some((last, _)) = page.events.last() else { return Ok(told) };
            after = *last;
            page.events.iter().for_each(|(_, line)| told.note(line));
        }
    }
}

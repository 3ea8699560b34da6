//! A daemon that starts takes up the turns the one before has left: those in line run, and those that had
//! been started are gone on with or ended, as the user wants it.

use super::Sessions;
use super::backend::TurnInput;
use super::live::{LeftOver, TurnRun};
use super::log::TurnLog;
use super::retold::Retold;
use super::stores::{Opened, failed, updated};
use repod_proto::ApiError;
use repod_store::{Outcome, Session, Settlement, Turn, TurnFailure, TurnState};
use std::sync::Arc;
use tokio::sync::watch;

/// Lines of what a turn told, read in one go.
const PAGE: u32 = 1000;

impl Sessions {
    /// Before anybody is answered: every turn that was left has its place in its session's line again.
    pub(crate) async fn recover(&self) {
        for handle in self.0.fleet.all() {
            let id = &handle.repo().id;
            let known = match self.stores().known(id).await {
                Ok(None) => continue,
                Ok(Some(_)) => self.opened(id).await,
                Err(error) => Err(error),
            };
            if let Err(error) = known {
                tracing::error!(repo = %id, %error, "its sessions can't be read");
            }
            if self.stores().is_shared() {
                return;
            }
        }
    }

    pub(super) async fn recover_store(&self, opened: &Opened) -> Result<(), ApiError> {
        let left = opened.store.recover(&opened.owner).await.map_err(failed)?;
        for turn in updated(left)? {
            tracing::info!(session = turn.key.session_id, turn = turn.turn, "a turn was left");
            let (key, number) = (turn.key.clone(), turn.turn);
            if let Err(error) = self.take_up(opened, turn).await {
                tracing::warn!(session = key.session_id, turn = number, %error, "it can't go on");
                let error = TurnFailure {
                    name: "Interrupted".to_owned(),
                    message: format!("it can't go on: {error}"),
                };
                let settlement = Settlement {
                    outcome: Outcome::Interrupted,
                    error: Some(error),
                    crashed: false,
                };
                let settling =
                    opened.store.settle_turn(&opened.owner, &key, number, &settlement).await;
                settling.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn take_up(&self, opened: &Opened, turn: Turn) -> Result<(), ApiError> {
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

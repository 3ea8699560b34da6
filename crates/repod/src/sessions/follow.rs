//! Follows a turn from any event on: from memory while it is at hand, from the record before that.

use super::Sessions;
use super::live::TurnRun;
use super::log::Had;
use super::stores::failed;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use repod_proto::agent::{AgentEvent, TurnEnd, TurnError, TurnOutcome};
use repod_proto::{ApiError, TurnLine};
use repod_store::{Outcome, SessionKey, TurnState};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Lines read from the record in one go.
const PAGE: u32 = 512;
/// How often a turn is looked at that another daemon runs.
const LOOK: Duration = Duration::from_millis(500);

/// One event: its number, and its line without the line's end.
pub(crate) type Told = (u64, Bytes);

struct Following {
    sessions: Sessions,
    key: SessionKey,
    turn: u64,
    after: u64,
    buffer: VecDeque<Told>,
    has_ended: bool,
}

impl Sessions {
    /// What a turn tells, after the event of this number (0: all), to its end.
    pub(crate) fn follow(
        &self,
        key: SessionKey,
        turn: u64,
        after: u64,
    ) -> impl Stream<Item = Result<Told, ApiError>> + Send + use<> {
        let buffer = VecDeque::new();
        let following =
            Following { sessions: self.clone(), key, turn, after, buffer, has_ended: false };
        stream::unfold(following, async |mut following| {
            let next = following.next().await?;
            Some((next, following))
        })
    }
}

impl Following {
    async fn next(&mut self) -> Option<Result<Told, ApiError>> {
        loop {
            if let Some(told) = self.buffer.pop_front() {
                self.after = told.0;
                return Some(Ok(told));
            }
            if self.has_ended {
                return None;
            }
            if let Err(error) = self.fill().await {
                self.has_ended = true;
                return Some(Err(error));
            }
        }
    }

    /// Gets more, or waits until there is some.
    async fn fill(&mut self) -> Result<(), ApiError> {
        let live = self.sessions.live_mut().get(&self.key).cloned();
        let Some(run) = live.and_then(|live| live.find(self.turn)) else {
            return self.read_record(None).await;
        };
        let mut changes = run.log.changes();
        match run.log.after(self.after) {
            Had::Lines(lines) => self.buffer.extend(lines),
            Had::Older => return self.read_record(Some(&run)).await,
            // Its sender is gone when the turn is: the record has the rest.
            Had::Nothing => drop(changes.changed().await),
            Had::End => {
                self.has_ended = true;
                // An earlier daemon told more than it got on record: the end is told all the same.
                self.buffer.extend(run.log.last().filter(|last| last.0 < self.after));
            }
        }
        Ok(())
    }

    async fn read_record(&mut self, run: Option<&Arc<TurnRun>>) -> Result<(), ApiError> {
        let opened = self.sessions.opened(&self.sessions.repo_of(&self.key)).await?;
        let page = opened.store.events(&self.key, self.turn, self.after, PAGE).await;
        let Some(page) = page.map_err(failed)? else {
            return Err(super::not_found(&self.key.session_id));
        };
        let has_lines = !page.events.is_empty();
        let lines = page.events.into_iter().map(|(id, line)| (id, Bytes::from(line)));
        self.buffer.extend(lines);
        match (has_lines, run) {
            (true, _) => {}
            // What memory has let go and the record never got.
            (false, Some(run)) => self.after = run.log.first().saturating_sub(1).max(self.after),
            (false, None) if page.state.is_settled() => {
                self.end(page.state, page.next_event).await?;
            }
            (false, None) => tokio::time::sleep(LOOK).await,
        }
        Ok(())
    }

    /// The last line says how it ended. One that didn't reach the record is made up from the outcome.
    async fn end(&mut self, state: TurnState, next: u64) -> Result<(), ApiError> {
        self.has_ended = true;
        let opened = self.sessions.opened(&self.sessions.repo_of(&self.key)).await?;
        let store = &opened.store;
        let last = store.events(&self.key, self.turn, next.saturating_sub(2), 1).await;
        let last = last.map_err(failed)?.and_then(|mut page| page.events.pop());
        if let Some((id, line)) = last.filter(|(_, line)| is_end(line)) {
            let is_missed = id < self.after;
            self.buffer.extend(is_missed.then(|| (id, Bytes::from(line))));
            return Ok(());
        }
        let turn = store.turn(&self.key, self.turn).await.map_err(failed)?;
        let error = turn.and_then(|turn| turn.error);
        let error = error.map(|error| TurnError { name: error.name, message: error.message });
        let outcome = match state {
            TurnState::Settled(Outcome::Completed) => TurnOutcome::Completed,
            TurnState::Settled(Outcome::Interrupted) => TurnOutcome::Interrupted,
            _ => TurnOutcome::Failed,
        };
        let event = AgentEvent::Turn(TurnEnd { outcome, error });
        let line = serde_json::to_vec(&TurnLine { id: next, event }).unwrap_or_default();
        self.buffer.push_back((next, Bytes::from(line)));
        Ok(())
    }
}

fn is_end(line: &[u8]) -> bool {
    let line: Result<TurnLine, _> = serde_json::from_slice(line);
    let Ok(TurnLine { event: AgentEvent::Turn(end), .. }) = line else { return false };
    end.outcome != TurnOutcome::Waiting
}

//! Puts what a turn tells on record, a batch at a time, beside the turn. Whoever follows it is told what
//! is on record; only while that fails doesn't anybody wait for it.

use super::live::TurnRun;
use super::stores::{Opened, failed, updated};
use repod_proto::ApiError;
use repod_store::{MAX_LINE, SessionKey, TurnMark};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The least time between two batches: the first line after a pause is saved, and told, at once.
const BATCH: Duration = Duration::from_millis(20);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Saves as long as the turn runs.
pub(super) struct Saving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Saving {
    pub(super) fn begin(opened: &Opened, key: &SessionKey, run: &Arc<TurnRun>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(save(opened.clone(), key.clone(), Arc::clone(run), stopped));
        Self { stop, task }
    }

    /// Saves what is left, and returns when that is done.
    pub(super) async fn end(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn save(
    opened: Opened,
    key: SessionKey,
    run: Arc<TurnRun>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut changes = run.log.news();
    let mut was_waiting = false;
    let mut last: Option<Instant> = None;
    loop {
        let is_last = tokio::select! {
            _ = &mut stopped => true,
            changed = changes.changed() => changed.is_err(),
        };
        if let Some(last) = last.filter(|_| !is_last) {
            // Together with what comes in a moment.
            let _ = tokio::time::timeout_at(last + BATCH, &mut stopped).await;
        }
        last = Some(Instant::now());
        if let Err(error) = now(&opened, &key, &run).await {
            tracing::warn!(session = key.session_id, turn = run.turn, %error, "events aren't saved");
            run.log.unrecorded();
            if !is_last {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        let is_waiting = run.log.is_waiting();
        if is_waiting != was_waiting && !is_last {
            let to = if is_waiting { TurnMark::Waiting } else { TurnMark::Running };
            let _ = opened.store.mark_turn(&opened.owner, &key, run.turn, to).await;
            was_waiting = is_waiting;
        }
        if is_last || stopped.is_terminated() {
            return;
        }
    }
}

/// Puts everything on record that isn't.
pub(super) async fn now(opened: &Opened, key: &SessionKey, run: &TurnRun) -> Result<(), ApiError> {
    loop {
        let (first, lines) = run.log.unsaved();
        if lines.is_empty() {
            return Ok(());
        }
        let count = lines.len() as u64;
        let lines: Vec<_> = (first..).zip(lines).map(|(id, line)| short(id, line)).collect();
        let appending = opened.store.append(&opened.owner, key, run.turn, first, &lines);
        updated(appending.await.map_err(failed)?)?;
        run.log.saved(first + count);
    }
}

/// The last line, which a reader can make up from the turn's outcome if it can't be saved.
pub(super) async fn last(opened: &Opened, key: &SessionKey, run: &TurnRun) {
    if let Err(error) = now(opened, key, run).await {
        tracing::warn!(session = key.session_id, turn = run.turn, %error, "its end isn't saved");
        run.log.unrecorded();
    }
}

/// A line that is too long for the record leaves its place to one that readers skip.
fn short(id: u64, line: Vec<u8>) -> Vec<u8> {
    if line.len() as u64 <= MAX_LINE {
        return line;
    }
    format!(r#"{{"id":{id},"type":"omitted"}}"#).into_bytes()
}

//! What the lifecycle asks for, carried out: slots, spawns, ends and answers.

use super::{Actor, Done, Slot};
use crate::backend::bring_up::{self, Intended};
use crate::backend::death::Kills;
use crate::backend::health::Health;
use crate::backend::view::View;
use crate::fault;
use crate::registry::BackendRecord;
use repod_opencode::BackendClient;
use repod_proto::{ApiError, ErrorCode, Generation};
use repod_supervisor::launcher::{ExitReason, RunningChild};
use repod_supervisor::lifecycle::{Effect, Event, Token};
use repod_supervisor::terminate::{Grace, terminate};
use repod_supervisor::tree::ProcessTree;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

impl Actor {
    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Persist => {}
            Effect::AcquireSlot { token } => self.acquire_slot(token),
            Effect::ReleaseSlot { token } => {
                if let Some(Slot::Waiting(waiting)) = self.slots.remove(&token) {
                    waiting.abort();
                }
            }
            Effect::Spawn { generation } => self.spawn(generation),
            Effect::Release { generation } => return self.release(generation),
            Effect::AwaitReady { generation } => self.await_ready(generation),
            Effect::Terminate { generation } => return self.terminate(generation),
            Effect::ScheduleRestart { token, after_ms } => {
                self.tasks.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    Done::Event(Event::RestartDue { token })
                });
            }
            Effect::AnswerReady => self.answer_all(&Ok(self.view())),
            Effect::AnswerFailed { failure, parked } => {
                self.answer_all(&Err(self.explain(&failure, parked)));
            }
            Effect::AnswerStopped => {
                let stopped = std::mem::take(&mut self.stopped);
                for reply in self.stopping.drain(..) {
                    let _ = reply.send(Ok(stopped));
                }
            }
            Effect::AnswerStopFailed { failure } => {
                let error = self.explain(&failure, false);
                for reply in self.stopping.drain(..) {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Effect::RefuseHibernate => {
                let message = "only a backend that answers can be put to sleep";
                let error = ApiError::new(ErrorCode::BackendBusy, message)
                    .hint("`repod ps` shows what it is doing; `repod stop` ends it all the same");
                // Only the one that was asked just now: the others wait for an end under way.
                if let Some(reply) = self.stopping.pop() {
                    let _ = reply.send(Err(error));
                }
            }
        }
        None
    }

    fn answer_all(&mut self, answer: &Result<Arc<View>, ApiError>) {
        for reply in self.wanting.drain(..) {
            // A caller who left cancels nothing.
            let _ = reply.send(answer.clone());
        }
    }

    fn acquire_slot(&mut self, token: Token) {
        let shared = Arc::clone(&self.shared);
        // One that crashed has its place still.
        let asking = self.place.is_none().then(|| self.repo.id.clone());
        let waiting = self.tasks.spawn(async move {
            let place = match asking {
                Some(repo) => Some(shared.admission.enter(&repo).await),
                None => None,
            };
            Done::Slot(token, place, Arc::clone(&shared.slots).acquire_owned().await.ok())
        });
        self.slots.insert(token, Slot::Waiting(waiting));
    }

    fn spawn(&mut self, generation: Generation) {
        self.since.start(&self.usage.counts);
        (self.was_ready, self.record.backend, self.boot) = (false, None, None);
        (self.adopted, self.kills) = (false, Kills::default());
        let intended = Intended {
            shared: Arc::clone(&self.shared),
            repo: Arc::clone(&self.repo),
            dir: self.dir.clone(),
            generation,
            env: self.env.clone(),
            steps: self.steps.0.clone(),
            history: Arc::clone(&self.history),
        };
        let span = tracing::info_span!("start", repo = %self.repo.id, %generation);
        let holding = async move { Done::Held(generation, intended.hold().await.map(Box::new)) };
        self.tasks.spawn(holding.instrument(span));
    }

    fn release(&mut self, generation: Generation) -> Option<Event> {
        match self.held.take()?.release() {
            Ok(running) => {
                fault::point(&self.shared.home, "released");
                self.watch_exit(generation, running);
                None
            }
            Err(error) => {
                let error = ApiError::new(ErrorCode::StartFailed, error.to_string());
                Some(Event::StartFailed { generation, error })
            }
        }
    }

    pub(super) fn watch_exit(&mut self, generation: Generation, mut running: RunningChild) {
        // A hold of its own, for those who only look: the other goes with the wait.
        self.alive = running.identity().verify().ok().flatten().map(Arc::new);
        self.tasks.spawn(async move {
            let reason = running.wait().await.unwrap_or(ExitReason::Unknown);
            Done::Exited(generation, reason)
        });
    }

    fn await_ready(&mut self, generation: Generation) {
        let (Some(backend), Some((deadline, booting))) =
            (self.record.backend.clone(), &mut self.boot)
        else {
            return;
        };
        let boot = bring_up::boot(backend, self.dir.backend_log(), *deadline, self.steps.0.clone());
        let span = tracing::info_span!("boot", repo = %self.repo.id, %generation);
        let booted = async move { Done::Booted(generation, boot.await) };
        *booting = Some(self.tasks.spawn(booted.instrument(span)));
    }

    fn terminate(&mut self, generation: Generation) -> Option<Event> {
        if let Some((_, Some(booting))) = self.boot.take() {
            booting.abort();
        }
        // A child that was never released ends by itself when this is dropped.
        self.held = None;
        let Some(backend) = self.record.backend.clone() else {
            return Some(Event::Ended { generation });
        };
        let polite = self.was_ready;
        let repo = self.repo.id.clone();
        self.tasks.spawn(async move {
            let tree = ProcessTree::new(Some(backend.identity.clone()), backend.marker.clone());
            let confinement = backend.confinement.clone();
            let ended = terminate(tree, dispose(backend, polite), Grace::default()).await;
            if ended.as_ref().is_ok_and(|ended| ended.survivors.is_empty()) {
                confinement.end(&repo).await;
            }
            Done::Terminated(generation, ended)
        });
        None
    }

    pub(super) fn start_probing(&mut self) {
        if let Some(backend) = &self.record.backend {
            let (port, password) = (backend.port, backend.password.clone());
            let log = self.dir.backend_log();
            self.health = Some(Health::watch(port, password, log));
        }
    }
}

/// The polite phase of an end: sessions are closed and their tools ended by OpenCode itself. One
/// that was never ready has nothing to close, and would not answer.
async fn dispose(backend: BackendRecord, polite: bool) {
    if polite {
        let client = BackendClient::new(backend.port, backend.password);
        if let Err(error) = client.dispose_all().await {
            tracing::debug!(%error, "it could not be asked to close its sessions");
        }
    }
}

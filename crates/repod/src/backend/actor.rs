//! The one task that owns a backend. It feeds the pure [`Lifecycle`] with what happened and carries
//! out the effects it asks for; nobody else changes anything of this repo.
//!
//! What takes time runs beside it in `tasks` and comes back as [`Done`], so that a stop is heard
//! while a start is under way.

mod asked;
mod effects;

use super::admission::Place;
use super::bring_up::{self, Booted, Held, Step};
use super::counts::{self, Since};
use super::death::Kills;
use super::failure::Known;
use super::health::Health;
use super::view::View;
use super::{Reply, Request, Shared, Stopped, Usage, adopt, death, failure, strays};
use crate::fault;
use crate::registry::Record;
use crate::repo::Repo;
use repod_proto::home::RepoDir;
use repod_proto::{ApiError, BackendState, ErrorCode, ExitCause, Generation, Home, LastExit};
use repod_supervisor::files::LockFile;
use repod_supervisor::identity::ProcessHandle;
use repod_supervisor::launcher::{ExitReason, HeldChild};
use repod_supervisor::lifecycle::{Effect, Event, Failure, Lifecycle, Token};
use repod_supervisor::terminate::Terminated;
use repod_supervisor::tree::TreeError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};

/// Callers that may wait for one start.
const WAITING_MAX: usize = 1024;
/// Progress of a start, for people; more than this is skipped.
const STEPS_MAX: usize = 8;

/// What a task beside the actor brings back.
enum Done {
    Event(Event),
    Slot(Token, Option<Place>, Option<OwnedSemaphorePermit>),
    Held(Generation, Result<Box<Held>, ApiError>),
    Booted(Generation, Result<Booted, ApiError>),
    Exited(Generation, ExitReason),
    Terminated(Generation, Result<Terminated, TreeError>),
}

/// A place in the queue of starts: still waited for, or had.
enum Slot {
    Waiting(AbortHandle),
    Had(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    dir: RepoDir,
    repo: Arc<Repo>,
    _lock: LockFile,
    record: Record,
    life: Lifecycle,
    publish: watch::Sender<Arc<View>>,
    usage: Usage,
    since: Since,
    born: Instant,
    /// The environment of whoever asked last; what the next start gets.
    env: Option<BTreeMap<String, String>>,
    wanting: Vec<Reply<Arc<View>>>,
    stopping: Vec<Reply<Stopped>>,
    stopped: Stopped,
    tasks: JoinSet<Done>,
    slots: BTreeMap<Token, Slot>,
    /// Its place among those awake.
    place: Option<Place>,
    held: Option<HeldChild>,
    alive: Option<Arc<ProcessHandle>>,
    boot: Option<(tokio::time::Instant, Option<AbortHandle>)>,
    health: Option<Health>,
    was_ready: bool,
    adopted: bool,
    leaving: bool,
    cleared: bool,
    steps: (mpsc::Sender<Step>, mpsc::Receiver<Step>),
    detail: Option<Step>,
    kills: Kills,
    history: Arc<Mutex<()>>,
}

impl Actor {
    pub(super) fn new(
        home: &Home,
        shared: Arc<Shared>,
        record: Record,
        lock: LockFile,
        publish: watch::Sender<Arc<View>>,
        usage: Usage,
    ) -> Self {
        let life = match (record.state, &record.failure) {
            (BackendState::Failed, Some(error)) => {
                let parked = error.code == ErrorCode::BackendParked;
                Lifecycle::failed(record.generation, Failure::Start(error.clone()), parked)
            }
            (BackendState::Hibernated, _) => Lifecycle::hibernated(record.generation),
            _ => Lifecycle::new(record.generation),
        };
        let state = life.state();
        Self {
            shared,
            dir: home.repo(&record.repo_id),
            repo: Arc::new(record.repo()),
            _lock: lock,
            record,
            life,
            publish,
            usage,
            since: Since::new(state),
            born: Instant::now(),
            env: None,
            wanting: Vec::new(),
            stopping: Vec::new(),
            stopped: Stopped::default(),
            tasks: JoinSet::new(),
            slots: BTreeMap::new(),
            place: None,
            held: None,
            alive: None,
            boot: None,
            health: None,
            was_ready: false,
            adopted: false,
            leaving: false,
            cleared: false,
            steps: mpsc::channel(STEPS_MAX),
            detail: None,
            kills: Kills::default(),
            history: Arc::default(),
        }
    }

    /// Lives as long as the daemon does.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        self.take_over().await;
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.request(request).await,
                    None => break,
                },
                Some(done) = self.tasks.join_next() => self.done(done).await,
                Some(step) = self.steps.1.recv() => {
                    self.detail = Some(step);
                    self.show();
                }
                answered = probe(&mut self.health) => self.probed(answered).await,
            }
        }
    }

    /// Adopts the backend that an earlier daemon left, or clears the entry of one that is gone.
    async fn take_over(&mut self) {
        let Some(backend) = self.record.backend.clone() else {
            self.show();
            return;
        };
        match adopt::find(&backend, self.record.state).await {
            Some((running, found)) => {
                tracing::info!(repo = %self.repo.id, pid = backend.identity.pid, ?found, "adopted");
                let generation = self.record.generation;
                self.was_ready = backend.version.is_some();
                self.adopted = true;
                self.place = Some(self.shared.admission.note());
                self.boot = Some((bring_up::deadline(&self.shared), None));
                self.watch_exit(generation, running);
                let event = Event::Adopted {
                    generation,
                    process: backend.identity,
                    version: backend.version,
                    found,
                };
                self.feed(event).await;
            }
            None => {
                tracing::info!(repo = %self.repo.id, pid = backend.identity.pid, "its backend is gone");
                self.cleared = true;
                self.note_unseen_death();
                self.record.backend = None;
                self.refresh_record();
                if let Err(error) = self.persist().await {
                    tracing::error!(repo = %self.repo.id, %error, "the stale entry can't be cleared");
                }
                // Only what carries the marker of that very start is ended.
                strays::end(&backend.marker, &[], false).await;
                backend.confinement.end(&self.repo.id).await;
            }
        }
        self.detail = None;
        self.show();
    }

    async fn done(&mut self, done: Result<Done, JoinError>) {
        let generation = self.life.generation();
        let event = match done {
            Ok(Done::Event(event)) => event,
            Ok(Done::Slot(token, place, permit)) => match (self.slots.get_mut(&token), permit) {
                (Some(slot), Some(permit)) => {
                    *slot = Slot::Had(permit);
                    self.place = self.place.take().or(place);
                    fault::point(&self.shared.home, "slot");
                    Event::SlotGranted { token }
                }
                // Given back meanwhile, or the daemon is ending.
                _ => return,
            },
            Ok(Done::Held(generation, Ok(held))) => self.held(generation, *held),
            Ok(Done::Held(generation, Err(error)) | Done::Booted(generation, Err(error))) => {
                let error = failure::with_tail(error, &self.tail());
                Event::StartFailed { generation, error }
            }
            Ok(Done::Booted(generation, Ok(booted))) => self.booted(generation, booted),
            Ok(Done::Exited(generation, reason)) => self.exited(generation, reason),
            Ok(Done::Terminated(generation, Ok(ended))) => {
                self.stopped.processes = ended.ended;
                if ended.survivors.is_empty() {
                    Event::Ended { generation }
                } else {
                    Event::EndFailed { generation, survivors: ended.survivors }
                }
            }
            Ok(Done::Terminated(generation, Err(error))) => {
                tracing::error!(repo = %self.repo.id, %error, "its processes can't be looked for");
                Event::EndFailed { generation, survivors: Vec::new() }
            }
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                // A task that panicked would leave the machine waiting; both of these are ignored
                // where they don't apply.
                tracing::error!(repo = %self.repo.id, %error, "a task of this repo broke off");
                self.feed(Event::EndFailed { generation, survivors: Vec::new() }).await;
                let error =
                    ApiError::new(ErrorCode::Internal, format!("the start broke off: {error}"));
                Event::StartFailed { generation, error }
            }
        };
        self.feed(event).await;
    }

    fn held(&mut self, generation: Generation, held: Held) -> Event {
        fault::point(&self.shared.home, "held");
        let process = held.child.identity().clone();
        self.held = Some(held.child);
        self.boot = Some((held.deadline, None));
        self.record.backend = Some(held.record);
        Event::Spawned { generation, process }
    }

    fn booted(&mut self, generation: Generation, booted: Booted) -> Event {
        fault::point(&self.shared.home, "booted");
        self.was_ready = true;
        if let Some(backend) = &mut self.record.backend {
            backend.port = booted.port;
            backend.version = Some(booted.version.clone());
        }
        Event::Ready { generation, version: booted.version }
    }

    fn exited(&mut self, generation: Generation, reason: ExitReason) -> Event {
        let booting = matches!(self.boot, Some((_, Some(_))));
        if booting && repod_opencode::is_port_lost(&self.tail()) {
            tracing::warn!(repo = %self.repo.id, %generation, %reason, "the backend lost its port");
            return Event::PortLost { generation };
        }
        let is_asked = self.life.state() == BackendState::Stopping;
        if is_asked || generation != self.life.generation() {
            tracing::info!(repo = %self.repo.id, %generation, %reason, "the backend ended");
        } else {
            self.note_death(generation, reason);
        }
        Event::Exited { generation, reason }
    }

    /// Finds out what it died of, while its control group is still there.
    fn note_death(&mut self, generation: Generation, reason: ExitReason) {
        let death = self.death(generation, reason);
        tracing::warn!(repo = %self.repo.id, %generation, %reason, cause = death.cause.as_str(),
            "the backend ended: {}", death.message);
        self.shared.deaths.note(&self.repo.id, death.cause);
        self.record.last_exit = Some(death);
    }

    /// Nobody saw it end; it may have been stopped, or the machine. Only what its control group has
    /// counted since is certain.
    fn note_unseen_death(&mut self) {
        let generation = self.record.generation;
        let death = self.death(generation, ExitReason::Unknown);
        if death.cause == ExitCause::Oom {
            tracing::warn!(repo = %self.repo.id, %generation, "the backend had ended: {}", death.message);
            self.shared.deaths.note(&self.repo.id, death.cause);
            self.record.last_exit = Some(death);
        }
    }

    fn death(&mut self, generation: Generation, reason: ExitReason) -> LastExit {
        let memory = self.record.backend.as_mut().and_then(|it| it.confinement.memory.as_mut());
        let group = memory.map(|group| {
            let killed = group.killed() + self.kills.lately(Instant::now());
            (&*group, killed)
        });
        death::of(generation, reason, group)
    }

    /// Follows where its memory counts. Somebody may move it; and what the kernel ended there until now
    /// is not what it dies of later.
    fn look_at_memory(&mut self) {
        let (Some(backend), Some(alive)) = (&mut self.record.backend, &self.alive) else { return };
        let now = self.shared.confine.memory_of(alive.pid());
        let Some(now) = now.filter(|_| alive.is_alive()) else { return };
        let is_dying = self.kills.lately(Instant::now()) > 0;
        let killed = match &mut backend.confinement.memory {
            // It seems to be elsewhere while it ends; see `follow`.
            Some(group) if is_dying && group.dir() != now.dir() => 0,
            Some(group) => group.follow(now),
            none => {
                *none = Some(now);
                0
            }
        };
        self.kills.saw(killed, Instant::now());
        if killed > 0 {
            tracing::warn!(repo = %self.repo.id, processes = killed,
                "the kernel ended processes in this backend's memory group for lack of memory");
        }
    }

    async fn probed(&mut self, answered: bool) {
        self.look_at_memory();
        let generation = self.life.generation();
        let event = if answered {
            Event::ProbeAnswered { generation }
        } else {
            Event::ProbeFailed { generation }
        };
        self.feed(event).await;
    }

    /// Feeds an event and carries out what follows, until nothing does.
    async fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let before = self.life.state();
            let why = counts::reason(&event, self.was_ready);
            let effects = self.life.on(event, self.now());
            let state = self.life.state();
            self.since.note(&self.usage.counts, why, (before, state));
            if state != before {
                tracing::info!(repo = %self.repo.id, state = state.as_str(),
                    generation = %self.life.generation(), "state");
                self.detail = None;
            }
            if !matches!(state, BackendState::Ready | BackendState::Unresponsive) {
                self.health = None;
            }
            if !state.is_live() {
                self.place = None;
            }
            self.refresh_record();
            self.show();
            let mut refused = None;
            for effect in effects {
                if let Some(error) = &refused
                    && matches!(
                        effect,
                        Effect::Spawn { .. } | Effect::Release { .. } | Effect::AwaitReady { .. }
                    )
                {
                    let generation = self.life.generation();
                    events.push_back(Event::StartFailed {
                        generation,
                        error: ApiError::clone(error),
                    });
                    break;
                }
                if matches!(effect, Effect::Persist) {
                    if let Err(error) = self.persist().await {
                        tracing::error!(repo = %self.repo.id, %error, "the record can't be written");
                        refused = Some(error);
                    } else if self.held.is_some() {
                        fault::point(&self.shared.home, "recorded");
                    }
                } else {
                    events.extend(self.carry_out(effect));
                }
            }
            if self.health.is_none()
                && matches!(state, BackendState::Ready | BackendState::Unresponsive)
            {
                self.start_probing();
                fault::point(&self.shared.home, "ready");
            }
        }
    }

    fn explain(&self, failure: &Failure, parked: bool) -> ApiError {
        let (was_ready, tail) = (self.was_ready, self.tail());
        let death = self.record.last_exit.as_ref();
        let death = death.filter(|death| death.generation == self.life.generation());
        let error = failure::explain(failure, parked, &Known { was_ready, tail: &tail, death });
        // Once the process is off the record only what was said of its failure knows the log's end.
        let known = self.record.failure.as_ref().and_then(|known| known.details.get("log_tail"));
        match known.and_then(|tail| tail.as_str()) {
            Some(tail) => failure::with_tail(error, tail),
            None => error,
        }
    }

    fn tail(&self) -> String {
        self.record
            .backend
            .as_ref()
            .map(|b| bring_up::tail(&self.dir, b.log_offset))
            .unwrap_or_default()
    }

    /// Takes over into the record what the machine says.
    fn refresh_record(&mut self) {
        self.record.state = self.life.state();
        self.record.generation = self.life.generation();
        if let Some(failed) = self.life.failure()
            && self.record.failure.is_none()
        {
            self.record.failure = Some(self.explain(failed, self.life.is_parked()));
        }
        if self.life.failure().is_none() {
            self.record.failure = None;
        }
        if self.life.process().is_none() && !self.record.state.is_live() {
            self.record.backend = None;
        }
        if self.life.process().is_none() {
            self.alive = None;
        }
    }

    async fn persist(&mut self) -> Result<(), ApiError> {
        let (record, dir) = (self.record.clone(), self.dir.clone());
        let written = tokio::task::spawn_blocking(move || record.write(&dir)).await;
        written.unwrap_or_else(|error| Err(ApiError::new(ErrorCode::Internal, error.to_string())))
    }

    fn view(&self) -> Arc<View> {
        let mut view = View::of(&self.record);
        view.alive = self.alive.clone();
        (view.adopted, view.leaving) = (self.adopted, self.leaving);
        view.admitted = self.place.is_some();
        view.step = self.detail.map(|detail| detail.step).or(self.life.step());
        view.sessions = self.detail.and_then(|detail| detail.sessions);
        view.recent_starts = self.life.recent_starts(self.now());
        Arc::new(view)
    }

    fn show(&self) {
        self.publish.send_replace(self.view());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn probe(health: &mut Option<Health>) -> bool {
    match health {
        Some(health) => match health.next().await {
            Some(answered) => answered,
            // The prober only ends with its backend.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

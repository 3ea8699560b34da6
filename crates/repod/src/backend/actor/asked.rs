//! What others ask of a backend: wanted, restarted, stopped, put to sleep, swept.

use super::{Actor, WAITING_MAX};
use crate::backend::bring_up::env_of;
use crate::backend::history::Ground;
use crate::backend::{Asked, Awake, Reply, Request, Rule, Stopped, Swept, View, Way, strays};
use repod_proto::{ApiError, BackendState, ErrorCode, HistoryReport};
use repod_supervisor::lifecycle::Event;
use std::sync::Arc;

impl Actor {
    pub(super) async fn request(&mut self, request: Request) {
        match request {
            Request::Ensure(asked, reply) => self.want(asked, reply, Event::Ensure).await,
            Request::Restart { asked, rotate, reply } => {
                if rotate && let Err(error) = self.rotate().await {
                    let _ = reply.send(Err(error));
                    return;
                }
                self.want(asked, reply, Event::Restart).await;
            }
            Request::Stop(reply) => {
                self.stopped.was_running = self.life.state().is_live();
                self.stopping.push(reply);
                self.feed(Event::Stop).await;
            }
            Request::Hibernate(rule, reply) => self.hibernate(rule, reply).await,
            Request::History(way, asked, reply) => {
                let report = self.move_history(way, asked).await;
                let _ = reply.send(report);
            }
            Request::Sweep { dry_run, reply } => {
                let swept = self.sweep(dry_run).await;
                let _ = reply.send(Ok(swept));
            }
        }
    }

    /// Closes the door first and counts then: a request that came before is seen here, one that comes
    /// after sees the door closed, and asks for the next generation.
    async fn hibernate(&mut self, rule: Rule, reply: Reply<Stopped>) {
        let state = self.life.state();
        if !state.is_live() {
            let _ = reply.send(Ok(Stopped::default()));
            return;
        }
        self.leaving = true;
        self.show();
        if let Some(awake) = self.usage.standing().awake(rule) {
            self.leaving = false;
            self.show();
            let _ = reply.send(Err(stays_awake(awake)));
            return;
        }
        self.stopped.was_running = true;
        self.stopping.push(reply);
        self.feed(Event::Hibernate).await;
        self.leaving = false;
        self.show();
    }

    /// Here, between two events, no start can begin meanwhile; whoever asks for one waits.
    async fn move_history(&mut self, way: Way, asked: Asked) -> Result<HistoryReport, ApiError> {
        if self.life.state().is_live() || self.life.state() == BackendState::Stopping {
            return Err(ApiError::new(
                ErrorCode::BackendBusy,
                "its backend has been started again",
            )
            .hint("somebody uses it: end that, then try again"));
        }
        let _history = self.history.lock().await;
        // What an earlier backend left behind has the database open.
        strays::end(&self.shared.marker_prefix_of(&self.repo.id), &[], false).await;
        let env = env_of(asked.env.as_ref());
        let ground = Ground { shared: &self.shared, repo: &self.repo, dir: &self.dir, env: &env };
        match way {
            Way::Over => ground.adopt(&|_, _| {}).await,
            Way::Back => ground.eject().await,
        }
    }

    /// New credentials for the endpoint: on disk first, so that a daemon that dies now knows them.
    async fn rotate(&mut self) -> Result<(), ApiError> {
        let before = self.record.clone();
        self.record.rotate()?;
        if let Err(error) = self.persist().await {
            self.record = before;
            return Err(error);
        }
        tracing::info!(repo = %self.repo.id, "new credentials");
        self.show();
        Ok(())
    }

    async fn want(&mut self, asked: Asked, reply: Reply<Arc<View>>, event: Event) {
        if self.wanting.len() >= WAITING_MAX {
            let message = format!("{WAITING_MAX} callers wait for this repo already");
            let _ = reply.send(Err(ApiError::new(ErrorCode::Overloaded, message)));
            return;
        }
        self.env = asked.env.or(self.env.take());
        self.wanting.push(reply);
        self.feed(event).await;
    }

    /// Left-overs are looked for where no start can be under way: here, between two events.
    async fn sweep(&mut self, dry_run: bool) -> Swept {
        let keep = match self.life.state() {
            BackendState::Starting | BackendState::Stopping => return Swept::default(),
            _ => {
                self.record.backend.iter().map(|backend| backend.marker.clone()).collect::<Vec<_>>()
            }
        };
        let prefix = self.shared.marker_prefix_of(&self.repo.id);
        let processes = strays::end(&prefix, &keep, dry_run).await;
        let cleared = self.cleared;
        self.cleared &= dry_run;
        Swept { cleared, processes }
    }
}

fn stays_awake(awake: Awake) -> ApiError {
    let hint = "`repod stop` ends it all the same";
    ApiError::new(ErrorCode::BackendBusy, format!("it stays awake: {awake}")).hint(hint)
}

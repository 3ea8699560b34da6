//! The keeper: one task that decides which backends sleep. It knows when nobody has used one for
//! long, lets a start in only when there is room, and makes room by putting the least recently used
//! idle one to sleep. What is in use is never taken: a limit gives way rather than a user.
//!
//! It only asks. Each backend's own task has the last word, because it alone can close the door
//! before it counts who is inside.

mod choice;

use crate::backend::{Admission, Asked, Petition, RepoHandle, Restart, Rule, Standing, View};
use crate::daemon::Daemon;
use crate::fleet::Fleet;
use crate::settings::Limits;
use choice::{Candidate, Choice, Stand, choose};
use futures_util::future::join_all;
use repod_proto::{BackendState, ErrorCode, RepoId};
use repod_supervisor::tree::Snapshot;
use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// The longest time between two rounds, and the shortest.
const ROUND: Duration = Duration::from_secs(10);
const ROUND_LEAST: Duration = Duration::from_millis(100);
/// How long a start waits for requests in flight elsewhere before who sends them counts as a user.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a backend is expected to use before it has been measured at work: OpenCode 1.18.33 has about
/// 310 MB when it idles.
const EXPECTED: u64 = 320 << 20;
/// One whose clients are still there is not recycled more often than this.
const RECYCLE_PAUSE: Duration = Duration::from_mins(10);

/// See the module.
pub(crate) struct Keeper {
    limits: Limits,
    admission: Admission,
    petitions: Option<mpsc::Receiver<Petition>>,
    recycled: HashMap<RepoId, Instant>,
}

/// One backend that is awake, at one moment.
struct Member {
    handle: RepoHandle,
    view: Arc<View>,
    standing: Standing,
    /// Of its process tree; only where a limit asks for it.
    memory: u64,
}

impl Member {
    fn candidate(&self, rule: Rule) -> Candidate {
        let stand = match self.view.state {
            BackendState::Unresponsive => Stand::Silent,
            BackendState::Ready => match self.standing.awake(rule) {
                None => Stand::Idle,
                Some(awake) => Stand::Awake(awake),
            },
            _ => Stand::Moving,
        };
        Candidate { stand, quiet: self.standing.quiet() }
    }

    fn may_sleep(&self, rule: Rule) -> bool {
        self.candidate(rule).stand == Stand::Idle
    }
}

impl Keeper {
    pub(crate) fn new(
        limits: Limits,
        admission: Admission,
        petitions: Option<mpsc::Receiver<Petition>>,
    ) -> Self {
        Self { limits, admission, petitions, recycled: HashMap::new() }
    }

    /// Lives as long as the daemon does.
    pub(crate) async fn run(mut self, daemon: Arc<Daemon>) {
        let quarter = self.limits.idle.map_or(ROUND, |idle| idle / 4);
        let mut rounds = interval(quarter.clamp(ROUND_LEAST, ROUND));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let petition = async {
                match &mut self.petitions {
                    Some(petitions) => petitions.recv().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                petition = petition => match petition {
                    Some(petition) => self.admit(&daemon.fleet, petition).await,
                    None => self.petitions = None,
                },
                _ = rounds.tick() => self.round(&daemon).await,
            }
        }
    }

    /// What counts when there are too many: everything but time.
    fn rule(&self) -> Rule {
        let listeners = self.limits.listeners_keep_awake;
        Rule { handles: true, listeners, quiet: Duration::ZERO }
    }

    /// Lets one start in, as soon as there is room or nobody is left who could make some.
    async fn admit(&self, fleet: &Fleet, petition: Petition) {
        let begun = Instant::now();
        while !petition.is_withdrawn() {
            let members = self.members(fleet).await;
            let used = self.memory(&members) + EXPECTED;
            let is_full = self.limits.max_live.is_some_and(|max| self.admission.awake() >= max)
                || self.limits.memory_budget.is_some_and(|budget| used > budget);
            if !is_full {
                break;
            }
            match self.choose(&members, begun.elapsed() > PATIENCE) {
                Choice::Sleep(index) => {
                    let member = &members[index];
                    if !self.put_to_sleep(member, self.rule(), "room is needed").await {
                        sleep(ROUND_LEAST).await;
                    }
                }
                Choice::Wait(time) => sleep(time).await,
                Choice::Nobody => {
                    tracing::warn!(repo = %petition.repo, awake = self.admission.awake(),
                        "over the limit: all others are in use");
                    break;
                }
            }
        }
        petition.grant();
    }

    fn choose(&self, members: &[Member], impatient: bool) -> Choice {
        let mut candidates: Vec<_> = members.iter().map(|m| m.candidate(self.rule())).collect();
        let moving = Candidate { stand: Stand::Moving, quiet: Duration::ZERO };
        candidates.extend((0..self.unseen(members)).map(|_| moving));
        choose(&candidates, impatient)
    }

    /// Those let in that have not said so yet.
    fn unseen(&self, members: &[Member]) -> usize {
        self.admission.awake().saturating_sub(members.len())
    }

    fn memory(&self, members: &[Member]) -> u64 {
        let seen: u64 = members.iter().map(|member| member.memory).sum();
        seen + EXPECTED * self.unseen(members) as u64
    }

    /// Looks after all that are awake.
    async fn round(&mut self, daemon: &Daemon) {
        let fleet = &daemon.fleet;
        let members = self.members(fleet).await;
        self.recycled.retain(|_, at| at.elapsed() < RECYCLE_PAUSE);
        if let Some(quiet) = self.limits.idle {
            let rule = Rule { quiet, ..self.rule() };
            let unused = members.iter().filter(|member| member.may_sleep(rule));
            join_all(unused.map(|member| self.put_to_sleep(member, rule, "nobody uses it"))).await;
        }
        for member in &members {
            if self.limits.memory_max.is_some_and(|max| member.memory > max) {
                self.recycle(member, "it has grown too large").await;
            } else if daemon
                .memory
                .growth(&member.handle.repo().id, member.view.generation)
                .is_some()
            {
                self.recycle(member, "its memory keeps growing").await;
            }
        }
        self.shrink(fleet).await;
    }

    /// Puts the longest unused to sleep while there are too many.
    async fn shrink(&self, fleet: &Fleet) {
        if !self.limits.are_limited() {
            return;
        }
        loop {
            let members = self.members(fleet).await;
            let used = self.memory(&members);
            let too_many = self.limits.max_live.is_some_and(|max| self.admission.awake() > max)
                || self.limits.memory_budget.is_some_and(|budget| used > budget);
            let Choice::Sleep(index) = self.choose(&members, true) else { return };
            if !too_many
                || !self.put_to_sleep(&members[index], self.rule(), "there are too many").await
            {
                return;
            }
        }
    }

    /// Ends one that has grown too large, or will have. Clients that only listen get the next generation at once.
    async fn recycle(&mut self, member: &Member, why: &str) {
        let id = &member.handle.repo().id;
        if !member.may_sleep(Rule::BY_HAND) || self.recycled.contains_key(id) {
            return;
        }
        let listened_to = member.standing.clients.all() > 0;
        if self.put_to_sleep(member, Rule::BY_HAND, why).await && listened_to {
            self.recycled.insert(id.clone(), Instant::now());
            member.handle.counts().restarted(Restart::Recycled);
            if let Err(error) = member.handle.ensure(Asked::default()).await {
                tracing::error!(repo = %id, %error, "it did not come back");
            }
        }
    }

    async fn put_to_sleep(&self, member: &Member, rule: Rule, why: &str) -> bool {
        let repo = &member.handle.repo().id;
        match member.handle.hibernate(rule).await {
            Ok(slept) => {
                let quiet = member.standing.quiet().as_secs();
                tracing::info!(%repo, quiet, processes = slept.processes, "put to sleep: {why}");
                true
            }
            Err(error) if error.code == ErrorCode::BackendBusy => false,
            Err(error) => {
                tracing::warn!(%repo, %error, "it could not be put to sleep");
                false
            }
        }
    }

    /// Everybody who is awake, with what they use where that is asked for.
    async fn members(&self, fleet: &Fleet) -> Vec<Member> {
        let measures = self.limits.memory_budget.is_some() || self.limits.memory_max.is_some();
        let machine = if measures {
            let taken = tokio::task::spawn_blocking(Snapshot::take).await;
            taken.ok().and_then(Result::ok)
        } else {
            None
        };
        let member = |handle: RepoHandle| {
            let view = handle.view();
            let process = view.process.as_ref().filter(|_| view.state.is_live());
            let used = process.zip(machine.as_ref()).and_then(|(p, m)| m.rss_bytes(&p.identity));
            // What comes up has not grown yet.
            let least = if view.is_ready() { 0 } else { EXPECTED };
            let standing = handle.standing();
            (view.admitted && view.state.is_live()).then(|| Member {
                memory: used.unwrap_or_default().max(least),
                standing,
                handle,
                view: Arc::clone(&view),
            })
        };
        fleet.all().into_iter().filter_map(member).collect()
    }
}

//! Agent sessions: a conversation of a program, an editor or a person, which is one durable record, is
//! resumed where it was left, and whose turns always end, with the truth.
//!
//! ```text
//!  ops ─► Sessions ─► live (a session's line of turns) ─► run ─► AgentBackend (opencode: drive, look)
//!             │              │                             │          │ what is to be done: `turn`, pure
//!             │              └─ log: what a turn tells ◄───┼──────────┘
//!             ▼                    │                       ▼
//!          stores (on record) ◄─ save, a batch at a time   scope (the directory, open in its backend)
//!                                  └─► follow: anybody, from any event on
//! ```
//!
//! Nothing here knows HTTP. A turn runs in a task of its own: whoever began it may leave.

mod asked;
mod backend;
mod binding;
mod counts;
mod follow;
mod listing;
mod live;
mod log;
pub(crate) mod model;
mod opencode;
mod recover;
mod retold;
mod run;
mod save;
mod stores;
mod turn;

pub(crate) use counts::Ended;
pub(crate) use follow::Told;
pub(crate) use opencode::OpenCode;

use crate::coordination::Coordination;
use crate::fleet::Fleet;
use crate::ops::Locator;
use crate::router::Router;
use crate::scope::{InstanceBoot, Instances, Place, Scopes};
use crate::settings;
use crate::tally::Tally;
use backend::AgentBackend;
use live::{Live, TurnRun};
use repod_proto::{ApiError, ErrorCode, Home, InstanceInfo, RepoId, SessionEnsured, SessionHow};
use repod_store::{
    Ensured, NewSession, Retention, Session, SessionChange, SessionKey, SessionStatus,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stores::{Opened, Stores, failed, updated};

/// Sessions kept at hand; those that do nothing are let go beyond.
const LIVE_MAX: usize = 1024;
/// How long the events of a turn that has ended are kept at hand.
const RECENT: Duration = Duration::from_secs(30);
/// How often directories nobody uses are looked for.
const REST: Duration = Duration::from_secs(60);
/// How often the record is rid of what is old.
const PRUNE: Duration = Duration::from_hours(6);
/// Longest name of a session or a turn.
const NAME_MAX: usize = 128;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Inner>);

struct Inner {
    home: Home,
    fleet: Arc<Fleet>,
    locator: Arc<Locator>,
    coordination: Coordination,
    settings: settings::Sessions,
    scopes: Instances,
    stores: Stores,
    agent: Box<dyn AgentBackend>,
    live: Mutex<HashMap<SessionKey, Arc<Live>>>,
    turns: Tally<Ended>,
}

/// The rooms of the daemon that sessions work with.
pub(crate) struct Around {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) locator: Arc<Locator>,
    pub(crate) coordination: Coordination,
    pub(crate) router: Router,
}

/// What a session is asked to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) session_id: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) title: Option<String>,
}

impl Sessions {
    pub(crate) fn new(home: Home, around: Around, settings: settings::Sessions) -> Self {
        let Around { fleet, locator, coordination, router } = around;
        let boot = InstanceBoot { fleet: Arc::clone(&fleet), coordination: coordination.clone() };
        let stores = Stores::new(home.clone(), router, settings.store.clone());
        Self(Arc::new(Inner {
            home,
            fleet,
            locator,
            coordination,
            settings,
            scopes: Scopes::new(boot),
            stores,
            agent: Box::new(OpenCode),
            live: Mutex::default(),
            turns: Tally::default(),
        }))
    }

    /// Creates the session of this name in a directory, or resumes it.
    pub(crate) async fn ensure(
        &self,
        place: &Place,
        wanted: Wanted,
    ) -> Result<SessionEnsured, ApiError> {
        let repo = &place.located.repo;
        self.0.fleet.register(repo).await?.check_same(repo)?;
        let opened = self.opened(&repo.id).await?;
        let default_provider = self.0.settings.default_provider.as_deref();
        let model = wanted.model.as_deref().map(|text| model::full_name(text, default_provider));
        let (model, agent) = (model.transpose()?, wanted.agent);
        let name = match wanted.session_id {
            Some(name) => checked_name("session", name)?,
            None => format!("ses-{}", crate::secret::random_hex::<8>()?),
        };
        let key = SessionKey::new(repo.id.as_str(), name);
        let directory = place.located.directory.display().to_string();
        let is_as_it_was = |session: &Session| {
            session.directory == directory
                && model.as_ref().is_none_or(|model| *model == session.model)
                && agent.as_ref().is_none_or(|agent| *agent == session.agent)
                && wanted.title.as_ref().is_none_or(|title| *title == session.title)
        };
        if let Some(session) = self.warm(&key, place).await?.filter(is_as_it_was) {
            let session = self.info(&session);
            return Ok(SessionEnsured { session, how: SessionHow::Resumed, reason: None });
        }
        let new = NewSession {
            key: key.clone(),
            directory,
            backend: self.0.agent.name().to_owned(),
            config_hash: model::config_hash(
                model.as_deref().unwrap_or_default(),
                agent.as_deref().unwrap_or_default(),
            ),
            agent: agent.clone().unwrap_or_default(),
            model: model.clone().unwrap_or_default(),
            title: wanted.title.clone().unwrap_or_default(),
            options: String::new(),
        };
        let (session, is_created) =
            match opened.store.ensure(&opened.owner, &new).await.map_err(failed)? {
                Ensured::Created(session) => {
                    self.live(&key).renew(session.clone());
                    (session, true)
                }
                Ensured::Resumed(session) | Ensured::Taken(session, _) => (session, false),
                Ensured::Foreign { owner, lapses_in } => {
                    let message = format!("the session is `{owner}`'s");
                    return Err(ApiError::new(ErrorCode::SessionForeign, message)
                        .hint("it can be taken over when that daemon has ended")
                        .detail("lapses_in_seconds", lapses_in.as_secs()));
                }
                Ensured::Superseded => {
                    let message = "another daemon of this home has taken over";
                    return Err(ApiError::new(ErrorCode::SessionForeign, message));
                }
            };
        let change = SessionChange {
            model: model.filter(|model| *model != session.model),
            agent: agent.filter(|agent| *agent != session.agent),
            title: wanted.title.filter(|title| *title != session.title),
            ..SessionChange::default()
        };
        let session = if change == SessionChange::default() {
            session
        } else {
            let updating =
                opened.store.update(&opened.owner, &key, session.generation, &change).await;
            updated(updating.map_err(failed)?)?
        };
        let live = self.live(&key);
        live.note(session.clone());
        let scope = self.0.scopes.acquire(place).await?;
        let bound = binding::bind(self, &live, &opened, &scope).await?;
        let session = live.session().unwrap_or(session.clone());
        let (how, reason) = match (is_created, bound.is_new) {
            (true, _) => (SessionHow::Created, None),
            (false, false) => (SessionHow::Resumed, None),
            (false, true) => (SessionHow::Renewed, Some(bound.reason.to_owned())),
        };
        Ok(SessionEnsured { session: self.info(&session), how, reason })
    }

    /// Directories that are open, and how many work in each.
    pub(crate) fn instances(&self) -> Vec<InstanceInfo> {
        let info = |(directory, users): (std::path::PathBuf, usize)| InstanceInfo {
            directory: directory.display().to_string(),
            users: users as u64,
        };
        let mut all: Vec<_> = self.0.scopes.users().into_iter().map(info).collect();
        all.sort_by(|a, b| a.directory.cmp(&b.directory));
        all
    }

    /// Closes one directory, or all, when those who work there have left; says how many.
    pub(crate) async fn dispose(
        &self,
        directory: Option<&Path>,
        patience: Duration,
    ) -> Result<usize, ApiError> {
        match directory {
            Some(directory) => self.0.scopes.dispose(directory, patience).await.map(usize::from),
            None => self.0.scopes.dispose_all(patience).await,
        }
    }

    /// Closes a directory and opens it anew: OpenCode reads its configuration again.
    pub(crate) async fn reload(&self, place: &Place, patience: Duration) -> Result<(), ApiError> {
        self.0.scopes.reload(place, patience).await.map(drop)
    }

    /// A session that is at hand, sound, and bound to the backend there is: nobody has to be asked.
    async fn warm(&self, key: &SessionKey, place: &Place) -> Result<Option<Session>, ApiError> {
        let live = self.live_mut().get(key).cloned();
        let Some((live, session)) = live.and_then(|live| Some((live.clone(), live.session()?)))
        else {
            return Ok(None);
        };
        let is_bound = session.agent_session_id.is_some()
            && session.config_hash == model::config_hash(&session.model, &session.agent)
            && !matches!(session.status, SessionStatus::Crashed | SessionStatus::Closed);
        if !is_bound {
            return Ok(None);
        }
        let scope = self.0.scopes.acquire(place).await?;
        Ok((live.verified() == Some(scope.generation)).then_some(session))
    }

    /// Tidies up as long as the daemon lives: directories that nobody uses are closed, and what is old
    /// goes from the record.
    pub(crate) async fn keep(self, idle: Option<Duration>) {
        let mut rounds = tokio::time::interval(idle.unwrap_or(REST).min(REST));
        let mut pruned = None::<Instant>;
        loop {
            rounds.tick().await;
            if let Some(idle) = idle {
                let closed = self.0.scopes.rest(idle).await;
                if closed > 0 {
                    tracing::debug!(closed, "directories nobody used were closed");
                }
            }
            if pruned.is_none_or(|last| last.elapsed() > PRUNE) {
                pruned = Some(Instant::now());
                self.0.stores.prune(retention()).await;
            }
        }
    }

    /// The daemon ends: what was told is put on record. Turns go on in their backends; the next daemon
    /// finds them.
    pub(crate) async fn end(&self) {
        let all: Vec<_> = self.live_mut().values().cloned().collect();
        for live in all {
            let Some(run) = live.running() else { continue };
            if let Ok(opened) = self.0.stores.of(&self.repo_of(&live.key)).await {
                save::last(&opened, &live.key, &run).await;
            }
        }
        let _ = self.0.scopes.shut_down(Duration::ZERO).await;
        self.0.stores.end().await;
    }

    /// Puts a turn into its session's line, which is served as long as there is something in it.
    fn line_up(&self, live: &Arc<Live>, run: TurnRun) {
        if live.enqueue(Arc::new(run)) {
            tokio::spawn(run::serve(self.clone(), Arc::clone(live)));
        }
    }

    /// The store of a repo; turns that an earlier daemon left in it are taken up when it is opened.
    async fn opened(&self, repo: &RepoId) -> Result<Opened, ApiError> {
        let opened = self.0.stores.of(repo).await?;
        // One at a time does it; one that fails or is cut off leaves it to the next.
        opened.taken_up.get_or_try_init(|| self.recover_store(&opened)).await?;
        Ok(opened)
    }

    /// A session that is on record and not closed.
    async fn find(&self, key: &SessionKey) -> Result<(Opened, Session), ApiError> {
        let opened = self.opened(&self.repo_of(key)).await?;
        let live = self.live_mut().get(key).and_then(|live| live.session());
        let session = match live {
            Some(session) => session,
            None => {
                let found = opened.store.session(key).await.map_err(failed)?;
                let session = found.ok_or_else(|| not_found(&key.session_id))?;
                self.live(key).note(session.clone());
                session
            }
        };
        Ok((opened, session))
    }

    /// Where a session works, looked up anew: its branch may be another.
    async fn place(&self, session: &Session) -> Result<Place, ApiError> {
        let located = self.0.locator.locate(&session.directory).await?;
        Ok(Place { located, env: None })
    }

    fn live(&self, key: &SessionKey) -> Arc<Live> {
        let mut all = self.live_mut();
        if !all.contains_key(key) && all.len() >= LIVE_MAX {
            // Who has one in hand may be about to put a turn into its line.
            all.retain(|_, live| Arc::strong_count(live) > 1 || !live.is_idle());
        }
        let new = || Arc::new(Live::new(key.clone()));
        Arc::clone(all.entry(key.clone()).or_insert_with(new))
    }

    fn live_mut(&self) -> MutexGuard<'_, HashMap<SessionKey, Arc<Live>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn has ended: what it told is at hand for a while.
    fn touched(&self, live: &Arc<Live>) {
        let live = Arc::downgrade(live);
        tokio::spawn(async move {
            tokio::time::sleep(RECENT).await;
            if let Some(live) = live.upgrade() {
                live.forget_recent();
            }
        });
    }

    /// The repo a session is in. Keys are made of ids that are valid.
    fn repo_of(&self, key: &SessionKey) -> RepoId {
        key.repo_id.parse().unwrap_or_else(|_| RepoId::new("unknown", &[0; 6]))
    }

    fn home(&self) -> &Home {
        &self.0.home
    }

    fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    fn scopes(&self) -> &Instances {
        &self.0.scopes
    }

    fn stores(&self) -> &Stores {
        &self.0.stores
    }

    fn agent(&self) -> &dyn AgentBackend {
        &*self.0.agent
    }

    fn settings(&self) -> &settings::Sessions {
        &self.0.settings
    }

    fn coordination(&self) -> &Coordination {
        &self.0.coordination
    }
}

/// How long what is over is kept.
fn retention() -> Retention {
    let now = jiff::Timestamp::now().as_millisecond();
    let before = |days: i64| now - days * 24 * 3600 * 1000;
    Retention {
        events_before_ms: before(14),
        turns_before_ms: before(90),
        closed_before_ms: before(30),
    }
}

fn checked_name(what: &str, name: String) -> Result<String, ApiError> {
    let is_plain = |c: char| !c.is_control() && c != '/';
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(is_plain) {
        return Ok(name);
    }
    let message = format!("a {what}'s name has 1 to {NAME_MAX} characters, and no `/`");
    Err(ApiError::new(ErrorCode::InvalidRequest, message))
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(ErrorCode::SessionNotFound, format!("there is no session `{name}`"))
        .hint("`repod sessions` lists those there are")
}

//! A repo's backend as the rest of the daemon sees it: a handle to ask, a view to read.
//!
//! One task (`actor`) owns each backend and alone changes its state. Everybody else sends it a
//! request or reads the view it publishes; a warm `ensure` is one such read.

mod activity;
mod actor;
mod admission;
mod adopt;
mod bring_up;
mod confine;
mod counts;
mod death;
mod failure;
mod following;
mod health;
mod history;
mod idle;
mod shared;
pub(crate) mod strays;
mod view;

pub(crate) use activity::{ClientGuard, Use};
pub(crate) use admission::{Admission, Petition};
pub(crate) use confine::{Confine, Confinement};
pub(crate) use counts::{Counted, Counts, Restart};
pub(crate) use death::Deaths;
pub(crate) use idle::{Awake, Rule, Standing};
pub(crate) use shared::Shared;
pub(crate) use view::{Credentials, Process, View};

use crate::hub::Hub;
use crate::registry::Record;
use crate::repo::Repo;
use activity::{Activity, Clients};
use following::Following;
use repod_proto::{ApiError, ErrorCode, Generation, HistoryReport, Home, RepoId};
use repod_supervisor::files::LockFile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait for one backend's task. It answers each at once or notes it, so that this
/// many waiting ones mean that something is wrong.
const REQUESTS_MAX: usize = 1024;
/// How long an adoption, or the word of a death, is waited for before the state is told as it is.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// What a caller brings along for a start that may be needed.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The caller's environment.
    pub(crate) env: Option<BTreeMap<String, String>>,
}

/// How a stop, or a way to sleep, went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopped {
    pub(crate) was_running: bool,
    pub(crate) processes: u32,
}

/// What a sweep cleared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Swept {
    pub(crate) cleared: bool,
    pub(crate) processes: u32,
}

type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// What can be asked of a backend's task.
#[derive(Debug)]
enum Request {
    Ensure(Asked, Reply<Arc<View>>),
    Restart { asked: Asked, rotate: bool, reply: Reply<Arc<View>> },
    Stop(Reply<Stopped>),
    Hibernate(Rule, Reply<Stopped>),
    Sweep { dry_run: bool, reply: Reply<Swept> },
    History(Way, Asked, Reply<HistoryReport>),
}

/// Which way sessions are brought, from the repo's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Over,
    Back,
}

/// The way to one repo's backend. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RepoHandle {
    repo: Arc<Repo>,
    requests: mpsc::Sender<Request>,
    views: watch::Receiver<Arc<View>>,
    usage: Usage,
}

/// What is known of a repo's use: by its clients, and by its events.
#[derive(Clone)]
struct Usage {
    activity: Activity,
    following: Following,
    counts: Arc<Counts>,
}

impl Usage {
    fn new(views: watch::Receiver<Arc<View>>) -> Self {
        Self { activity: Activity::new(), following: Following::new(views), counts: Arc::default() }
    }

    fn standing(&self) -> Standing {
        let events = self.following.known().map(Hub::activity).unwrap_or_default();
        Standing { clients: self.activity.clients(), events }
    }
}

/// A handle that keeps nothing: it is worth something as long as a real one is left.
#[derive(Clone)]
pub(crate) struct WeakHandle {
    repo: Arc<Repo>,
    requests: mpsc::WeakSender<Request>,
    views: watch::Receiver<Arc<View>>,
    usage: Usage,
}

impl WeakHandle {
    /// The handle, unless the repo is no longer managed.
    pub(crate) fn upgrade(&self) -> Option<RepoHandle> {
        Some(RepoHandle {
            repo: Arc::clone(&self.repo),
            requests: self.requests.upgrade()?,
            views: self.views.clone(),
            usage: self.usage.clone(),
        })
    }

    pub(crate) fn id(&self) -> &RepoId {
        &self.repo.id
    }

    pub(crate) fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The state as last published.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Returns when the endpoint no longer has the credentials of that view.
    pub(crate) fn rotated(&self, then: Arc<View>) -> impl Future<Output = ()> + Send + use<> {
        let mut views = self.views.clone();
        async move {
            if views.wait_for(|now| !now.opens_as(&then)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns when the repo is no longer managed.
    pub(crate) async fn gone(&self) {
        let mut views = self.views.clone();
        while views.changed().await.is_ok() {}
    }
}

/// Takes a repo under management: its task lives as long as the daemon.
pub(crate) fn manage(
    home: &Home,
    shared: Arc<Shared>,
    record: Record,
    lock: LockFile,
) -> RepoHandle {
    let repo = Arc::new(record.repo());
    let (requests, received) = mpsc::channel(REQUESTS_MAX);
    let (publish, views) = watch::channel(Arc::new(View::unverified(&record)));
    let usage = Usage::new(views.clone());
    tokio::spawn(usage.following.clone().follow());
    let handle = RepoHandle { repo, requests, views, usage: usage.clone() };
    let actor = actor::Actor::new(home, shared, record, lock, publish, usage);
    tokio::spawn(actor.run(received));
    handle
}

impl RepoHandle {
    pub(crate) fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The state as last published.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// The state once it is known what an earlier daemon left, which takes a probe at most.
    pub(crate) async fn settled(&self) -> Arc<View> {
        let mut views = self.views.clone();
        let known = views.wait_for(|view| !view.is_adopting() && !view.has_just_died());
        let _ = tokio::time::timeout(SETTLE_LIMIT, known).await;
        self.view()
    }

    /// Every change of it from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    /// Two roots must not share an id silently.
    pub(crate) fn check_same(&self, asked: &Repo) -> Result<(), ApiError> {
        if self.repo.identity == asked.identity {
            return Ok(());
        }
        let message = format!(
            "`{}` and `{}` have the same repo id `{}`",
            asked.identity.display(),
            self.repo.identity.display(),
            asked.id
        );
        Err(ApiError::new(ErrorCode::RepoIdCollision, message)
            .hint("rename the directory of one of them: the id is made of its name and its path"))
    }

    /// The view of a backend that answers, which is started if there is none.
    pub(crate) async fn ensure(&self, asked: Asked) -> Result<Arc<View>, ApiError> {
        self.touch();
        self.ask(|reply| Request::Ensure(asked, reply)).await
    }

    /// Stops and starts it; with new credentials for its endpoint if wanted.
    pub(crate) async fn restart(&self, asked: Asked, rotate: bool) -> Result<Arc<View>, ApiError> {
        self.ask(|reply| Request::Restart { asked, rotate, reply }).await
    }

    /// Ends it with everything it started.
    pub(crate) async fn stop(&self) -> Result<Stopped, ApiError> {
        self.ask(Request::Stop).await
    }

    /// Puts it to sleep, unless something keeps it awake under this rule. Its endpoint stays.
    pub(crate) async fn hibernate(&self, rule: Rule) -> Result<Stopped, ApiError> {
        self.ask(|reply| Request::Hibernate(rule, reply)).await
    }

    /// Clears what a dead backend left behind.
    pub(crate) async fn sweep(&self, dry_run: bool) -> Result<Swept, ApiError> {
        self.ask(|reply| Request::Sweep { dry_run, reply }).await
    }

    /// Brings sessions over from the user's database, or back. Only a backend that doesn't run allows it.
    pub(crate) async fn history(&self, way: Way, asked: Asked) -> Result<HistoryReport, ApiError> {
        self.ask(|reply| Request::History(way, asked, reply)).await
    }

    /// Notes that somebody used it just now.
    pub(crate) fn touch(&self) {
        self.usage.activity.touch();
    }

    /// Counts a client, until what is returned is dropped.
    pub(crate) fn client(&self, what: Use) -> ClientGuard {
        self.usage.activity.client(what)
    }

    /// Requests and streams in flight.
    pub(crate) fn clients(&self) -> Clients {
        self.usage.activity.clients()
    }

    /// Who and what keeps it awake.
    pub(crate) fn standing(&self) -> Standing {
        self.usage.standing()
    }

    /// What has become of its backends.
    pub(crate) fn counts(&self) -> &Counts {
        &self.usage.counts
    }

    /// Its event hub.
    pub(crate) fn hub(&self) -> &Hub {
        self.usage.following.hub()
    }

    /// The same, if there is one yet.
    pub(crate) fn known_hub(&self) -> Option<&Hub> {
        self.usage.following.known()
    }

    /// Returns when the events of this generation are heard.
    pub(crate) async fn heard(&self, generation: Generation) {
        self.usage.following.heard(generation).await;
    }

    /// A handle that does not keep the repo managed.
    pub(crate) fn downgrade(&self) -> WeakHandle {
        WeakHandle {
            repo: Arc::clone(&self.repo),
            requests: self.requests.downgrade(),
            views: self.views.clone(),
            usage: self.usage.clone(),
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(request(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                let message = format!("{REQUESTS_MAX} requests wait for this repo already");
                ApiError::new(ErrorCode::Overloaded, message).hint("try again in a moment")
            }
            mpsc::error::TrySendError::Closed(_) => {
                ApiError::new(ErrorCode::Internal, "the task of this repo has ended; see repod.log")
            }
        })?;
        answer.await.unwrap_or_else(|_| {
            Err(ApiError::new(ErrorCode::ShuttingDown, "the daemon ended before it could answer"))
        })
    }
}

#[cfg(test)]
pub(crate) mod fake;

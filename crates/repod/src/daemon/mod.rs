//! The daemon: one for each home, from its lock to its last breath.
//!
//! Order of birth: home → lock → log → settings → limits and control group → books → socket → standby → "ready".
//! Whoever holds `repod.lock` is the daemon; everything that two daemons must not both do happens
//! with it in hand.

mod birth;
mod log;
mod standby;
mod traces;

pub(crate) use log::to_stderr as log_to_stderr;

use crate::api::{self, Calls};
use crate::backend::{Admission, Confine, Shared};
use crate::commands::Outcome;
use crate::coordination::Coordination;
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::keeper::Keeper;
use crate::memory::{self, Memory};
use crate::metrics;
use crate::ops::{Audits, Ensures, Locator};
use crate::router::Router;
use crate::sessions::{Around, Sessions};
use crate::settings::Settings;
use crate::web::Web;
use birth::{Birth, Mode};
use repod_proto::{ApiError, DaemonInfo, ErrorCode, Home, REPOD_VERSION, exit};
use repod_supervisor::files::LockFile;
use repod_supervisor::limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Answers that are being written when the daemon ends get this long.
const DRAIN: Duration = Duration::from_secs(3);
/// How often the daemon's own log is looked at.
const LOG_CHECK: Duration = Duration::from_secs(300);
/// Two threads serve a machine full of backends; the work is theirs.
const WORKERS: usize = 2;

/// What every request can reach.
pub(crate) struct Daemon {
    pub(crate) home: Home,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) locator: Arc<Locator>,
    pub(crate) coordination: Coordination,
    pub(crate) router: Router,
    pub(crate) sessions: Sessions,
    pub(crate) memory: Memory,
    pub(crate) ensures: Ensures,
    pub(crate) calls: Calls,
    pub(crate) audits: Audits,
    pub(crate) web: Web,
    nofile: u64,
    started_at: String,
    ending: watch::Sender<bool>,
}

impl Daemon {
    pub(crate) fn info(&self) -> DaemonInfo {
        DaemonInfo {
            version: REPOD_VERSION.to_owned(),
            pid: std::process::id(),
            home: self.home.dir().display().to_string(),
            started_at: self.started_at.clone(),
            nofile: self.nofile,
            repos: self.fleet.len() as u64,
        }
    }

    /// Asks the daemon to end; it answers what it has begun.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }
}

/// `repod daemon`: returns when the daemon has ended.
pub(crate) fn run(standby: bool) -> Outcome {
    let birth = Birth::new(standby)?;
    let mode = birth.mode;
    match live(&birth) {
        Ok(()) => Ok(exit::OK),
        Err(error) => {
            tracing::error!(%error, "the daemon can't go on");
            birth.report_failure(&error);
            if mode == Mode::Foreground { Err(error) } else { Ok(error.code.exit_code()) }
        }
    }
}

fn live(birth: &Birth) -> Result<(), ApiError> {
    let home = &birth.home;
    // Settings that can't be read must not keep running backends from being reached: the defaults
    // carry the daemon, and the next cold start says what is wrong.
    let settings = Settings::load(&home.settings()).unwrap_or_else(|error| {
        tracing::error!(%error, "going on with the default settings");
        Settings::default()
    });
    let nofile = limits::raise_nofile(settings.limits.nofile);
    if let Some(warning) = &nofile.warning {
        tracing::warn!("{warning}");
    }
    let confine = Confine::here(settings.limits.memory_max);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("repod-worker")
        .enable_all()
        .build()
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("no runtime: {error}")))?;
    let (admission, petitions) = if settings.limits.are_limited() {
        let (admission, petitions) = Admission::limited();
        (admission, Some(petitions))
    } else {
        (Admission::free(), None)
    };
    let shared = Shared::new(home, &settings, admission.clone(), confine);
    let _within = runtime.enter();
    let coordination = Coordination::new(home, settings.policy);
    let metrics_port = settings.gateway.metrics_port;
    let gateway = Gateway::new(settings.gateway, coordination.clone());
    let fleet = Arc::new(Fleet::new(home.clone(), Arc::new(shared), gateway, coordination.clone()));
    let locator = Arc::new(Locator::default());
    let router = Router::new(home.clone(), Arc::clone(&fleet), coordination.clone());
    let around = Around {
        fleet: Arc::clone(&fleet),
        locator: Arc::clone(&locator),
        coordination: coordination.clone(),
        router: router.clone(),
    };
    let sessions = Sessions::new(home.clone(), around, settings.sessions);
    let idle = settings.limits.idle;
    let daemon = Arc::new(Daemon {
        home: home.clone(),
        fleet,
        locator,
        coordination,
        router,
        sessions,
        memory: Memory::default(),
        ensures: Ensures::default(),
        calls: Calls::default(),
        audits: Audits::default(),
        web: Web::default(),
        nofile: nofile.soft,
        started_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ending: watch::Sender::new(false),
    });
    if let Some(port) = metrics_port {
        runtime.spawn(metrics::serve(Arc::clone(&daemon), port));
    }
    runtime.spawn(memory::watch(Arc::clone(&daemon), settings.limits.memory_sample));
    let keeper = Keeper::new(settings.limits, admission, petitions);
    runtime.spawn(daemon.sessions.clone().keep(idle));
    runtime.block_on(serve(birth, daemon, keeper))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

async fn serve(birth: &Birth, daemon: Arc<Daemon>, keeper: Keeper) -> Result<(), ApiError> {
    let home = &birth.home;
    daemon.fleet.load().await.map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("the registry can't be read: {error}"))
    })?;
    daemon.router.recover().await;
    daemon.sessions.recover().await;
    let listener = birth.listen()?;
    let standby = birth.wants_standby().then(|| standby::keep(home.clone()));
    tokio::spawn(keeper.run(Arc::clone(&daemon)));
    tokio::spawn(end_on_signal(Arc::clone(&daemon)));
    tokio::spawn(log::keep_small(home.log(), LOG_CHECK));
    birth.report_ready();
    tracing::info!(pid = std::process::id(), version = REPOD_VERSION, "ready");

    accept(listener, &daemon).await;

    if let Some(standby) = standby {
        standby.dismiss().await;
    }
    birth.stop_listening();
    daemon.sessions.end().await;
    tracing::info!("ended");
    Ok(())
}

async fn accept(listener: UnixListener, daemon: &Arc<Daemon>) {
    let mut ending = daemon.ending.subscribe();
    let app = api::router(Arc::clone(daemon));
    let app = app.into_make_service_with_connect_info::<api::Peer>();
    let serving = axum::serve(api::PeerListener(listener), app).with_graceful_shutdown({
        let mut ending = ending.clone();
        async move {
            let _ = ending.wait_for(|ending| *ending).await;
        }
    });
    let drained = async {
        let _ = ending.wait_for(|ending| *ending).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving.into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "the socket failed");
            }
        }
        () = drained => tracing::warn!("ended with requests still open"),
    }
}

async fn end_on_signal(daemon: Arc<Daemon>) {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("signals can't be caught");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to end by a signal; the backends go on");
    daemon.fleet.close();
    daemon.end();
}

/// The lock outlives everything else here; it is let go last, with the process.
pub(crate) type DaemonLock = LockFile;

//! guard: a backend's plugin is there, asks before a write, and reports after it.

use crate::backend::RepoHandle;
use crate::coordination::{
    CallId, Event, GuardedCall, Kind, LeaseKey, OwnerId, Party, Presence, Restored, RestoredCall,
    Verdict,
};
use crate::daemon::Daemon;
use crate::router::{Leave, Ran};
use crate::settings::{BashGuard, CrossRepo};
use repod_proto::{ApiError, ErrorCode, Generation, RepoId, RequestId, RouteReport};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// A lease that a guard says its sessions hold.
#[derive(Debug, Deserialize)]
pub(crate) struct Held {
    repo_id: RepoId,
    branch: String,
    fence: u64,
    root: String,
    session: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    calls: Vec<HeldCall>,
}

#[derive(Debug, Deserialize)]
struct HeldCall {
    call: String,
    session: String,
    #[serde(default)]
    tool: String,
    #[serde(default)]
    what: String,
}

/// The backend this token belongs to: its repo is in it, and the rest has to be right.
pub(crate) async fn who(
    daemon: &Daemon,
    token: &str,
) -> Result<(RepoHandle, Generation), ApiError> {
    let refused = || {
        ApiError::new(ErrorCode::Unauthorized, "no backend of this daemon has this token")
            .hint("a backend from before an upgrade? `repod restart` gives it a new guard")
    };
    let (repo, _) = token.split_once('.').ok_or_else(refused)?;
    let repo: RepoId = repo.parse().map_err(|_| refused())?;
    let handle = daemon.fleet.known(&repo).await?.ok_or_else(refused)?;
    let view = handle.view();
    let process = view.process.as_ref().ok_or_else(refused)?;
    let is_right: bool = process.guard.as_bytes().ct_eq(token.as_bytes()).into();
    if process.guard.is_empty() || !is_right {
        return Err(refused());
    }
    Ok((handle, view.generation))
}

/// A guard is there from now on. What it held under an earlier daemon is put back into the books.
pub(crate) async fn hello(
    daemon: &Daemon,
    handle: &RepoHandle,
    generation: Generation,
    directory: &str,
    held: Vec<Held>,
) -> Presence {
    let repo = &handle.repo().id;
    for held in held {
        let Ok(branch) = held.branch.parse() else { continue };
        let party = Party {
            id: OwnerId::Session { repo: repo.clone(), root: held.root },
            session_id: held.session,
            title: held.title,
            directory: directory.to_owned(),
            generation,
            pid: None,
        };
        let running = held.calls.into_iter().map(|call| RestoredCall {
            call: id(repo, &call.session, &call.call),
            worktree: Some(directory.to_owned()),
            kind: if call.tool == "bash" { Kind::LongRunning } else { Kind::Ordinary },
            what: call.what,
        });
        let restored = Restored {
            key: LeaseKey { repo: held.repo_id, branch },
            party,
            fence: held.fence,
            in_turn: true,
            running: running.collect(),
        };
        daemon.coordination.tell(Event::Restore(restored)).await;
    }
    daemon.coordination.guards().enter(repo.clone(), generation, directory)
}

/// What a call may do.
pub(crate) struct Permit {
    /// The leases it runs under, its own branch's last.
    pub(crate) leases: Vec<(LeaseKey, u64)>,
    /// Where it leads to another repo: how it gets there.
    pub(crate) foreign: Option<Leave>,
    /// Whether a person has to be asked first, whatever OpenCode's own rules say.
    pub(crate) ask: bool,
}

/// Waits until the call may run.
pub(crate) async fn ask(daemon: &Daemon, call: &GuardedCall) -> Result<Permit, ApiError> {
    let policy = daemon.coordination.policy();
    let (leases, footprint) = match daemon.coordination.before(&daemon.locator, call).await? {
        Verdict::Free => return Ok(Permit { leases: Vec::new(), foreign: None, ask: false }),
        Verdict::Granted { leases, footprint } => (leases, footprint),
    };
    let observed = call.tool == "bash" && policy.bash_guard == BashGuard::Observe;
    if footprint.opaque || observed {
        daemon.router.watch(call);
    }
    if !footprint.is_foreign_to(&call.caller.repo) || observed {
        return Ok(Permit { leases, foreign: None, ask: false });
    }
    let foreign = Some(daemon.router.note(call, footprint)?);
    Ok(Permit { leases, foreign, ask: policy.cross_repo == CrossRepo::Ask })
}

/// Copies for a call that writes in another repo: where each of its files is to be worked on.
pub(crate) async fn stage(
    daemon: &Daemon,
    repo: &RepoId,
    session: &str,
    call: &str,
    name: &str,
) -> Result<BTreeMap<PathBuf, PathBuf>, ApiError> {
    daemon.router.stage(repo, session, call, name).await
}

/// The tool has worked on its copies: done for real, to the end, even when whoever asked has left.
pub(crate) async fn commit(
    daemon: Arc<Daemon>,
    repo: RepoId,
    (session, call): (String, String),
    request: RequestId,
) -> Result<RouteReport, ApiError> {
    let router = daemon.router.clone();
    let carrying =
        tokio::spawn(async move { router.commit(&repo, &session, &call, request).await });
    carrying.await.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?
}

/// Runs a command that belongs to another repo there; ended when whoever asked leaves.
pub(crate) async fn shell(
    daemon: &Daemon,
    repo: &RepoId,
    (session, call): (&str, &str),
    request: &RequestId,
) -> Result<Ran, ApiError> {
    daemon.router.shell(repo, session, call, request).await
}

/// The call has ended.
pub(crate) async fn report(daemon: &Daemon, repo: &RepoId, session: &str, call: &str) {
    daemon.router.ended(repo, session, call);
    daemon.router.look_around(repo, session, call);
    daemon.coordination.tell(Event::Report { call: id(repo, session, call) }).await;
}

/// Where the repos of this home are: reading there needs no question.
pub(crate) fn roots(daemon: &Daemon) -> Vec<String> {
    let all = daemon.fleet.all();
    all.iter().map(|handle| handle.repo().root.display().to_string()).collect()
}

fn id(repo: &RepoId, session: &str, call: &str) -> CallId {
    CallId(format!("{repo}/{session}/{call}"))
}

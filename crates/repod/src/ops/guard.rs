//! guard: a backend's plugin is there, asks before a write, and reports after it.

use crate::backend::RepoHandle;
use crate::coordination::{
    CallId, Event, GuardedCall, Kind, LeaseKey, OwnerId, Party, Presence, Restored, RestoredCall,
    Verdict,
};
use crate::daemon::Daemon;
use repod_proto::{ApiError, ErrorCode, Generation, RepoId};
use serde::Deserialize;
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

/// Waits until the call may run; the lease of its own branch, if it needs one.
pub(crate) async fn ask(
    daemon: &Daemon,
    call: &GuardedCall,
) -> Result<Option<(LeaseKey, u64)>, ApiError> {
    match daemon.coordination.before(&daemon.locator, call).await? {
        Verdict::Free => Ok(None),
        Verdict::Granted(mut leases) => Ok(leases.pop()),
    }
}

/// The call has ended.
pub(crate) async fn report(daemon: &Daemon, repo: &RepoId, session: &str, call: &str) {
    daemon.coordination.tell(Event::Report { call: id(repo, session, call) }).await;
}

fn id(repo: &RepoId, session: &str, call: &str) -> CallId {
    CallId(format!("{repo}/{session}/{call}"))
}

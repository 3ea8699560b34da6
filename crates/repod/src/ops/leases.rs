//! leases: who may write where; holding one from outside, and taking one away.

use crate::coordination::{
    Ask, CallId, Event, Granted, Hold, Kind, LeaseKey, OwnerId, Party, Wait, branch_of, wait,
};
use crate::daemon::Daemon;
use repod_proto::{
    ApiError, ErrorCode, Generation, LeaseHeld, LeaseHoldRequest, LeaseInfo, LeaseReleaseReport,
    LeaseReleaseRequest,
};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) async fn leases(daemon: &Daemon) -> Result<Vec<LeaseInfo>, ApiError> {
    daemon.coordination.leases().await
}

/// The lease, held as long as what is returned.
pub(crate) async fn hold(
    daemon: &Daemon,
    request: LeaseHoldRequest,
) -> Result<(LeaseHeld, Granted), ApiError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let key = key(daemon, &request.path, request.branch.as_deref()).await?;
    let name = format!("hold-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let party = Party {
        id: OwnerId::Outside(name.clone()),
        session_id: name.clone(),
        title: request.title.clone(),
        directory: request.path,
        generation: Generation::default(),
        pid: request.pid,
    };
    let ask = Ask {
        call: CallId(name),
        party,
        key,
        worktree: None,
        what: request.title,
        hold: Hold::Call,
        wait: match request.wait_seconds {
            Some(0) => Wait::Refuse,
            Some(seconds) => Wait::UpTo(seconds.saturating_mul(1000)),
            None => wait(daemon.coordination.policy()),
        },
        kind: Kind::Ordinary,
    };
    let granted = daemon.coordination.ask(ask, None).await?;
    let Some((key, fence)) = granted.lease.clone() else {
        return Err(ApiError::new(ErrorCode::Internal, "granted without a lease"));
    };
    Ok((LeaseHeld { repo_id: key.repo, branch: key.branch.to_string(), fence }, granted))
}

pub(crate) async fn release(
    daemon: &Daemon,
    request: LeaseReleaseRequest,
) -> Result<LeaseReleaseReport, ApiError> {
    let key = key(daemon, &request.path, request.branch.as_deref()).await?;
    let branch = key.branch.to_string();
    let held = leases(daemon).await?;
    let released =
        held.into_iter().find(|lease| lease.repo_id == key.repo && lease.branch == branch);
    if released.is_some() {
        tracing::warn!(repo = %key.repo, %branch, by = %request.by, "a lease is taken away");
        daemon.coordination.tell(Event::Force { key, by: request.by }).await;
    }
    Ok(LeaseReleaseReport { released })
}

async fn key(daemon: &Daemon, path: &str, branch: Option<&str>) -> Result<LeaseKey, ApiError> {
    let located = daemon.locator.locate(path).await?;
    if let Some(text) = branch {
        let branch = text.parse().map_err(|_| {
            ApiError::new(ErrorCode::InvalidRequest, format!("`{text}` names no branch"))
                .hint("a branch as `git branch` shows it, `@<commit>`, or `dir:<path>`")
        })?;
        return Ok(LeaseKey { repo: located.repo.id, branch });
    }
    let found = branch_of(&located, &located.repo.id, &located.directory);
    found.map(|(key, _)| key).ok_or_else(|| {
        ApiError::new(ErrorCode::InvalidRequest, format!("no branch is checked out in `{path}`"))
            .hint("name one with `--branch`")
    })
}

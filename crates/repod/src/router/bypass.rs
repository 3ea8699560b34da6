//! What parsing can't see is looked for afterwards: files of other repos that changed while a command
//! ran which could have done anything, and while nobody had leave to write there.
//!
//! It is a look at what git tells, so files that git ignores aren't seen; and a person who edits in the
//! other repo at that very moment is taken for the command. That is why it is recorded, not prevented.

use super::Router;
use super::git;
use super::journals::store;
use super::stage::operation_id;
use super::told::chain;
use crate::backend::RepoHandle;
use crate::coordination::{GuardedCall, LeaseKey, branch_of};
use repod_proto::{ApiError, RepoId};
use repod_store::journal::{FileChange, NewOperation, Part, State};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// Commands under way that are remembered.
const WATCHED_MAX: usize = 4096;
/// Looks that may wait for the one that is made; more would find the same.
const WAITING_MAX: usize = 8;
/// Files of one repo that are named.
const FILES_MAX: usize = 200;

/// Commands that could do anything, from their leave to their end.
pub(super) struct Watched {
    calls: Mutex<HashMap<String, Call>>,
    looking: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Watched {
    fn default() -> Self {
        let (calls, waiting) = (Mutex::default(), Arc::default());
        Self { calls, looking: Arc::new(Semaphore::new(1)), waiting }
    }
}

struct Call {
    call: GuardedCall,
    since: SystemTime,
}

impl Router {
    /// Notes a command that could do anything.
    pub(crate) fn watch(&self, call: &GuardedCall) {
        let mut calls = self.0.watched.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= WATCHED_MAX {
            calls.clear();
        }
        let id = call.caller.id(&call.call).0;
        calls.insert(id, Call { call: call.clone(), since: SystemTime::now() });
    }

    /// It has ended: looks what else changed meanwhile, in the background.
    pub(crate) fn look_around(&self, caller: &RepoId, session: &str, call: &str) {
        let watched = &self.0.watched;
        let ended = {
            let mut calls = watched.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.remove(&format!("{caller}/{session}/{call}"))
        };
        let Some(ended) = ended else { return };
        if watched.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            watched.waiting.fetch_sub(1, Ordering::Relaxed);
            tracing::debug!("too many commands end at once; not looking around after this one");
            return;
        }
        let (router, looking) = (self.clone(), Arc::clone(&watched.looking));
        let waiting = Arc::clone(&watched.waiting);
        tokio::spawn(async move {
            let _one_at_a_time = looking.acquire().await;
            for handle in router.0.fleet.all() {
                if handle.repo().id == ended.call.caller.repo {
                    continue;
                }
                if let Err(error) = router.look_at(&handle, &ended).await {
                    let repo = &handle.repo().id;
                    tracing::debug!(%repo, error = %chain(&error), "can't look for bypasses there");
                }
            }
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn look_at(&self, handle: &RepoHandle, ended: &Call) -> Result<(), ApiError> {
        let root = handle.repo().root.clone();
        let located = crate::repo::locate(&root)?;
        let Some((key, worktree)) = branch_of(&located, &located.repo.id, &root) else {
            return Ok(());
        };
        if self.somebody_may_write(&key, ended.since).await? {
            return Ok(());
        }
        let since = ended.since;
        let files = changed(&root, since).await;
        if files.is_empty() {
            return Ok(());
        }
        let GuardedCall { caller, tool, command, .. } = &ended.call;
        let what = command.as_deref().unwrap_or(tool);
        let message = format!("changed while `{what}` ran in `{}`", caller.directory);
        tracing::warn!(repo = %key.repo, session = %caller.session, ?files, "{message}");
        let file = |path: PathBuf| FileChange { path, before: None, after: None };
        let op = NewOperation {
            id: operation_id()?,
            at_ms: jiff::Timestamp::now().as_millisecond(),
            from_repo: Some(caller.repo.to_string()),
            from_session: caller.session.clone(),
            from_root: caller.root.clone(),
            title: caller.title.clone(),
            tool: tool.clone(),
            parts: vec![Part {
                repo: key.repo.to_string(),
                directory: worktree,
                branch: key.branch.to_string(),
                fence: 0,
                files: files.into_iter().map(file).collect(),
            }],
            state: State::Bypass,
            message: Some(message),
        };
        self.0.journals.of(&key.repo).await?.begin(&op).await.map_err(store)?;
        self.settled_as(State::Bypass);
        Ok(())
    }

    /// Whether anybody has, or has had since then, leave to write on that branch.
    async fn somebody_may_write(
        &self,
        key: &LeaseKey,
        since: SystemTime,
    ) -> Result<bool, ApiError> {
        let branch = key.branch.to_string();
        let held = self.0.coordination.leases().await?;
        if held.iter().any(|lease| lease.repo_id == key.repo && lease.branch == branch) {
            return Ok(true);
        }
        // Written with every grant.
        let fence = self.0.home.repo(&key.repo).dir().join("fences").join(key.branch.lock_name());
        let granted = std::fs::metadata(fence).and_then(|meta| meta.modified());
        Ok(granted.is_ok_and(|at| at >= since))
    }
}

/// Files that git calls changed, and the file system changed since then.
async fn changed(root: &Path, since: SystemTime) -> Vec<PathBuf> {
    let args = ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"];
    let args: Vec<OsString> = args.map(OsString::from).to_vec();
    let Ok(told) = git::run(root, &args, b"", 0, false).await else { return Vec::new() };
    let root = root.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let paths = told.split(|byte| *byte == 0).filter_map(|line| line.get(3..));
        let paths = paths.map(|path| PathBuf::from(OsStr::from_bytes(path)));
        paths.filter(|path| is_since(&root.join(path), since)).take(FILES_MAX).collect()
    });
    looking.await.unwrap_or_default()
}

/// Whether its content or its place changed since then: of one that is gone, its directory tells.
fn is_since(path: &Path, since: SystemTime) -> bool {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since =
        (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()));
    let changed = |path: &Path| {
        let meta = std::fs::symlink_metadata(path).ok()?;
        Some((meta.ctime(), meta.ctime_nsec()) >= since)
    };
    changed(path).or_else(|| changed(path.parent()?)).unwrap_or(false)
}

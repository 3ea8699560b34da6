//! Carries an operation out: on record first, then by the backends of the repos it goes to, then
//! settled. May be called again for the same operation at any time; nothing is done twice.

use super::journals::store;
use super::patch::{Change, Content, Form, make};
use super::shell::Script;
use super::standing::{At, Next, Past, next};
use super::told::{chain, diff, report, tell};
use super::{Router, look, put};
use crate::backend::{Asked, RepoHandle, Use};
use crate::coordination::LeaseKey;
use futures_util::future;
use repod_opencode::{ApplyError, BackendClient};
use repod_proto::{ApiError, ErrorCode, MutationOutcome, RepoId, RequestId, RouteReport};
use repod_store::Journal;
use repod_store::journal::{Begun, FileChange, NewOperation, Operation, Part, State};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Times a broken backend is followed to its next generation, forwards and again backwards.
const ATTEMPTS: u32 = 6;
/// Times the files are looked at in all: somebody else may write them all the while.
const ROUNDS: u32 = 32;
/// Between two, when the backend broke off and is still there: what it was told may go on.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a target's backend may take to be there.
const ENSURE_LIMIT: Duration = Duration::from_mins(2);

/// Who writes.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) repo: Option<RepoId>,
    pub(crate) session: String,
    pub(crate) root: String,
    pub(crate) title: String,
    pub(crate) tool: String,
    /// What made it write, for logs and for the backend that applies it.
    pub(crate) request: Option<RequestId>,
}

/// The files that are to change on one branch.
pub(crate) struct Target {
    pub(crate) directory: PathBuf,
    pub(crate) fence: u64,
    pub(crate) changes: Vec<Change>,
}

impl Target {
    /// A worktree, with nothing to change yet.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, fence: 0, changes: Vec::new() }
    }
}

/// What came of it.
pub(crate) type Done = RouteReport;

/// The patch that makes all of one part's changes.
struct Exact {
    changes: Vec<Change>,
    patch: Option<String>,
}

/// What an operation is carried out with.
#[derive(Clone, Copy, Default)]
struct Means<'a> {
    /// The patches of its parts, where they have been made.
    exact: &'a [Exact],
    request: Option<&'a RequestId>,
    /// A backend that is not to be had leaves it pending: whoever carries it out comes back.
    comes_back: bool,
}

/// Why a backend did not apply a patch.
enum Trouble {
    Refused(String),
    Broke(ApiError),
}

impl Router {
    /// Has these changes made, once: the same name again is answered with what came of the first.
    pub(crate) async fn carry_out(
        &self,
        operation: String,
        source: Source,
        wanted: BTreeMap<LeaseKey, Target>,
    ) -> Result<Done, ApiError> {
        let Some(first) = wanted.keys().next().map(|key| key.repo.clone()) else {
            self.settled_as(State::Unchanged);
            return Ok(Done {
                operation_id: operation,
                outcome: MutationOutcome::Unchanged,
                targets: Vec::new(),
                diff: String::new(),
            });
        };
        let _alone = self.0.working.hold(&operation).await;
        let journal = self.0.journals.of(&first).await?;
        let request = source.request.clone();
        let op = record(operation, source, wanted);
        // The patches are made while the disk takes the record.
        let (begun, exact) = tokio::join!(journal.begin(&op), exact(&op));
        let (op, resumed) = match begun.map_err(store)? {
            Begun::New => (op, false),
            Begun::Known(op) => (*op, true),
        };
        crate::fault::point(&self.0.home, "journalled");
        tracing::debug!(operation = %op.id, resumed, "on record");
        // What is told of it is made while it is done.
        let told = op.clone();
        let means = Means { exact: &exact, request: request.as_ref(), comes_back: false };
        let (op, diff) = tokio::join!(self.settle_with(&journal, op, resumed, means), diff(&told));
        report(&op?, diff)
    }

    /// What came of an operation of this name, if it is on record and settled.
    pub(crate) async fn settled(
        &self,
        operation: &str,
        first: Option<&LeaseKey>,
    ) -> Result<Option<Done>, ApiError> {
        let Some(key) = first else { return Ok(None) };
        let Some(journal) = self.0.journals.known(&key.repo).await? else { return Ok(None) };
        match journal.get(operation).await.map_err(store)? {
            Some(op) if op.state.is_final() => report(&op, String::new()).map(Some),
            _ => Ok(None),
        }
    }

    /// Brings an operation that an earlier daemon left to its end. Where a backend is not to be had it
    /// stays pending if its caller `comes_back`, else it is undone.
    pub(super) async fn settle_left(
        &self,
        journal: &Journal,
        op: Operation,
        comes_back: bool,
    ) -> Result<Operation, ApiError> {
        self.settle_with(journal, op, true, Means { comes_back, ..Means::default() }).await
    }

    async fn settle_with(
        &self,
        journal: &Journal,
        mut op: Operation,
        resumed: bool,
        means: Means<'_>,
    ) -> Result<Operation, ApiError> {
        if op.state.is_final() {
            return Ok(op);
        }
        let (state, message) = self.work(&op, resumed, means).await?;
        crate::fault::point(&self.0.home, "applied");
        let advanced = journal.advance(&op.id, State::Pending, state, message.as_deref(), None);
        advanced.await.map_err(store)?;
        self.settled_as(state);
        let request_id = means.request.map(RequestId::as_str);
        tracing::info!(operation = %op.id, tool = %op.tool, outcome = state.name(), request_id,
            "a write is settled");
        if state == State::Conflict {
            tracing::error!(operation = %op.id, message, "a write can't be finished nor undone");
        }
        (op.state, op.message) = (state, message);
        Ok(op)
    }

    async fn work(
        &self,
        op: &Operation,
        resumed: bool,
        means: Means<'_>,
    ) -> Result<(State, Option<String>), ApiError> {
        let mut past = Past { resumed, ..Past::default() };
        let (mut attempts, mut backwards) = (0, false);
        for _ in 0..ROUNDS {
            let (parts, undoes) = match next(op, &standing(op).await?, &past) {
                Next::Settle(state, message) => return Ok((state, message)),
                Next::Apply(parts) => (parts, false),
                Next::Undo(parts, reason) => {
                    past.refused = Some(reason);
                    (parts, true)
                }
            };
            if undoes && !std::mem::replace(&mut backwards, true) {
                attempts = 0;
            }
            match self.apply_all(op, &parts, means).await {
                Ok(()) if undoes => past.undone = true,
                Ok(()) => {}
                Err(Trouble::Refused(reason)) if undoes => return stuck(op, &past, &reason).await,
                Err(Trouble::Refused(reason)) => past.refused = Some(reason),
                Err(Trouble::Broke(error)) => {
                    attempts += 1;
                    match () {
                        () if attempts < ATTEMPTS => tokio::time::sleep(PAUSE).await,
                        // Left on record as it is.
                        () if means.comes_back => return Err(error),
                        () if undoes => return stuck(op, &past, &error.message).await,
                        // What one of them can't have, none of them has.
                        () => past.refused = Some(error.message),
                    }
                }
            }
        }
        stuck(op, &past, "the files do not come to rest: somebody else writes them").await
    }

    async fn apply_all(
        &self,
        op: &Operation,
        parts: &[(usize, Vec<Change>)],
        means: Means<'_>,
    ) -> Result<(), Trouble> {
        if parts.len() > 1 {
            // None is begun while one of them can't be had.
            let all = parts.iter().filter_map(|(index, _)| op.parts.get(*index));
            future::try_join_all(all.map(|part| self.reach(part))).await?;
        }
        for (index, changes) in parts {
            let Some(part) = op.parts.get(*index) else { continue };
            let ready = means.exact.get(*index).filter(|exact| exact.changes == *changes);
            self.apply(part, changes, ready, means.request).await?;
            crate::fault::point(&self.0.home, "part-applied");
        }
        Ok(())
    }

    /// Has one repo's backend make these changes.
    async fn apply(
        &self,
        part: &Part,
        changes: &[Change],
        ready: Option<&Exact>,
        request: Option<&RequestId>,
    ) -> Result<(), Trouble> {
        let handle = self.target(&part.repo).await.map_err(Trouble::Broke)?;
        // Counted as a client, so that it isn't put to sleep meanwhile.
        let _used = handle.client(Use::Request { stirs: true });
        let (backend, converts, patch) = tokio::join!(
            self.reach(part),
            put::is_needed(Path::new(&part.directory), changes),
            async {
                match ready {
                    Some(ready) => Ok(ready.patch.clone()),
                    None => make(changes, Form::Exact).await,
                }
            },
        );
        let backend = backend?.on_behalf_of(request);
        tracing::debug!(repo = %part.repo, converts, "applying");
        let done = match converts {
            true => self.put(&backend, part, changes).await?,
            false => {
                let patch = patch.map_err(|error| {
                    Trouble::Refused(format!("no patch can be made of it: {}", chain(&error)))
                })?;
                let Some(patch) = patch else { return Ok(()) };
                backend.vcs_apply(&part.directory, &patch).await
            }
        };
        tracing::debug!(repo = %part.repo, applied = done.is_ok(), "applied");
        match done {
            Ok(()) => {
                tell(&handle, part, changes);
                Ok(())
            }
            Err(ApplyError::Refused(reason)) => {
                let directory = &part.directory;
                Err(Trouble::Refused(format!("`git apply` in `{directory}` said: {reason}")))
            }
            Err(ApplyError::Broke(error)) => {
                Err(broke(part, ErrorCode::BackendBroke, &format!("broke off: {error}")))
            }
        }
    }

    /// The backend of a part, brought up where it isn't.
    async fn reach(&self, part: &Part) -> Result<BackendClient, Trouble> {
        let handle = self.target(&part.repo).await.map_err(Trouble::Broke)?;
        let ensuring = tokio::time::timeout(ENSURE_LIMIT, handle.ensure(Asked::default()));
        let view = ensuring
            .await
            .map_err(|_| broke(part, ErrorCode::Deadline, "does not come up"))?
            .map_err(|error| {
                broke(part, error.code, &format!("is not to be had: {}", error.message))
            })?;
        let Some(process) = &view.process else {
            return Err(broke(part, ErrorCode::BackendBroke, "has just ended"));
        };
        Ok(BackendClient::new(process.port, process.password.clone()))
    }

    /// The same for files that git converts.
    async fn put(
        &self,
        backend: &BackendClient,
        part: &Part,
        changes: &[Change],
    ) -> Result<Result<(), ApplyError>, Trouble> {
        let laid = changes.to_vec();
        let laying = tokio::task::spawn_blocking(move || {
            let dir = tempfile::Builder::new().prefix("repod-put-").tempdir()?;
            let script = put::script(dir.path(), &laid)?;
            let script = script.map(|text| Script::new(&text)).transpose()?;
            std::io::Result::Ok((dir, script))
        });
        let laid = laying.await.map_err(std::io::Error::other).and_then(|laid| laid);
        let (_dir, script) = laid.map_err(|error| Trouble::Refused(chain(&error)))?;
        let Some(script) = script else {
            let reason = "git converts the file, and its name is no text".to_owned();
            return Err(Trouble::Refused(reason));
        };
        let ran = async {
            let session =
                backend.create_session(&part.directory, "a write that was routed").await?;
            let ran = backend.shell(&session, script.command()).await;
            // It was there for the command alone.
            let _ = backend.delete_session(&session).await;
            ran.map(drop)
        };
        Ok(ran.await.map_err(ApplyError::from))
    }

    pub(super) async fn target(&self, repo: &str) -> Result<RepoHandle, ApiError> {
        let unknown = || {
            ApiError::new(
                ErrorCode::PathNotFound,
                format!("repod no longer knows the repo `{repo}`"),
            )
        };
        let id: RepoId = repo.parse().map_err(|_| unknown())?;
        self.0.fleet.known(&id).await?.ok_or_else(unknown)
    }
}

fn broke(part: &Part, code: ErrorCode, what: &str) -> Trouble {
    let message = format!("the backend of `{}` {what}", part.directory);
    Trouble::Broke(ApiError::new(code, message))
}

/// Neither done nor undone: where it is left.
async fn stuck(
    op: &Operation,
    past: &Past,
    reason: &str,
) -> Result<(State, Option<String>), ApiError> {
    let standing = standing(op).await?;
    let mut written = Vec::new();
    for (part, at) in op.parts.iter().zip(&standing) {
        let files = part.files.iter().zip(at).filter(|(_, at)| **at == At::After);
        let directory = Path::new(&part.directory);
        written
            .extend(files.map(|(file, _)| format!("`{}`", directory.join(&file.path).display())));
    }
    let why = past.refused.as_deref().unwrap_or("it was begun");
    let written = match written.is_empty() {
        true => String::new(),
        false => format!("; written are {}", written.join(", ")),
    };
    let message = format!("{why}; and it can't be put back: {reason}{written}");
    Ok((State::Conflict, Some(message)))
}

fn record(id: String, source: Source, wanted: BTreeMap<LeaseKey, Target>) -> NewOperation {
    let to_file = |change: Change| FileChange {
        path: change.path,
        before: change.before,
        after: change.after,
    };
    let part = |(key, wanted): (LeaseKey, Target)| Part {
        repo: key.repo.to_string(),
        directory: wanted.directory.display().to_string(),
        branch: key.branch.to_string(),
        fence: wanted.fence,
        files: wanted.changes.into_iter().map(to_file).collect(),
    };
    NewOperation {
        id,
        at_ms: jiff::Timestamp::now().as_millisecond(),
        from_repo: source.repo.map(|repo| repo.to_string()),
        from_session: source.session,
        from_root: source.root,
        title: source.title,
        tool: source.tool,
        parts: wanted.into_iter().map(part).collect(),
        state: State::Pending,
        message: None,
    }
}

/// The patches of all parts; of one for which none can be made, that is said where it is applied.
async fn exact(op: &Operation) -> Vec<Exact> {
    let mut all = Vec::new();
    for part in &op.parts {
        let changes: Vec<_> = part.files.iter().map(Change::of).collect();
        match make(&changes, Form::Exact).await {
            Ok(patch) => all.push(Exact { changes, patch }),
            Err(_) => return all,
        }
    }
    all
}

/// Where each file is now.
pub(super) async fn standing(op: &Operation) -> Result<Vec<Vec<At>>, ApiError> {
    let parts: Vec<(PathBuf, Vec<FileChange>)> =
        op.parts.iter().map(|part| (PathBuf::from(&part.directory), part.files.clone())).collect();
    let looking = tokio::task::spawn_blocking(move || {
        let at = |directory: &Path, file: &FileChange| {
            let now: Option<Option<Content>> = look(&directory.join(&file.path)).ok();
            At::of(now.as_ref(), &file.before, &file.after)
        };
        parts.iter().map(|(dir, files)| files.iter().map(|file| at(dir, file)).collect()).collect()
    });
    looking.await.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))
}

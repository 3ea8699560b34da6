//! route: writes in repos for those who aren't tools, by those repos' backends.

use crate::coordination::{
    CallId, Hold, Kind as CallKind, OwnerId, Party, Wait, Wanted, branch_of, directory_of, wait,
};
use crate::daemon::Daemon;
use crate::repo::{Located, Repo};
use crate::router::{
    Change, Content, Kind, Links, ScratchError, Source, Target, changes_of, look, resolve,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use repod_coordination::lease::LeaseKey;
use repod_proto::{
    ApiError, ErrorCode, Generation, MutationInfo, MutationsQuery, RequestId, RouteApplyRequest,
    RouteBy, RouteFile, RouteReport, RouteWriteRequest,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries listed where nobody says how many, and at most.
const LISTED: u32 = 100;
const LISTED_MAX: u32 = 10_000;
/// Files of one write.
const FILES_MAX: usize = 4096;

pub(crate) async fn mutations(
    daemon: &Daemon,
    query: &MutationsQuery,
) -> Result<Vec<MutationInfo>, ApiError> {
    daemon.router.mutations(query.limit.unwrap_or(LISTED).min(LISTED_MAX)).await
}

/// Applies a patch in the worktree of `path`.
pub(crate) async fn apply(
    daemon: Arc<Daemon>,
    request: RouteApplyRequest,
    id: RequestId,
) -> Result<RouteReport, ApiError> {
    let patch = decoded("patch_base64", &request.patch_base64)?;
    let located = daemon.locator.locate(&request.path).await?;
    let (key, repo, worktree) =
        place_of(&daemon, located).ok_or_else(|| no_branch(&request.path))?;
    check_branch(&request, &key)?;
    daemon.fleet.register(&repo).await?.check_same(&repo)?;
    let root = PathBuf::from(worktree);
    // Under the lease, so that what the patch is tried on is what it is applied to.
    let targets = BTreeMap::from([(key.clone(), Target::new(root.clone()))]);
    run(daemon, (request.by, id), targets, async move |targets| {
        let changes = changes_of(&root, &patch).await.map_err(unfit)?;
        if let Some(target) = targets.get_mut(&key) {
            target.changes = changes;
        }
        Ok(())
    })
    .await
}

/// Puts files into the worktrees they lie in.
pub(crate) async fn write(
    daemon: Arc<Daemon>,
    request: RouteWriteRequest,
    id: RequestId,
) -> Result<RouteReport, ApiError> {
    if request.files.is_empty() || request.files.len() > FILES_MAX {
        let message = format!("a write has 1 to {FILES_MAX} files");
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let mut targets: BTreeMap<LeaseKey, Target> = BTreeMap::new();
    let mut files = Vec::new();
    for file in request.files {
        let wanted = WantedFile::of(file)?;
        let parent = wanted.path.ancestors().skip(1).find(|path| path.is_dir());
        let parent = parent.unwrap_or(Path::new("/")).display().to_string();
        let located = daemon.locator.locate(&parent).await?;
        let (key, repo, worktree) = place_of(&daemon, located)
            .ok_or_else(|| no_branch(&wanted.path.display().to_string()))?;
        daemon.fleet.register(&repo).await?.check_same(&repo)?;
        targets.entry(key.clone()).or_insert_with(|| Target::new(PathBuf::from(worktree)));
        files.push((key, wanted));
    }
    run(daemon, (request.by, id), targets, async move |targets| {
        for (key, wanted) in files {
            let Some(target) = targets.get_mut(&key) else { continue };
            let (path, before) = (wanted.path.clone(), wanted.before().await?);
            let after = wanted.after(before.as_ref());
            let path = path.strip_prefix(&target.directory).unwrap_or(&path).to_owned();
            if before != after {
                target.changes.push(Change { path, renamed_from: None, before, after });
            }
        }
        Ok(())
    })
    .await
}

/// What is written on there: a branch, or a registered directory without git.
fn place_of(daemon: &Daemon, located: Located) -> Option<(LeaseKey, Repo, String)> {
    if located.branch.is_some() || located.commit.is_some() {
        let (key, worktree) = branch_of(&located, &located.repo.id, &located.directory)?;
        return Some((key, located.repo, worktree));
    }
    let repo = daemon.coordination.plain_repo(&located.directory)?;
    let (key, place) = directory_of(&repo);
    Some((key, place.repo, place.worktree))
}

/// Takes the leases, has the changes found out, and carries them out: to the end, even when whoever
/// asked has left.
async fn run(
    daemon: Arc<Daemon>,
    (by, request): (RouteBy, RequestId),
    mut targets: BTreeMap<LeaseKey, Target>,
    find: impl AsyncFnOnce(&mut BTreeMap<LeaseKey, Target>) -> Result<(), ApiError> + Send + 'static,
) -> Result<RouteReport, ApiError> {
    let name = match by.operation_id {
        Some(name) => checked_name(name)?,
        None => crate::router::operation_id()?,
    };
    let tool = if by.tool.is_empty() { "route".to_owned() } else { by.tool };
    let source = Source {
        repo: None,
        session: by.name.unwrap_or_else(|| tool.clone()),
        root: name.clone(),
        title: by.title.clone(),
        tool,
        request: Some(request),
    };
    let directory = targets.values().next().map(|it| it.directory.display().to_string());
    let wanted = Wanted {
        call: CallId(name.clone()),
        party: Party {
            id: OwnerId::Outside(name.clone()),
            session_id: source.session.clone(),
            title: by.title,
            directory: directory.unwrap_or_default(),
            generation: Generation::default(),
            pid: by.pid,
        },
        what: source.tool.clone(),
        hold: Hold::Call,
        wait: match by.wait_seconds {
            Some(0) => Wait::Refuse,
            Some(seconds) => Wait::UpTo(seconds.saturating_mul(1000)),
            None => wait(daemon.coordination.policy()),
        },
        kind: CallKind::Ordinary,
        on_its_way: None,
    };
    let router = daemon.router.clone();
    if let Some(done) = router.settled(&name, targets.keys().next()).await? {
        return Ok(done);
    }
    let granted = router.leases(&mut targets, wanted).await?;
    find(&mut targets).await?;
    targets.retain(|_, target| !target.changes.is_empty());
    let carrying = tokio::spawn(async move {
        let done = router.carry_out(name, source, targets).await;
        drop(granted);
        done
    });
    carrying.await.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?
}

/// A file as it is asked for.
struct WantedFile {
    path: PathBuf,
    content: Option<Vec<u8>>,
    executable: Option<bool>,
    expected: Option<String>,
}

impl WantedFile {
    fn of(file: RouteFile) -> Result<Self, ApiError> {
        let named = PathBuf::from(&file.path);
        if !named.is_absolute() || named.file_name().is_none() {
            let message = format!("`{}` is no absolute path of a file", file.path);
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        let content = match &file.content_base64 {
            Some(text) => Some(decoded("content_base64", text)?),
            None => None,
        };
        let links = if content.is_some() { Links::Follow } else { Links::Keep };
        let (executable, expected) = (file.executable, file.expected_sha256);
        Ok(Self { path: resolve(&named, links), content, executable, expected })
    }

    /// What is there, if that is what was expected.
    async fn before(&self) -> Result<Option<Content>, ApiError> {
        let path = self.path.clone();
        let looking = tokio::task::spawn_blocking(move || look(&path)).await;
        let before = looking
            .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?
            .map_err(|error| ApiError::new(ErrorCode::WriteRefused, error.to_string()))?;
        let Some(expected) = &self.expected else { return Ok(before) };
        let is = before.as_ref().map_or_else(String::new, |it| sha256(&it.bytes));
        if is == expected.to_ascii_lowercase() {
            return Ok(before);
        }
        let message = format!("`{}` is not as it was when it was read", self.path.display());
        Err(ApiError::new(ErrorCode::WriteRefused, message)
            .hint("nothing has changed; read the file again and repeat the write")
            .detail("sha256", is))
    }

    fn after(self, before: Option<&Content>) -> Option<Content> {
        let bytes = self.content?;
        let was = before.is_some_and(|before| before.kind == Kind::Executable);
        let kind = if self.executable.unwrap_or(was) { Kind::Executable } else { Kind::Plain };
        Some(Content { kind, bytes })
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(field: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    STANDARD.decode(text).map_err(|error| {
        ApiError::new(ErrorCode::InvalidRequest, format!("`{field}` is no base64: {error}"))
    })
}

fn checked_name(name: String) -> Result<String, ApiError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if !name.is_empty() && name.len() <= 128 && name.chars().all(plain) {
        return Ok(name);
    }
    let message = "an operation's name has 1 to 128 letters, digits, or `-_.:`";
    Err(ApiError::new(ErrorCode::InvalidRequest, message))
}

fn check_branch(request: &RouteApplyRequest, key: &LeaseKey) -> Result<(), ApiError> {
    let is = key.branch.to_string();
    match &request.branch {
        Some(wanted) if *wanted != is => {
            let message = format!("`{}` has `{is}` checked out, not `{wanted}`", request.path);
            Err(ApiError::new(ErrorCode::WriteRefused, message)
                .hint("name a worktree that has it: `git worktree list` shows them"))
        }
        _ => Ok(()),
    }
}

fn no_branch(path: &str) -> ApiError {
    let message =
        format!("`{path}` lies in no git repository, so no backend can apply a patch there");
    ApiError::new(ErrorCode::WriteRefused, message)
        .hint("write it directly: nobody else is in the way")
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn unfit(error: ScratchError) -> ApiError {
    let text = {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    let hint = match error {
        ScratchError::Envelope => {
            "a git or unified diff is wanted here: `git diff --binary` makes one"
        }
        ScratchError::Absolute(_) | ScratchError::Outside(_) => {
            "paths in it are relative to the worktree's root"
        }
        _ => "nothing has changed; make the patch anew from what is there now",
    };
    ApiError::new(ErrorCode::WriteRefused, format!("the patch can't be applied: {text}")).hint(hint)
}

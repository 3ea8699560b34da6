//! Which repository a path lies in, and the id that names it.
//!
//! The identity of a repository is its canonical git *common* directory: the main worktree, a linked
//! worktree, a subdirectory and a symlink to any of them share one, two clones don't. Without git it
//! is the canonical path. Looking never runs `git` and never takes a lock in the repository.

use gix_discover::repository::Path as Discovered;
use repod_proto::{ApiError, ErrorCode, RepoId};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A repository: all its worktrees, or a plain directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repo {
    pub(crate) id: RepoId,
    /// What the id is the digest of: two repos with one id must differ here.
    pub(crate) identity: PathBuf,
    /// The main worktree; the repository itself when it is bare; the directory without git.
    pub(crate) root: PathBuf,
}

/// A path, located.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) repo: Repo,
    /// The worktree the path lies in: what OpenCode calls the directory.
    pub(crate) directory: PathBuf,
    /// The branch checked out there; absent when detached, or without git.
    pub(crate) branch: Option<String>,
    /// The commit checked out there, when no branch is.
    pub(crate) commit: Option<String>,
}

/// Finds the repository `path` lies in. Blocking: a few `stat`s and three small files.
pub(crate) fn locate(path: &Path) -> Result<Located, ApiError> {
    if !path.is_absolute() {
        let message = format!("`{}` is not an absolute path", path.display());
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let path = canonical(path)?;
    if path.to_str().is_none() {
        return Err(not_utf8(&path));
    }
    let meta = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
    if !meta.is_dir() {
        let message = format!("`{}` is not a directory", path.display());
        let error = ApiError::new(ErrorCode::NotADirectory, message);
        return Err(match path.parent() {
            Some(parent) => error.hint(format!("name its directory: `{}`", parent.display())),
            None => error,
        });
    }
    rustix::fs::access(&path, rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| unreadable(&path, &error.into()))?;
    match discover(&path)? {
        None => Ok(Located { repo: plain(&path), directory: path, branch: None, commit: None }),
        Some(found) => in_git(&path, found),
    }
}

fn discover(path: &Path) -> Result<Option<Discovered>, ApiError> {
    // A `.git` that is there but broken must not make the directory pass for one without git: the
    // repository would get another id, and so another backend, the day it is repaired.
    let broken = |at: &Path, cause: String| {
        let message = format!("the git metadata of `{}` can't be used: {cause}", at.display());
        ApiError::new(ErrorCode::RepoInvalid, message)
            .hint(format!("`git -C {} status` should say more", at.display()))
    };
    match gix_discover::upwards(path) {
        Ok((found, _trust)) => Ok(Some(found)),
        Err(error) => {
            match path.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok()) {
                None => Ok(None),
                Some(at) => Err(broken(at, error.to_string())),
            }
        }
    }
}

fn in_git(path: &Path, found: Discovered) -> Result<Located, ApiError> {
    let (work_dir, git_dir) = match found {
        Discovered::LinkedWorkTree { work_dir, git_dir } => (Some(work_dir), git_dir),
        Discovered::WorkTree(work_dir) => {
            let git_dir = work_dir.join(".git");
            (Some(work_dir), git_dir)
        }
        Discovered::Repository(git_dir) => (None, git_dir),
    };
    // What was found upwards of a canonical path is canonical, unless its `.git` is a link.
    let is_below = work_dir.as_deref().is_some_and(|dir| path.starts_with(dir));
    let is_plain = is_below && git_dir.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let git_dir = if is_plain { git_dir } else { canonical(&git_dir)? };
    let common = match gix_discover::path::from_plain_file(&git_dir.join("commondir")) {
        None => git_dir.clone(),
        Some(Ok(common)) => canonical(&git_dir.join(common))?,
        Some(Err(error)) => return Err(unreadable(&git_dir.join("commondir"), &error)),
    };
    let work_dir = match work_dir {
        Some(dir) if !is_below => Some(canonical(&dir)?),
        dir => dir,
    };
    let root = root_of(&common, work_dir.as_deref(), git_dir == common);
    // Inside the git directory itself (a hook, a curious shell) the root is what is meant.
    let directory = work_dir.unwrap_or_else(|| root.clone());
    if directory.to_str().is_none() || root.to_str().is_none() {
        return Err(not_utf8(path));
    }
    let (branch, commit) = head_of(&git_dir);
    let id = id_of(&common, &name_of(&common));
    Ok(Located { repo: Repo { id, identity: common, root }, directory, branch, commit })
}

/// The main worktree as far as the common directory tells it, so that every worktree agrees.
fn root_of(common: &Path, work_dir: Option<&Path>, is_main: bool) -> PathBuf {
    let hidden = common.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    match (common.parent(), work_dir) {
        (Some(parent), _) if hidden => parent.to_owned(),
        // A submodule, or `--separate-git-dir`: seen from its own worktree.
        (_, Some(work_dir)) if is_main => work_dir.to_owned(),
        // The same, seen from a linked worktree: git keeps the main one in `core.worktree`.
        _ => configured_worktree(common).unwrap_or_else(|| common.to_owned()),
    }
}

/// `core.worktree` of a submodule's git directory, which git always writes as one plain line.
fn configured_worktree(common: &Path) -> Option<PathBuf> {
    let config = fs_err::read_to_string(common.join("config")).ok()?;
    let line = config.lines().find_map(|line| line.trim().strip_prefix("worktree = "))?;
    common.join(line).canonicalize().ok()
}

/// The name people know the repository by; a function of the common directory alone, because it is
/// part of the id: `web/.git` and `web/.bare` are `web`, `modules/lib` is `lib`, `web.git` is `web`.
fn name_of(common: &Path) -> String {
    let base = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = base(common).unwrap_or_default();
    if name.starts_with('.') {
        return common.parent().and_then(base).unwrap_or_default();
    }
    name.strip_suffix(".git").unwrap_or(&name).to_owned()
}

fn plain(path: &Path) -> Repo {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let id = id_of(path, &name.unwrap_or_else(|| "root".into()));
    Repo { id, identity: path.to_owned(), root: path.to_owned() }
}

fn id_of(identity: &Path, name: &str) -> RepoId {
    let digest = Sha256::digest(identity.as_os_str().as_bytes());
    let mut first = [0; 6];
    first.copy_from_slice(&digest[..6]);
    RepoId::new(name, &first)
}

/// Branch, or commit, of the worktree.
fn head_of(git_dir: &Path) -> (Option<String>, Option<String>) {
    let Ok(head) = fs_err::read_to_string(git_dir.join("HEAD")) else { return (None, None) };
    match head.trim().strip_prefix("ref: refs/heads/") {
        // A repository with the reftable format keeps this placeholder there.
        Some(".invalid") => (None, None),
        Some(branch) => (Some(branch.to_owned()), None),
        None => (None, Some(head.trim().to_owned())),
    }
}

fn canonical(path: &Path) -> Result<PathBuf, ApiError> {
    path.canonicalize().map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> ApiError {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            ApiError::new(ErrorCode::PathNotFound, format!("`{shown}` does not exist"))
        }
        io::ErrorKind::NotADirectory => {
            let message = format!("`{shown}` leads through something that is not a directory");
            ApiError::new(ErrorCode::NotADirectory, message)
        }
        io::ErrorKind::PermissionDenied => ApiError::new(
            ErrorCode::PathUnreadable,
            format!("`{shown}` can't be read by this user"),
        )
        .hint("run repod as the user the repository belongs to, or change its permissions"),
        _ => ApiError::new(ErrorCode::PathUnreadable, format!("`{shown}` can't be read: {error}")),
    }
    .detail("path", shown.to_string())
}

fn not_utf8(path: &Path) -> ApiError {
    let message = format!("`{}` is not UTF-8, and OpenCode can't open such a path", path.display());
    ApiError::new(ErrorCode::PathNotUtf8, message).hint("rename the directory")
}

#[cfg(test)]
mod tests;

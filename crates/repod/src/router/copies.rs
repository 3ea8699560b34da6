//! The copies of one call on disk, and the plan that says where they belong.

use super::carry::Target;
use super::look;
use super::patch::{Change, Content, Kind};
use super::stage::Foreign;
use crate::coordination::{GuardedCall, LeaseKey};
use repod_proto::{Generation, RepoId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) operation: String,
    pub(super) call: String,
    pub(super) repo: RepoId,
    pub(super) generation: Generation,
    pub(super) directory: String,
    pub(super) session: String,
    pub(super) root: String,
    pub(super) title: String,
    pub(super) tool: String,
    pub(super) files: Vec<Planned>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Planned {
    real: PathBuf,
    staged: PathBuf,
    repo: RepoId,
    branch: String,
    worktree: PathBuf,
    /// What lay there; its bytes are in a file of this one's number.
    before: Option<Before>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Before {
    Plain,
    Executable,
    Link,
}

pub(super) fn lay_out(
    stage: &Path,
    name: &str,
    foreign: &Foreign,
) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let operation = &foreign.operation;
    // Asked twice (the answer was lost): from the beginning.
    clear(stage, operation)?;
    let root = stage.join(name).join(operation);
    let before_dir = stage.join(".before").join(operation);
    private_dir(&root)?;
    private_dir(&before_dir)?;
    let (mut files, mut places) = (Vec::new(), BTreeMap::new());
    for file in &foreign.footprint.files {
        let Some(key) = &file.key else { continue };
        let Some(place) = foreign.footprint.places.get(key) else { continue };
        if places.contains_key(&file.real) {
            continue;
        }
        let staged = root.join(file.real.strip_prefix("/").unwrap_or(&file.real));
        if let Some(parent) = staged.parent() {
            private_dir(parent)?;
        }
        let before = look(&file.real)?;
        if let Some(before) = &before {
            fs_err::write(before_dir.join(files.len().to_string()), &before.bytes)?;
            // A link that goes is read through before: the tool must be able to.
            let meta = std::fs::metadata(&file.real);
            if meta.as_ref().is_ok_and(std::fs::Metadata::is_file) {
                fs_err::copy(&file.real, &staged)?;
                let executable = before.kind == Kind::Executable;
                let mode = if executable { 0o700 } else { 0o600 };
                fs_err::set_permissions(&staged, Permissions::from_mode(mode))?;
            }
        }
        places.insert(file.real.clone(), staged.clone());
        files.push(Planned {
            real: file.real.clone(),
            staged,
            repo: key.repo.clone(),
            branch: key.branch.to_string(),
            worktree: PathBuf::from(&place.worktree),
            before: before.map(|before| match before.kind {
                Kind::Plain => Before::Plain,
                Kind::Executable => Before::Executable,
                Kind::Link => Before::Link,
            }),
        });
    }
    let GuardedCall { caller, call, tool, .. } = foreign.call.clone();
    let plan = Plan {
        operation: operation.clone(),
        call,
        repo: caller.repo,
        generation: caller.generation,
        directory: caller.directory,
        session: caller.session,
        root: caller.root,
        title: caller.title,
        tool,
        files,
    };
    private_dir(&stage.join(".plan"))?;
    fs_err::write(plan_file(stage, operation), serde_json::to_vec(&plan)?)?;
    Ok(places)
}

/// What has become of the copies.
pub(super) fn changes(stage: &Path, plan: &Plan) -> io::Result<BTreeMap<LeaseKey, Target>> {
    let before_dir = stage.join(".before").join(&plan.operation);
    let mut wanted: BTreeMap<LeaseKey, Target> = BTreeMap::new();
    for (index, file) in plan.files.iter().enumerate() {
        let before = match file.before {
            None => None,
            Some(kind) => {
                let bytes = fs_err::read(before_dir.join(index.to_string()))?;
                let kind = match kind {
                    Before::Plain => Kind::Plain,
                    Before::Executable => Kind::Executable,
                    Before::Link => Kind::Link,
                };
                Some(Content { kind, bytes })
            }
        };
        let after = look(&file.staged)?;
        // The copy of a link's content that is still there: the link wasn't removed.
        let untouched = before.as_ref().is_some_and(|it| it.kind == Kind::Link) && after.is_some();
        if before == after || untouched {
            continue;
        }
        let branch = file.branch.parse().map_err(io::Error::other)?;
        let path = file.real.strip_prefix(&file.worktree).map_err(|_| {
            let (real, worktree) = (file.real.display(), file.worktree.display());
            io::Error::other(format!("`{real}` does not lie in the worktree `{worktree}`"))
        })?;
        let key = LeaseKey { repo: file.repo.clone(), branch };
        let part = wanted.entry(key).or_insert_with(|| Target::new(file.worktree.clone()));
        let path = path.to_owned();
        part.changes.push(Change { path, renamed_from: None, before, after });
    }
    Ok(wanted)
}

pub(super) fn read_plan(file: &Path) -> io::Result<Plan> {
    Ok(serde_json::from_slice(&fs_err::read(file)?)?)
}

/// The plan of a call that another daemon has let run.
pub(super) fn find_plan(stage: &Path, session: &str, call: &str) -> io::Result<Plan> {
    for entry in fs_err::read_dir(stage.join(".plan"))? {
        let plan = read_plan(&entry?.path())?;
        if plan.session == session && plan.call == call {
            return Ok(plan);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

pub(super) fn clear(stage: &Path, operation: &str) -> io::Result<()> {
    let Ok(names) = std::fs::read_dir(stage) else { return Ok(()) };
    for name in names.flatten() {
        match std::fs::remove_dir_all(name.path().join(operation)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs_err::remove_file(plan_file(stage, operation)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn plan_file(stage: &Path, operation: &str) -> PathBuf {
    stage.join(".plan").join(format!("{operation}.json"))
}

fn private_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

//! Where a tool call writes: the files it names, and the branches those lie on.

use super::{Coordination, GuardedCall, LeaseKey};
use crate::ops::Locator;
use crate::repo::{Located, Repo};
use crate::router::{Envelope, Hunk, Links, resolve};
use repod_coordination::lease::Branch;
use repod_proto::{ApiError, ErrorCode, RepoId};
use repod_shell::{Classified, Dir, Input, Reason, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Paths of one call that are looked at; a call that names more takes its own repo's lease as well.
const PATHS_MAX: usize = 256;

/// A branch that is written on, and where it is checked out.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) repo: Repo,
    pub(crate) worktree: String,
}

pub(crate) type Places = BTreeMap<LeaseKey, Place>;

/// A file that a call names.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    /// As the call names it, made absolute.
    pub(crate) named: PathBuf,
    /// Where that really is.
    pub(crate) real: PathBuf,
    /// The branch it lies on; none where no repo is.
    pub(crate) key: Option<LeaseKey>,
}

/// Where a call writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint {
    pub(crate) places: Places,
    /// The files it names; empty for a tool that names none.
    pub(crate) files: Vec<NamedFile>,
    /// Whether what it writes isn't fully known beforehand.
    pub(crate) opaque: bool,
}

impl Footprint {
    /// The branches, in order, each with the worktree it is checked out in.
    pub(crate) fn branches(&self) -> Vec<(LeaseKey, String)> {
        let branch = |(key, place): (&LeaseKey, &Place)| (key.clone(), place.worktree.clone());
        self.places.iter().map(branch).collect()
    }

    /// Whether a part of it lies in a repo that is not this one.
    pub(crate) fn is_foreign_to(&self, repo: &RepoId) -> bool {
        self.places.keys().any(|key| key.repo != *repo)
    }
}

/// How a path finds its repo.
pub(super) struct At<'a> {
    pub(super) locator: &'a Locator,
    pub(super) coordination: &'a Coordination,
}

/// Where the call writes.
pub(super) async fn footprint(at: &At<'_>, call: &GuardedCall) -> Result<Footprint, ApiError> {
    let mut found = Footprint::default();
    let own = PathBuf::from(&call.caller.directory);
    match call.tool.as_str() {
        "write" | "edit" => {
            let path = call.file_path.as_ref().ok_or_else(|| missing("filePath"))?;
            add_file(at, call, path, Links::Follow, &mut found).await?;
        }
        "apply_patch" => {
            let text = call.patch_text.as_ref().ok_or_else(|| missing("patchText"))?;
            match Envelope::parse(text) {
                Some(envelope) if envelope.paths().len() > PATHS_MAX => {
                    let message = format!("a patch may name {PATHS_MAX} files at most");
                    return Err(ApiError::new(ErrorCode::InvalidRequest, message)
                        .hint("split it into several patches"));
                }
                Some(envelope) => {
                    for (path, links) in envelope.hunks.iter().flat_map(written_by) {
                        add_file(at, call, path, links, &mut found).await?;
                    }
                }
                // The tool will say what is wrong with it; until then it may write here.
                None => add(at, call, &own, &mut found.places).await.map(drop)?,
            }
        }
        "bash" => {
            let command = call.command.as_ref().ok_or_else(|| missing("command"))?;
            let cwd = call.absolute(call.workdir.as_deref().unwrap_or_default());
            let (paths, opaque) = paths_of(command, &cwd.canonicalize().unwrap_or(cwd));
            found.opaque = opaque;
            for path in paths {
                add(at, call, &path, &mut found.places).await?;
            }
        }
        // Tools of others: what they write is not known, only where they are at home.
        _ => {
            found.opaque = true;
            add(at, call, &own, &mut found.places).await?;
        }
    }
    Ok(found)
}

/// The files a section writes. A link that is removed goes itself; one that is changed leads on.
fn written_by(hunk: &Hunk) -> Vec<(&str, Links)> {
    match hunk {
        Hunk::Add { path } => vec![(path, Links::Follow)],
        Hunk::Delete { path } => vec![(path, Links::Keep)],
        Hunk::Update { path, moved_to: None } => vec![(path, Links::Follow)],
        Hunk::Update { path, moved_to: Some(to) } => {
            vec![(path, Links::Keep), (to, Links::Follow)]
        }
    }
}

/// Where a command may write, nothing when it only reads; and whether it may do more.
fn paths_of(command: &str, cwd: &Path) -> (Vec<PathBuf>, bool) {
    let home = std::env::home_dir();
    let variable = |name: &str| std::env::var(name).ok();
    let input = Input { command, cwd, home: home.as_deref(), variable: &variable };
    let classified = repod_shell::classify(&input);
    let mut paths: Vec<PathBuf> = Vec::new();
    if classified.kind == repod_shell::Kind::Reading {
        return (paths, false);
    }
    let anywhere = classified.runs_in.contains(&Dir::Unknown);
    let mut opaque = classified.opaque || anywhere;
    if !writes_only_what_it_names(&classified) {
        let runs_in = classified.runs_in.into_iter().filter_map(|dir| match dir {
            Dir::Known(dir) => Some(dir),
            Dir::Unknown => None,
        });
        paths.extend(runs_in);
        // What runs nowhere that is known runs here. (`cd there && make` runs there.)
        if paths.is_empty() || anywhere {
            paths.push(cwd.to_owned());
        }
    }
    paths.extend(classified.writes.into_iter().map(|target| match target {
        Target::File(path) | Target::Tree(path) => path,
        Target::Dynamic { .. } => cwd.to_owned(),
    }));
    if paths.len() > PATHS_MAX {
        // The rest is looked for afterwards.
        opaque = true;
        paths.truncate(PATHS_MAX);
    }
    (paths, opaque)
}

/// Whether all that makes it write are files it names: `echo x >/tmp/note` is no write on a branch.
fn writes_only_what_it_names(classified: &Classified) -> bool {
    let named = |reason: &Reason| matches!(reason, Reason::Redirect(_));
    let known = |target: &Target| !matches!(target, Target::Dynamic { .. });
    !classified.opaque
        && classified.reasons.iter().all(named)
        && classified.writes.iter().all(known)
}

/// Adds a file the call names, and the branch it belongs to.
async fn add_file(
    at: &At<'_>,
    call: &GuardedCall,
    path: &str,
    links: Links,
    found: &mut Footprint,
) -> Result<(), ApiError> {
    let named = call.absolute(path);
    let real = resolve(&named, links);
    let parent = real.parent().unwrap_or(Path::new("/"));
    let key = add(at, call, parent, &mut found.places).await?;
    found.files.push(NamedFile { named, real, key });
    Ok(())
}

/// Adds the branch this path belongs to, unless it is nobody's.
async fn add(
    at: &At<'_>,
    call: &GuardedCall,
    path: &Path,
    places: &mut Places,
) -> Result<Option<LeaseKey>, ApiError> {
    // What is not there yet belongs to where it will be.
    let existing = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let Some(text) = existing.to_str() else { return Err(not_utf8(existing)) };
    let located = match at.locator.locate(text).await {
        Ok(located) => located,
        // A tool that can't get there writes nothing there.
        Err(error) if error.code == ErrorCode::PathUnreadable => return Ok(None),
        Err(error) => return Err(error),
    };
    let own = Path::new(&call.caller.directory);
    let (key, place) = match branch_of(&located, &call.caller.repo, own) {
        Some((key, worktree)) => (key, Place { repo: located.repo, worktree }),
        None => match at.coordination.plain_repo(&located.directory).as_ref().map(directory_of) {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    places.insert(key.clone(), place);
    Ok(Some(key))
}

/// What is written on in a registered directory without git.
pub(crate) fn directory_of(repo: &Repo) -> (LeaseKey, Place) {
    let worktree = repo.root.display().to_string();
    let key = LeaseKey { repo: repo.id.clone(), branch: Branch::Directory(worktree.clone()) };
    (key, Place { repo: repo.clone(), worktree })
}

/// The branch that is checked out there, and the root of its worktree; none where no repo is. Without
/// git only `repo`'s own directory is one; others are nobody's.
pub(crate) fn branch_of(
    located: &Located,
    repo: &RepoId,
    own: &Path,
) -> Option<(LeaseKey, String)> {
    let (repo, branch) = match (&located.branch, &located.commit) {
        (Some(branch), _) => (&located.repo.id, Branch::Named(branch.clone())),
        (None, Some(commit)) => (&located.repo.id, Branch::Detached(commit.clone())),
        (None, None) if located.directory.starts_with(own) => {
            (repo, Branch::Directory(own.display().to_string()))
        }
        (None, None) => return None,
    };
    let worktree = located.directory.display().to_string();
    Some((LeaseKey { repo: repo.clone(), branch }, worktree))
}

fn missing(argument: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, format!("the call has no `{argument}`"))
        .hint("call the tool again with all its arguments")
}

fn not_utf8(path: &Path) -> ApiError {
    let message = format!("`{}` is not UTF-8, and OpenCode can't open such a path", path.display());
    ApiError::new(ErrorCode::PathNotUtf8, message)
}

//! From a tool call to what it has to ask for: nothing, or the leases of the branches it writes on.

use super::{Ask, CallId, Coordination, Hold, Kind, LeaseKey, OwnerId, Party, Wait, words};
use crate::ops::Locator;
use crate::repo::Located;
use crate::router::Envelope;
use crate::settings::{Conflict, Policy};
use repod_coordination::lease::Branch;
use repod_proto::{ApiError, ErrorCode, Generation, RepoId};
use repod_shell::{Classified, Dir, Input, Reason, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Paths of one call that are looked at; a call that names more takes its own repo's lease as well.
const PATHS_MAX: usize = 256;

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) repo: RepoId,
    pub(crate) generation: Generation,
    /// The directory whose guard asks.
    pub(crate) directory: String,
    pub(crate) session: String,
    /// The session at the root of the tree.
    pub(crate) root: String,
    pub(crate) title: String,
}

/// A tool call before it runs.
#[derive(Clone, Debug)]
pub(crate) struct GuardedCall {
    pub(crate) caller: Caller,
    pub(crate) call: String,
    pub(crate) tool: String,
    pub(crate) command: Option<String>,
    pub(crate) workdir: Option<String>,
    pub(crate) file_path: Option<String>,
    pub(crate) patch_text: Option<String>,
}

/// What was found out about it.
pub(crate) enum Verdict {
    /// It needs no lease.
    Free,
    /// It may run; under these leases, its own branch's last.
    Granted(Vec<(LeaseKey, u64)>),
}

/// A branch that is written on, and where it is checked out.
type Places = BTreeMap<LeaseKey, String>;

impl Caller {
    fn party(&self) -> Party {
        Party {
            id: OwnerId::Session { repo: self.repo.clone(), root: self.root.clone() },
            session_id: self.session.clone(),
            title: self.title.clone(),
            directory: self.directory.clone(),
            generation: self.generation,
            pid: None,
        }
    }

    /// Names the call in the whole daemon.
    pub(crate) fn id(&self, call: &str) -> CallId {
        CallId(format!("{}/{}/{call}", self.repo, self.session))
    }
}

impl Coordination {
    /// Waits until the call may run.
    pub(crate) async fn before(
        &self,
        locator: &Locator,
        call: &GuardedCall,
    ) -> Result<Verdict, ApiError> {
        let places = places(locator, call).await?;
        let mut granted = Vec::new();
        let mut kept = Vec::new();
        let last = places.len().saturating_sub(1);
        // All leases before the one ticket: so no circle is closed by a ticket.
        for (at, (key, worktree)) in places.into_iter().enumerate() {
            let is_last = at == last;
            let name = if is_last { call.call.clone() } else { format!("{}+{at}", call.call) };
            let asked = self.ask(Ask {
                call: call.caller.id(&name),
                party: call.caller.party(),
                key,
                worktree: is_last.then_some(worktree),
                what: call.what(),
                hold: Hold::Turn,
                wait: wait(self.policy()),
                kind: if call.tool == "bash" { Kind::LongRunning } else { Kind::Ordinary },
            });
            let asked = asked.await?;
            granted.extend(asked.lease.clone());
            if is_last {
                asked.keep();
            } else {
                // The lease stays with the turn; the call that asked for it has nothing to do.
                kept.push(asked);
            }
        }
        drop(kept);
        Ok(if granted.is_empty() { Verdict::Free } else { Verdict::Granted(granted) })
    }
}

/// What a write does while another has its branch.
pub(crate) fn wait(policy: &Policy) -> Wait {
    match policy.write_conflict {
        Conflict::Refuse => Wait::Refuse,
        Conflict::Wait => {
            Wait::UpTo(u64::try_from(policy.write_wait.as_millis()).unwrap_or(u64::MAX))
        }
    }
}

impl GuardedCall {
    fn what(&self) -> String {
        let about = self.command.as_ref().or(self.file_path.as_ref());
        let text =
            about.map_or_else(|| self.tool.clone(), |about| format!("{} {about}", self.tool));
        words::one_line(&text, 200)
    }

    fn absolute(&self, path: &str) -> PathBuf {
        Path::new(&self.caller.directory).join(path)
    }
}

async fn places(locator: &Locator, call: &GuardedCall) -> Result<Places, ApiError> {
    let mut places = Places::new();
    match call.tool.as_str() {
        "write" | "edit" => {
            let path = call.file_path.as_ref().ok_or_else(|| missing("filePath"))?;
            add(locator, call, &call.absolute(path), &mut places).await?;
        }
        "apply_patch" => {
            let text = call.patch_text.as_ref().ok_or_else(|| missing("patchText"))?;
            match Envelope::parse(text) {
                Some(envelope) if envelope.paths().len() <= PATHS_MAX => {
                    for path in envelope.paths() {
                        add(locator, call, &call.absolute(path), &mut places).await?;
                    }
                }
                // The tool will say what is wrong with it; until then it may write here.
                _ => add(locator, call, Path::new(&call.caller.directory), &mut places).await?,
            }
        }
        "bash" => bash(locator, call, &mut places).await?,
        // Tools of others: what they write is not known, only where they are at home.
        _ => add(locator, call, Path::new(&call.caller.directory), &mut places).await?,
    }
    Ok(places)
}

async fn bash(locator: &Locator, call: &GuardedCall, places: &mut Places) -> Result<(), ApiError> {
    let command = call.command.as_ref().ok_or_else(|| missing("command"))?;
    let cwd = call.absolute(call.workdir.as_deref().unwrap_or_default());
    for path in paths_of(command, &cwd.canonicalize().unwrap_or(cwd)) {
        add(locator, call, &path, places).await?;
    }
    Ok(())
}

/// Where a command may write; nothing when it only reads.
fn paths_of(command: &str, cwd: &Path) -> Vec<PathBuf> {
    let home = std::env::home_dir();
    let variable = |name: &str| std::env::var(name).ok();
    let input = Input { command, cwd, home: home.as_deref(), variable: &variable };
    let classified = repod_shell::classify(&input);
    let mut paths: Vec<PathBuf> = Vec::new();
    if classified.kind == repod_shell::Kind::Reading {
        return paths;
    }
    if !writes_only_what_it_names(&classified) {
        paths.push(cwd.to_owned());
        paths.extend(classified.runs_in.into_iter().filter_map(|dir| match dir {
            Dir::Known(dir) => Some(dir),
            Dir::Unknown => None,
        }));
    }
    paths.extend(classified.writes.into_iter().map(|target| match target {
        Target::File(path) | Target::Tree(path) => path,
        Target::Dynamic { .. } => cwd.to_owned(),
    }));
    paths.truncate(PATHS_MAX);
    paths
}

/// Whether all that makes it write are files it names: `echo x >/tmp/note` is no write on a branch.
fn writes_only_what_it_names(classified: &Classified) -> bool {
    let named = |reason: &Reason| matches!(reason, Reason::Redirect(_));
    let known = |target: &Target| !matches!(target, Target::Dynamic { .. });
    !classified.opaque
        && classified.reasons.iter().all(named)
        && classified.writes.iter().all(known)
}

/// Adds the branch this path belongs to, unless it is nobody's.
async fn add(
    locator: &Locator,
    call: &GuardedCall,
    path: &Path,
    places: &mut Places,
) -> Result<(), ApiError> {
    // What is not there yet belongs to where it will be.
    let existing = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let Some(text) = existing.to_str() else { return Err(not_utf8(existing)) };
    let located = match locator.locate(text).await {
        Ok(located) => located,
        // A tool that can't get there writes nothing there.
        Err(error) if error.code == ErrorCode::PathUnreadable => return Ok(()),
        Err(error) => return Err(error),
    };
    let own = Path::new(&call.caller.directory);
    places.extend(branch_of(&located, &call.caller.repo, own));
    Ok(())
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

//! What `revert` needs beside the database: OpenCode's snapshots of the worktrees, and the differences it keeps
//! of reverted sessions.
//!
//! A snapshot is a bare git repository for each worktree (`snapshot/<project>/<hash>`, whose `config` names the
//! worktree). Its objects never change, so one that is there needs no second look. Other files are only
//! brought along where there are none.

use crate::HistoryError;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// How a file is called until it is whole.
const PART: &str = ".repod-part";
/// How often a directory is looked through again whose files were repacked meanwhile.
const LOOKS: usize = 5;

/// Copies the snapshots of these projects whose worktree is wanted, from one data directory into another.
/// Says how many files that were.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    projects: &BTreeSet<String>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<u64, HistoryError> {
    let mut copied = 0;
    for project in projects {
        let Some(name) = plain_name(project) else { continue };
        let dir = Path::new("snapshot").join(name);
        for snapshot in entries(&from.join(&dir))? {
            let Some(name) = snapshot.file_name() else { continue };
            if worktree_of(&snapshot).is_some_and(|worktree| wanted(&worktree)) {
                copied += copy_one(&snapshot, &to.join(&dir).join(name))?;
            }
        }
    }
    sync(to, copied)?;
    Ok(copied)
}

/// Copies the kept differences of these sessions; one that is there stays.
pub(crate) fn copy_diffs(from: &Path, to: &Path, sessions: &[String]) -> Result<u64, HistoryError> {
    let dir = Path::new("storage/session_diff");
    let mut copied = 0;
    if !from.join(dir).is_dir() {
        return Ok(0);
    }
    for session in sessions.iter().filter_map(|session| plain_name(session)) {
        let name = dir.join(format!("{session}.json"));
        copied += u64::from(copy_file(&from.join(&name), &to.join(&name))?);
    }
    sync(to, copied)?;
    Ok(copied)
}

/// An id that is a file's name and no way out of a directory.
fn plain_name(id: &str) -> Option<&str> {
    let is_plain = !id.is_empty() && id != "." && id != ".." && !id.contains('/');
    is_plain.then_some(id)
}

/// Objects first: what names them must find them.
fn copy_one(from: &Path, to: &Path) -> Result<u64, HistoryError> {
    let objects = Path::new("objects");
    let mut copied = 0;
    // A repacking git adds packs before it removes what is in them: who looks once more finds those.
    for _ in 0..LOOKS {
        let (more, is_whole) = copy_tree(from, to, objects)?;
        copied += more;
        if is_whole {
            break;
        }
    }
    for name in entries(from)? {
        let Some(name) = name.file_name().map(Path::new) else { continue };
        if name != objects {
            copied += copy_tree(from, to, name)?.0;
        }
    }
    Ok(copied)
}

/// Copies what is at `at` below `from`; says how many files, and whether all that were seen were there still.
fn copy_tree(from: &Path, to: &Path, at: &Path) -> Result<(u64, bool), HistoryError> {
    let (mut copied, mut is_whole) = (0, true);
    let mut waiting = vec![at.to_owned()];
    while let Some(at) = waiting.pop() {
        let source = from.join(&at);
        let kind = match fs_err::symlink_metadata(&source) {
            Ok(meta) => meta.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                is_whole = false;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if kind.is_dir() {
            fs_err::create_dir_all(to.join(&at))?;
            for entry in entries(&source)? {
                waiting.extend(entry.file_name().map(|name| at.join(name)));
            }
        } else if kind.is_file() && !is_passing(&at) {
            let is_there = source.try_exists()?;
            copied += u64::from(copy_file(&source, &to.join(&at))?);
            is_whole &= is_there;
        }
    }
    Ok((copied, is_whole))
}

/// Files of a git that is at work.
fn is_passing(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ends = [".lock", PART].iter().any(|end| name.ends_with(end));
    ends || name.starts_with("tmp_") || name.starts_with(".tmp-") || name == "gc.pid"
}

/// Copies one file, under another name until it is whole. Says whether there was something to do.
fn copy_file(from: &Path, to: &Path) -> Result<bool, HistoryError> {
    if to.exists() {
        return Ok(false);
    }
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent)?;
    }
    let mut part = to.as_os_str().to_owned();
    part.push(PART);
    let part = PathBuf::from(part);
    // Objects are read-only; one that was cut short could not be written over.
    match fs_err::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    match fs_err::copy(from, &part) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    fs_err::rename(&part, to)?;
    Ok(true)
}

/// The worktree a snapshot is of. OpenCode sets it with `git config`, which writes it in one plain line.
fn worktree_of(snapshot: &Path) -> Option<String> {
    let config = fs_err::read_to_string(snapshot.join("config")).ok()?;
    let line = config.lines().find_map(|line| line.trim().strip_prefix("worktree = "))?;
    Some(line.trim_matches('"').to_owned())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let mut found = Vec::new();
    match fs_err::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                found.push(entry?.path());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    found.sort();
    Ok(found)
}

/// All at once: thousands of small files, each synced, would take minutes.
fn sync(dir: &Path, copied: u64) -> Result<(), HistoryError> {
    if copied > 0 {
        rustix::fs::syncfs(fs_err::File::open(dir)?).map_err(io::Error::from)?;
    }
    Ok(())
}

//! What stands on disk for a lease: the branch's lock file, locked while it is held so that scripts
//! can take part (`flock`), and in a file of its own the last fence number.
//!
//! The number is written in place, in one small write, before anybody is told of it: it has to
//! outlive the daemon, not a power cut, which no writer of an old number outlives either.

use super::desk::NotLocked;
use repod_coordination::lease::{Branch, LeaseKey};
use repod_proto::{ApiError, ErrorCode, Home, RepoId};
use repod_supervisor::files::{LockError, LockFile};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The lock files, for scripts too, and the numbers, which are repod's alone.
const LOCKS: &str = "locks";
const FENCES: &str = "fences";

/// A branch's lock, held.
pub(super) struct BranchLock(#[expect(dead_code, reason = "held for its drop")] LockFile);

/// Locks the branch's file and writes the number down.
pub(super) fn take(home: &Home, key: &LeaseKey, fence: u64) -> Result<BranchLock, NotLocked> {
    let failed =
        |error: io::Error| NotLocked::Failed(ApiError::new(ErrorCode::StateIo, error.to_string()));
    let (locks, fences) = (dir(home, &key.repo, LOCKS), dir(home, &key.repo, FENCES));
    private_dir(&locks).and_then(|()| private_dir(&fences)).map_err(failed)?;
    let path = locks.join(key.branch.lock_name());
    let lock = match LockFile::try_acquire(&path) {
        Ok(lock) => lock,
        Err(LockError::Held { holder, .. }) => {
            let by = holder.map_or_else(
                || "another process".to_owned(),
                |holder| format!("a process (last noted: {})", holder.pid),
            );
            return Err(NotLocked::Blocked(by));
        }
        Err(error) => {
            let error = ApiError::new(ErrorCode::StateIo, error.to_string());
            return Err(NotLocked::Failed(error));
        }
    };
    let path = fences.join(key.branch.lock_name());
    let last = read(&path).map_err(NotLocked::Failed)?.map_or(0, |(last, _)| last);
    if last > fence {
        let message = format!("`{}` says {last}, and the next number is {fence}", path.display());
        return Err(NotLocked::Failed(
            ApiError::new(ErrorCode::StateCorrupt, message)
                .hint("was it written by another daemon? `repod shutdown` lets a new one read it"),
        ));
    }
    write(&path, fence, &key.branch).map_err(failed)?;
    Ok(BranchLock(lock))
}

/// The last numbers of all branches of all repos.
pub(super) fn fences(home: &Home) -> Vec<(LeaseKey, u64)> {
    let mut found = Vec::new();
    let Ok(repos) = std::fs::read_dir(home.repos()) else { return found };
    for repo in repos.flatten() {
        let Some(id) = repo.file_name().to_str().and_then(|name| name.parse::<RepoId>().ok())
        else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(dir(home, &id, FENCES)) else { continue };
        for file in files.flatten() {
            match read(&file.path()) {
                Ok(Some((fence, branch))) => {
                    found.push((LeaseKey { repo: id.clone(), branch }, fence));
                }
                Ok(None) => {}
                // Its branch can't be written on until somebody has looked: see `take`.
                Err(error) => tracing::error!(%error, "a fence number can't be read"),
            }
        }
    }
    found
}

fn dir(home: &Home, repo: &RepoId, name: &str) -> PathBuf {
    home.repo(repo).dir().join(name)
}

fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn read(path: &Path) -> Result<Option<(u64, Branch)>, ApiError> {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("`{}` can't be read: {error}", path.display());
            return Err(ApiError::new(ErrorCode::StateIo, message));
        }
    };
    let parsed = text.trim_end().split_once(' ');
    let parsed = parsed.and_then(|(fence, name)| Some((fence.parse().ok()?, name.parse().ok()?)));
    parsed.map(Some).ok_or_else(|| {
        let message = format!("`{}` holds no fence number", path.display());
        ApiError::new(ErrorCode::StateCorrupt, message)
            .hint("with no repod daemon and no backend running it may be deleted")
    })
}

fn write(path: &Path, fence: u64, branch: &Branch) -> io::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // Of one length whatever the number, so that nothing of an older one is left behind it.
    file.write_all_at(format!("{fence:020} {branch}\n").as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(branch: &str) -> LeaseKey {
        LeaseKey {
            repo: "web-3f2a9c1b04de".parse().unwrap(),
            branch: Branch::Named(branch.to_owned()),
        }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        fs_err::create_dir_all(home.repo(&key("x").repo).dir()).unwrap();
        (dir, home)
    }

    #[test]
    fn a_number_survives_and_never_falls() {
        let (_dir, home) = home();
        for branch in ["main", "feature/a b", "main.fence"] {
            drop(take(&home, &key(branch), 7).ok().unwrap());
            drop(take(&home, &key(branch), 19).ok().unwrap());
        }
        let mut found = fences(&home);
        found.sort();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(_, fence)| *fence == 19), "{found:?}");
        assert!(matches!(take(&home, &key("main"), 18), Err(NotLocked::Failed(_))));
        assert!(take(&home, &key("main"), 19).is_ok(), "restored");
    }

    #[test]
    fn a_script_that_has_the_file_is_waited_for_and_a_broken_number_is_kept() {
        let (_dir, home) = home();
        let held = take(&home, &key("main"), 1).ok().unwrap();
        assert!(matches!(take(&home, &key("main"), 2), Err(NotLocked::Blocked(_))));
        drop(held);
        let path = dir(&home, &key("main").repo, FENCES).join("main");
        fs_err::write(&path, "nonsense").unwrap();
        let Err(NotLocked::Failed(error)) = take(&home, &key("main"), 2) else { panic!() };
        assert_eq!(error.code, ErrorCode::StateCorrupt);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "nonsense");
        assert!(fences(&home).is_empty());
    }
}

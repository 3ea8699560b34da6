//! Where the checked desk works: lock files in memory, and a book of who is writing, which must never
//! hold two on one branch.

use crate::desk::{Desk, Ground, NotLocked};
use crate::line::Line;
use repod_coordination::lease::{
    Ask, Branch, CallId, Hold, Kind, LeaseKey, Limits, OwnerId, Party, Wait,
};
use repod_proto::{ApiError, ErrorCode, Generation};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::JoinHandle;

/// Longer than the checker's clock waits: nothing here is ever freed by a limit.
const NEVER: u64 = 2 * 366 * 86_400_000;

/// A branch whose lock file can't be had.
pub(crate) const BROKEN: &str = "broken";

#[derive(Clone, Default)]
pub(crate) struct Yard(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    locked: HashSet<LeaseKey>,
    writing: HashMap<LeaseKey, String>,
    fences: HashMap<LeaseKey, u64>,
}

/// A lock file, locked.
pub(crate) struct Locked(Yard, LeaseKey);

impl Drop for Locked {
    fn drop(&mut self) {
        assert!(self.0.books().locked.remove(&self.1), "it was unlocked before");
    }
}

/// One who writes, until it is done or aborted.
struct Writes<'a>(&'a Yard, &'a LeaseKey);

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        self.0.books().writing.remove(self.1);
    }
}

impl Ground for Yard {
    type Lock = Locked;

    fn take(&self, key: &LeaseKey, _fence: u64) -> Result<Locked, NotLocked> {
        if *key == self::key(BROKEN) {
            return Err(NotLocked::Failed(ApiError::new(ErrorCode::StateIo, "no space left")));
        }
        match self.books().locked.insert(key.clone()) {
            true => Ok(Locked(self.clone(), key.clone())),
            false => Err(NotLocked::Blocked("somebody".to_owned())),
        }
    }

    fn is_over(&self, _owner: &OwnerId) -> bool {
        false
    }
}

impl Yard {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Writes on a branch for a while, as one who was granted it.
    pub(crate) async fn write(&self, who: &str, lease: Option<&(LeaseKey, u64)>) {
        let (key, fence) = lease.expect("it was granted");
        {
            let mut books = self.books();
            let other = books.writing.insert(key.clone(), who.to_owned());
            assert_eq!(other, None, "two write on {key:?}, the other is {who}");
            let last = books.fences.insert(key.clone(), *fence).unwrap_or_default();
            assert!(*fence >= last, "the fence fell from {last} to {fence}");
            assert!(books.locked.contains(key), "its lock file is not locked");
        }
        let _writes = Writes(self, key);
        crate::waver().await;
    }

    /// A desk at work here.
    pub(crate) fn desk(&self) -> (Line, JoinHandle<()>) {
        let limits = Limits {
            longest_wait: NEVER,
            ticket_wait: NEVER,
            share_after: NEVER,
            yield_after: NEVER,
            linger: NEVER,
            check_every: NEVER,
            ..Limits::default()
        };
        // So few words that it is full now and then.
        let (line, words) = Line::new(2);
        let desk = Desk::new(self.clone(), limits, []);
        (line, tokio::spawn(desk.run(words)))
    }

    /// All is as if nobody had ever asked, and the desk goes home.
    pub(crate) async fn is_clear(&self, line: Line, desk: JoinHandle<()>) {
        // Word of who left may still be on its way.
        let mut held = line.leases().await.unwrap();
        for _ in 0..100 {
            if held.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
            held = line.leases().await.unwrap();
        }
        assert!(held.is_empty(), "leaked: {held:?}");
        drop(line);
        desk.await.unwrap();
        assert!(self.books().locked.is_empty(), "a lock file is left locked");
        assert!(self.books().writing.is_empty());
    }
}

pub(crate) fn key(branch: &str) -> LeaseKey {
    let branch = Branch::Named(branch.to_owned());
    LeaseKey { repo: "web-3f2a9c1b04de".parse().unwrap(), branch }
}

pub(crate) fn session(name: &str) -> OwnerId {
    OwnerId::Session { repo: key("").repo, root: name.to_owned() }
}

pub(crate) fn ask(who: &str, call: &str, branch: &str, hold: Hold) -> Ask {
    Ask {
        call: CallId(call.to_owned()),
        party: Party {
            id: session(who),
            session_id: who.to_owned(),
            title: String::new(),
            directory: String::new(),
            generation: Generation(1),
            pid: None,
        },
        key: key(branch),
        worktree: Some(format!("/src/{branch}")),
        what: String::new(),
        hold,
        wait: Wait::UpTo(NEVER),
        kind: Kind::Ordinary,
    }
}

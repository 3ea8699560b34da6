//! Every process that provably belongs to a backend.
//!
//! OpenCode's shell tool gives each command its own session, and such a command survives the death of
//! the backend. Process groups are therefore not enough, and names or ports prove nothing. Four ties
//! count:
//!
//! * the **leader**: pid, start time and boot id are those on record;
//! * **descent**: its parent belongs to the tree;
//! * **session**: the session was made by a process of the tree;
//! * **marker**: it was started with `REPOD_BACKEND=<marker>`, which is unique to one start.
//!
//! A scan of `/proc` is not a snapshot of one instant, and a pid in it may mean another process a
//! moment later. So each candidate is opened as a pidfd and looked at again, parents before children:
//! a tie to a parent holds only if the parent was seen, unchanged, *after* the child was.
//!
//! ```text
//! rescan():  /proc ──► leader, known members, marker, known sessions ──► open + look again
//!                                ▲                                          │ confirmed
//!                                └──────── children, session members ◄──────┘
//! ```

mod kind;
mod snapshot;
mod usage;

pub use snapshot::{MARKER_VARIABLE, Snapshot};
pub use usage::Shares;

use crate::identity::{IdentityError, ProcessHandle, ProcessIdentity};
use crate::procfile;
use std::collections::BTreeSet;
use std::io;

/// Why the processes could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// `/proc` can't be read.
    #[error("cannot list the processes")]
    Scan(#[source] io::Error),
    /// A candidate could not be examined.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The scan did not finish, because the runtime is going down.
    #[error("the scan of the processes was interrupted")]
    Interrupted,
}

/// What ties a process to a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// It is the backend itself.
    Leader,
    /// Its parent belongs to the tree.
    Descent,
    /// Its session was made by a process of the tree.
    Session,
    /// It carries the marker.
    Marker,
}

/// A verified process of a tree.
#[derive(Debug)]
pub struct Member {
    handle: ProcessHandle,
    tie: Tie,
}

impl Member {
    /// The hold on it.
    pub fn handle(&self) -> &ProcessHandle {
        &self.handle
    }

    /// The tie by which it was found first.
    pub fn tie(&self) -> Tie {
        self.tie
    }
}

/// The processes of one backend, as far as they have been seen.
#[derive(Debug)]
pub struct ProcessTree {
    leader: Option<ProcessIdentity>,
    marker: String,
    spared: BTreeSet<u32>,
    members: Vec<Member>,
    /// Sessions made by members. The kernel gives out no pid that is still in use as a session id,
    /// so such a number stays proven for as long as a member is alive in that session.
    sessions: BTreeSet<u32>,
}

impl ProcessTree {
    /// A tree with nothing seen yet. An empty marker matches nothing.
    pub fn new(leader: Option<ProcessIdentity>, marker: impl Into<String>) -> Self {
        // Whoever asks is never part of the answer, nor is init, to which orphans fall.
        let spared = BTreeSet::from([1, std::process::id()]);
        let (members, sessions) = (Vec::new(), BTreeSet::new());
        Self { leader, marker: marker.into(), spared, members, sessions }
    }

    /// Leaves these processes, and what descends from them, out of it.
    #[must_use]
    pub fn sparing(mut self, pids: impl IntoIterator<Item = u32>) -> Self {
        self.spared.extend(pids);
        self
    }

    /// A tree as it is now: [`Self::new`] and one [`Self::rescan`].
    pub fn collect(
        leader: Option<&ProcessIdentity>,
        marker: &str,
        spared: impl IntoIterator<Item = u32>,
    ) -> Result<Self, TreeError> {
        let mut tree = Self::new(leader.cloned(), marker).sparing(spared);
        tree.rescan()?;
        Ok(tree)
    }

    /// Everything seen so far, the ended included.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Those that have not ended.
    pub fn alive(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.handle.is_alive())
    }

    /// Whether the leader was found and has not ended.
    pub fn leader_is_alive(&self) -> bool {
        self.alive().any(|member| member.tie == Tie::Leader)
    }

    /// Looks again and adds what is new; forgets nothing. Reads all of `/proc` (some milliseconds).
    pub fn rescan(&mut self) -> Result<(), TreeError> {
        let snapshot = Snapshot::take()?;
        let mut found = self.anchors(&snapshot)?;
        let mut seen = BTreeSet::new();
        while let Some((pid, tie)) = found.pop() {
            if self.spared.contains(&pid) || !seen.insert(pid) {
                continue;
            }
            if !self.admit(&snapshot, pid, tie)? {
                continue;
            }
            if snapshot.session(pid) == Some(pid) {
                self.sessions.insert(pid);
                found.extend(snapshot.in_session(pid).map(|member| (member, Tie::Session)));
            }
            found.extend(snapshot.children(pid).map(|child| (child, Tie::Descent)));
        }
        Ok(())
    }

    /// Where the search starts. Searched from the end, so that the leader is named as such.
    fn anchors(&mut self, snapshot: &Snapshot) -> Result<Vec<(u32, Tie)>, TreeError> {
        let mut anchors: Vec<(u32, Tie)> =
            snapshot.by_marker(&self.marker)?.into_iter().map(|pid| (pid, Tie::Marker)).collect();
        let mut sessions = BTreeSet::new();
        for member in &self.members {
            let identity = member.handle.identity();
            if !snapshot.contains(identity) {
                continue;
            }
            anchors.push((identity.pid, member.tie));
            if member.handle.is_alive() {
                sessions.extend(snapshot.session(identity.pid));
            }
        }
        self.sessions.retain(|session| sessions.contains(session));
        for session in &self.sessions {
            anchors.extend(snapshot.in_session(*session).map(|pid| (pid, Tie::Session)));
        }
        if let Some(leader) = &self.leader
            && snapshot.contains(leader)
        {
            anchors.push((leader.pid, Tie::Leader));
        }
        Ok(anchors)
    }

    /// Adds the process if it is alive and still the one of the snapshot.
    ///
    /// Answers whether ties to it hold. They also hold to a zombie: it keeps its pid.
    fn admit(&mut self, snapshot: &Snapshot, pid: u32, tie: Tie) -> Result<bool, TreeError> {
        let Some(identity) = snapshot.identity(pid) else {
            return Ok(false);
        };
        let known = self.members.iter().any(|member| *member.handle.identity() == identity);
        if !known && let Some(handle) = identity.verify()? {
            let uid = procfile::real_uid(pid).map_err(TreeError::Scan)?;
            if uid != Some(rustix::process::getuid().as_raw()) {
                return Ok(false);
            }
            self.members.push(Member { handle, tie });
            return Ok(true);
        }
        Ok(ProcessIdentity::of(pid)?.is_some_and(|now| now == identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_session_proves_nothing_once_its_last_member_is_gone() {
        let mut tree = ProcessTree::new(None, "");
        // As if the number had been given away again: to the terminal these tests were started from.
        let session = Snapshot::take().unwrap().session(std::process::id()).unwrap();
        tree.sessions.insert(session);
        tree.rescan().unwrap();
        assert!(tree.sessions.is_empty());
        assert_eq!(tree.members().len(), 0);
    }
}

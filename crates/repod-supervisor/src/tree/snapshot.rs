//! One pass over `/proc`, asked many questions.
//!
//! `repod ps` asks for the memory of a dozen trees at once; one pass answers them all. A snapshot is
//! for looking: nothing in it may be signalled without being verified again ([`ProcessTree`] does).
//!
//! [`ProcessTree`]: super::ProcessTree

use super::TreeError;
use crate::identity::ProcessIdentity;
use crate::procfile;
use procfs::process::Stat;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::OnceLock;

/// The environment variable that marks every descendant of a backend.
pub const MARKER_VARIABLE: &str = "REPOD_BACKEND";

#[derive(Debug)]
struct Entry {
    session: u32,
    start_ticks: u64,
    rss_pages: u64,
    threads: u64,
}

/// All processes of the machine, as seen in one pass.
#[derive(Debug)]
pub struct Snapshot {
    boot_id: String,
    entries: HashMap<u32, Entry>,
    children: HashMap<u32, Vec<u32>>,
    sessions: HashMap<u32, Vec<u32>>,
    /// Markers by pid, read when first asked for: most questions do without.
    markers: OnceLock<BTreeMap<u32, Vec<String>>>,
}

impl Snapshot {
    /// Reads `/proc` once. Takes some milliseconds: not for the request path.
    pub fn take() -> Result<Self, TreeError> {
        let mut snapshot = Self {
            boot_id: ProcessIdentity::mine()?.boot_id,
            entries: HashMap::new(),
            children: HashMap::new(),
            sessions: HashMap::new(),
            markers: OnceLock::new(),
        };
        for pid in procfile::pids().map_err(TreeError::Scan)? {
            if let Some(stat) = procfile::stat(pid).map_err(TreeError::Scan)? {
                snapshot.add(pid, &stat);
            }
        }
        Ok(snapshot)
    }

    fn add(&mut self, pid: u32, stat: &Stat) {
        // Kernel threads are children of pid 2, have session 0, and are of no interest.
        let (Ok(parent), Ok(session)) = (u32::try_from(stat.ppid), u32::try_from(stat.session))
        else {
            return;
        };
        self.children.entry(parent).or_default().push(pid);
        self.sessions.entry(session).or_default().push(pid);
        let entry = Entry {
            session,
            start_ticks: stat.starttime,
            rss_pages: stat.rss,
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        };
        self.entries.insert(pid, entry);
    }

    /// Whether this very process was there (possibly as a zombie).
    pub fn contains(&self, identity: &ProcessIdentity) -> bool {
        identity.boot_id == self.boot_id
            && self
                .entries
                .get(&identity.pid)
                .is_some_and(|e| e.start_ticks == identity.start_ticks)
    }

    /// Which process the pid meant in this pass.
    pub fn identity(&self, pid: u32) -> Option<ProcessIdentity> {
        self.entries.get(&pid).map(|entry| ProcessIdentity {
            pid,
            start_ticks: entry.start_ticks,
            boot_id: self.boot_id.clone(),
        })
    }

    /// The leader, its descendants, and the sessions they made. `None` when the leader wasn't there.
    pub fn tree(&self, leader: &ProcessIdentity) -> Option<BTreeSet<u32>> {
        if !self.contains(leader) {
            return None;
        }
        let mut tree = BTreeSet::new();
        let mut found = vec![leader.pid];
        while let Some(pid) = found.pop() {
            if !tree.insert(pid) {
                continue;
            }
            found.extend(self.children(pid));
            if self.session(pid) == Some(pid) {
                found.extend(self.in_session(pid));
            }
        }
        Some(tree)
    }

    /// Resident memory of the leader's tree, in bytes. Pages shared within it count several times.
    pub fn rss_bytes(&self, leader: &ProcessIdentity) -> Option<u64> {
        let tree = self.tree(leader)?;
        let pages = tree.iter().filter_map(|pid| Some(self.entries.get(pid)?.rss_pages));
        Some(pages.sum::<u64>().saturating_mul(procfs::page_size()))
    }

    /// The processes started with exactly this marker.
    pub fn by_marker(&self, marker: &str) -> Result<Vec<u32>, TreeError> {
        if marker.is_empty() {
            return Ok(Vec::new());
        }
        let carries = |markers: &Vec<String>| markers.iter().any(|found| found == marker);
        Ok(self.markers()?.iter().filter(|(_, m)| carries(m)).map(|(pid, _)| *pid).collect())
    }

    /// The processes whose marker starts with `prefix`, each with its marker: left-overs of a home.
    pub fn by_marker_prefix(
        &self,
        prefix: &str,
    ) -> Result<Vec<(ProcessIdentity, String)>, TreeError> {
        let mut matches = Vec::new();
        if prefix.is_empty() {
            return Ok(matches);
        }
        for (pid, markers) in self.markers()? {
            let marker = markers.iter().find(|marker| marker.starts_with(prefix));
            if let (Some(marker), Some(identity)) = (marker, self.identity(*pid)) {
                matches.push((identity, marker.clone()));
            }
        }
        Ok(matches)
    }

    /// Threads of a process, and its resident memory in bytes.
    pub(super) fn threads_and_rss(&self, pid: u32) -> (u64, u64) {
        let entry = self.entries.get(&pid);
        entry.map_or((0, 0), |e| (e.threads, e.rss_pages.saturating_mul(procfs::page_size())))
    }

    pub(super) fn children(&self, pid: u32) -> impl Iterator<Item = u32> {
        self.children.get(&pid).into_iter().flatten().copied()
    }

    pub(super) fn in_session(&self, session: u32) -> impl Iterator<Item = u32> {
        self.sessions.get(&session).into_iter().flatten().copied()
    }

    pub(super) fn session(&self, pid: u32) -> Option<u32> {
        self.entries.get(&pid).map(|entry| entry.session)
    }

    fn markers(&self) -> Result<&BTreeMap<u32, Vec<String>>, TreeError> {
        if let Some(markers) = self.markers.get() {
            return Ok(markers);
        }
        let mut markers = BTreeMap::new();
        for pid in self.entries.keys().copied() {
            match procfile::read(pid, "environ") {
                Ok(Some(environ)) => {
                    let found = markers_in(&environ);
                    if !found.is_empty() {
                        markers.insert(pid, found);
                    }
                }
                Ok(None) => {}
                // Another user's process, or one that forbids to look: it proves nothing.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(TreeError::Scan(error)),
            }
        }
        Ok(self.markers.get_or_init(|| markers))
    }
}

/// The marker's values in an environment block (`NAME=value`, each ended by a NUL).
fn markers_in(environ: &[u8]) -> Vec<String> {
    let value = |variable: &[u8]| {
        let value = variable.strip_prefix(MARKER_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    };
    environ.split(|byte| *byte == 0).filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_the_value_of_that_one_variable() {
        let environ = b"A=1\0XREPOD_BACKEND=no\0REPOD_BACKEND=h-1-2\0REPOD_BACKENDS=no\0";
        assert_eq!(markers_in(environ), ["h-1-2"]);
        assert!(markers_in(b"B=REPOD_BACKEND=x\0").is_empty());
        assert!(markers_in(b"").is_empty());
    }

    #[test]
    fn an_empty_marker_or_prefix_matches_nothing() {
        let snapshot = Snapshot::take().unwrap();
        assert!(snapshot.by_marker("").unwrap().is_empty());
        assert!(snapshot.by_marker_prefix("").unwrap().is_empty());
    }

    #[test]
    fn one_pass_knows_this_process_and_its_memory() {
        let me = ProcessIdentity::mine().unwrap();
        let snapshot = Snapshot::take().unwrap();
        assert!(snapshot.tree(&me).unwrap().contains(&me.pid));
        assert!(snapshot.rss_bytes(&me).unwrap() > 1 << 20);
        let other = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        assert_eq!(snapshot.rss_bytes(&other), None);
    }
}

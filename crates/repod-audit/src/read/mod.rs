//! Looking: everything a rule may want to know, read once and changed nowhere.
//!
//! What can't be read is left out and said in [`Snapshot::skipped`]; a process that ends meanwhile is
//! simply not there.

mod books;
mod checkout;
mod database;
mod groups;
pub(crate) mod leaks;
mod logins;
mod logs;
mod machine;
mod memory_groups;
mod ownership;
mod pid_groups;
mod piles;
mod ports;
mod process;
mod sockets;
#[cfg(test)]
mod tests;

use crate::snapshot::{Process, Snapshot};
use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where to look. Tests give trees of plain files for `proc` and `sysctl`.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/proc/sys`.
    pub sysctl: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroups: PathBuf,
    /// repod's home.
    pub home: PathBuf,
    /// Whose processes.
    pub uid: u32,
    /// The temporary directory of the one who asks.
    pub temp: PathBuf,
    /// The data directory OpenCode has with the environment of the one who asks.
    pub data: Option<PathBuf>,
    /// Its configuration directory, by the same.
    pub config: Option<PathBuf>,
    /// Only what lies below these, if there are any.
    pub only: Vec<PathBuf>,
    /// Open files wanted for every backend.
    pub nofile: u64,
    /// The OpenCode that would be started, and its version.
    pub installed: Option<(PathBuf, String)>,
    /// Whether large databases are checked too, which takes minutes.
    pub deep: bool,
}

impl Sources {
    /// This machine, this user.
    pub fn here(home: PathBuf, only: Vec<PathBuf>, nofile: u64) -> Self {
        let own = process::own();
        Self {
            proc: "/proc".into(),
            sysctl: "/proc/sys".into(),
            cgroups: "/sys/fs/cgroup".into(),
            home,
            uid: rustix::process::geteuid().as_raw(),
            temp: std::env::temp_dir(),
            data: own.as_ref().map(|homes| resolved(&homes.data.0)),
            config: own.as_ref().map(|homes| resolved(&homes.config.0)),
            only: only.into_iter().map(|path| resolved(&path)).collect(),
            nofile,
            installed: None,
            deep: false,
        }
    }

    /// The user's own data directory, if it is there and belongs to what is audited.
    fn own_data(&self) -> Option<PathBuf> {
        self.data.clone().filter(|data| data.is_dir() && self.covers(data))
    }

    /// Whether a path belongs to what is audited.
    fn covers(&self, path: &Path) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| path.starts_with(only))
    }
}

/// Looks at everything. Blocking, but for databases, of which each is given a few seconds.
pub async fn snapshot(sources: &Sources) -> Snapshot {
    let mut snapshot = Snapshot { home: resolved(&sources.home), ..Snapshot::default() };
    process::all(sources, &mut snapshot);
    sockets::attach(sources, &mut snapshot);
    mark_scope(sources, &mut snapshot);
    books::read(sources, &mut snapshot);
    ownership::read(sources, &mut snapshot);
    machine::read(sources, &mut snapshot);
    leaks::read(sources, &mut snapshot);
    piles::read(sources, &mut snapshot);
    logs::read(&mut snapshot);
    ports::read(sources, &mut snapshot);
    database::read(sources, &mut snapshot).await;
    logins::read(&mut snapshot).await;
    snapshot
}

/// A process is in scope by where it works or keeps its state. A zombie has neither: its parent tells.
fn mark_scope(sources: &Sources, snapshot: &mut Snapshot) {
    let own = |process: &Process| {
        let homes = process
            .homes
            .iter()
            .flat_map(|homes| [&homes.data.0, &homes.config.0, &homes.cache.0, &homes.state.0]);
        let home = process.variable("HOME").map(Path::new);
        process
            .cwd
            .as_deref()
            .into_iter()
            .chain(home)
            .chain(homes.map(PathBuf::as_path))
            .any(|at| sources.covers(at))
    };
    let direct: BTreeSet<u32> =
        snapshot.processes.values().filter(|process| own(process)).map(|p| p.pid).collect();
    for process in snapshot.processes.values_mut() {
        let is_zombie = process.state == 'Z';
        process.in_scope = sources.only.is_empty()
            || direct.contains(&process.pid)
            || (is_zombie && direct.contains(&process.ppid));
    }
}

/// The path with its links resolved, as far as it exists.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = fs_err::canonicalize(path) {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent != path => resolved(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Each path once, in order.
fn distinct(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The last part of a file, as text.
fn tail(path: &Path, most: u64) -> Option<String> {
    let mut file = fs_err::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most))).ok()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

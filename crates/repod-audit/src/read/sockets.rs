//! Who listens where: `/proc/PID/net/tcp` names sockets by inode, `/proc/PID/fd` says whose they are.
//!
//! Containers have tables of their own, so a table is read once per network namespace.

use super::Sources;
use crate::snapshot::Snapshot;
use procfs::net::{TcpNetEntries, TcpState};
use procfs::{FromBufReadSI, current_system_info};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Turns the sockets among a process's files into addresses.
pub(super) fn attach(sources: &Sources, snapshot: &mut Snapshot) {
    let mut tables: BTreeMap<PathBuf, BTreeMap<u64, SocketAddr>> = BTreeMap::new();
    for process in snapshot.processes.values_mut() {
        let (sockets, files): (Vec<_>, Vec<_>) =
            std::mem::take(&mut process.files).into_iter().partition(|path| inode(path).is_some());
        process.files = files;
        if sockets.is_empty() {
            continue;
        }
        let dir = sources.proc.join(process.pid.to_string());
        let namespace = fs_err::read_link(dir.join("ns/net")).unwrap_or_default();
        let table = tables.entry(namespace).or_insert_with(|| listeners(&dir));
        process.listens =
            sockets.iter().filter_map(|path| table.get(&inode(path)?).copied()).collect();
        process.listens.sort();
        process.listens.dedup();
    }
}

fn inode(path: &Path) -> Option<u64> {
    let text: &OsStr = path.as_os_str();
    text.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn listeners(dir: &Path) -> BTreeMap<u64, SocketAddr> {
    let mut found = BTreeMap::new();
    for name in ["net/tcp", "net/tcp6"] {
        let text = fs_err::read(dir.join(name)).unwrap_or_default();
        let table = TcpNetEntries::from_buf_read(text.as_slice(), current_system_info());
        let listening = table.map(|table| table.0).unwrap_or_default().into_iter();
        let listening = listening.filter(|entry| entry.state == TcpState::Listen);
        found.extend(listening.map(|entry| (entry.inode, entry.local_address)));
    }
    found
}

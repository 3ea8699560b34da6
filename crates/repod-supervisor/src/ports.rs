//! Whose a loopback port is.
//!
//! A port that is picked and then given to a child may be lost in between, and on a shared machine
//! the finder may be a stranger who would then be sent the backend's password. So a picked port is
//! only a proposal, and before anything secret goes there, the listening socket is traced back
//! (`/proc/net/tcp` → inode → `/proc/PID/fd`) to the backend's own processes.

use crate::identity::ProcessIdentity;
use crate::tree::{Snapshot, TreeError};
use procfs::net::{TcpNetEntry, TcpState};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// OpenCode's default port: a bare `opencode serve` of the user tries it first, so it is left alone.
pub const OPENCODE_DEFAULT_PORT: u16 = 4096;

/// How many proposals are refused before giving up.
const TRIES: usize = 64;

/// Why nothing can be said about a port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No free port could be had.
    #[error("cannot find a free port on 127.0.0.1")]
    NoneFree(#[source] io::Error),
    /// `/proc/net/tcp` can't be read.
    #[error("cannot read the table of TCP sockets")]
    Table(#[source] io::Error),
    /// The processes can't be listed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A free port on 127.0.0.1; never 4096, nor one of `avoid` (ports that belong to somebody who is not
/// listening at the moment). Only a proposal: it may be taken before it is used.
pub fn pick(avoid: &[u16]) -> Result<u16, PortError> {
    // Refused proposals stay bound until the end, so that they are not proposed again.
    let mut refused = Vec::new();
    for _ in 0..TRIES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(PortError::NoneFree)?;
        let port = listener.local_addr().map_err(PortError::NoneFree)?.port();
        if port != OPENCODE_DEFAULT_PORT && !avoid.contains(&port) {
            return Ok(port);
        }
        refused.push(listener);
    }
    Err(PortError::NoneFree(io::ErrorKind::AddrInUse.into()))
}

/// Who listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOwner {
    /// Nobody.
    Nobody,
    /// The backend, or one of its descendants.
    Tree,
    /// Somebody else, also beside the backend (ports can be shared): send it nothing.
    Stranger,
}

/// The machine's TCP sockets (IPv4), read once.
#[derive(Debug)]
pub struct TcpTable(Vec<TcpNetEntry>);

impl TcpTable {
    /// Reads `/proc/net/tcp`.
    pub fn take() -> Result<Self, PortError> {
        procfs::net::tcp().map(Self).map_err(|error| PortError::Table(io::Error::other(error)))
    }

    /// Connections that clients have established to this local port.
    pub fn established(&self, port: u16) -> usize {
        let accepted = |entry: &&TcpNetEntry| {
            entry.state == TcpState::Established && entry.local_address.port() == port
        };
        self.0.iter().filter(accepted).count()
    }

    /// Inodes of the sockets that would get a connection to 127.0.0.1 at this port.
    fn listeners(&self, port: u16) -> BTreeSet<u64> {
        let hears = |address: &SocketAddr| {
            let anywhere = address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            address.port() == port && (anywhere || address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST))
        };
        let listening = self.0.iter().filter(|e| e.state == TcpState::Listen);
        listening.filter(|e| hears(&e.local_address)).map(|e| e.inode).collect()
    }
}

/// Whether the listener on 127.0.0.1:`port` belongs to the tree of `leader`. Reads `/proc` (some
/// milliseconds): for a start or an adoption, not for the request path.
pub fn owner(leader: &ProcessIdentity, port: u16) -> Result<PortOwner, PortError> {
    let mut listeners = TcpTable::take()?.listeners(port);
    if listeners.is_empty() {
        return Ok(PortOwner::Nobody);
    }
    // Nearly always it is the leader itself, and its own files tell: no scan of the machine.
    if let Some(handle) = leader.verify().map_err(TreeError::from)? {
        let own: BTreeSet<u64> = socket_inodes(leader.pid).collect();
        // What was read is the leader's only if it is still there.
        if listeners.is_subset(&own) && handle.is_alive() {
            return Ok(PortOwner::Tree);
        }
    }
    for pid in Snapshot::take()?.tree(leader).unwrap_or_default() {
        for inode in socket_inodes(pid) {
            listeners.remove(&inode);
        }
        if listeners.is_empty() {
            return Ok(PortOwner::Tree);
        }
    }
    Ok(PortOwner::Stranger)
}

/// The process that listens on 127.0.0.1:`port`, when this user may know it. For messages only.
pub fn listener_pid(port: u16) -> Result<Option<u32>, PortError> {
    let listeners = TcpTable::take()?.listeners(port);
    if listeners.is_empty() {
        return Ok(None);
    }
    let pids = crate::procfile::pids().map_err(|error| PortError::Tree(TreeError::Scan(error)))?;
    Ok(pids.into_iter().find(|pid| socket_inodes(*pid).any(|inode| listeners.contains(&inode))))
}

/// The sockets a process holds; none where it is gone or not ours to look at.
fn socket_inodes(pid: u32) -> impl Iterator<Item = u64> {
    let entries = fs_err::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| socket_inode(&fs_err::read_link(entry.path()).ok()?))
}

fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_listener_of_this_process_is_its_own_and_its_clients_are_counted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = ProcessIdentity::mine().unwrap();
        assert_eq!(owner(&me, port).unwrap(), PortOwner::Tree);
        assert_eq!(listener_pid(port).unwrap(), Some(me.pid));
        let stranger = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        assert_eq!(owner(&stranger, port).unwrap(), PortOwner::Stranger);

        assert_eq!(TcpTable::take().unwrap().established(port), 0);
        let clients = [(); 2].map(|()| TcpStream::connect(("127.0.0.1", port)).unwrap());
        assert_eq!(TcpTable::take().unwrap().established(port), clients.len());
    }

    #[test]
    fn nobody_listens_on_a_port_that_was_only_picked() {
        let port = pick(&[]).unwrap();
        let me = ProcessIdentity::mine().unwrap();
        assert_ne!(port, OPENCODE_DEFAULT_PORT);
        // Another process of the machine may grab it meanwhile, but not this one.
        assert_ne!(owner(&me, port).unwrap(), PortOwner::Tree);
    }

    #[test]
    fn only_a_socket_has_a_socket_inode() {
        assert_eq!(socket_inode(Path::new("socket:[4711]")), Some(4711));
        assert_eq!(socket_inode(Path::new("pipe:[4711]")), None);
        assert_eq!(socket_inode(Path::new("/tmp/socket:[1]")), None);
    }
}

//! Which user is at the other end of a loopback connection: the kernel knows who owns the client's
//! socket, and is asked once for each connection.
//!
//! By `sock_diag`, which looks up that one socket in microseconds. `/proc/net/tcp` says the same, but
//! walks every bucket of the kernel's table (10 ms on a large machine), so it is the second choice.

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{SocketAddr, SocketAddrV4};

/// `SOCK_DIAG_BY_FAMILY` and the sizes of its messages (linux/sock_diag.h, linux/inet_diag.h).
const BY_FAMILY: u16 = 20;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
/// Where uid and inode stand in an answer.
const UID_AT: usize = HEADER + 64;
const INODE_AT: usize = HEADER + 68;

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The user this daemon runs as.
    Ours,
    /// Certainly somebody else.
    Foreign(u32),
    /// The table doesn't say (the socket is closed already, say); it still needs the password.
    Unknown,
}

impl Peer {
    /// Looks it up: the socket whose local address is `client` and that is connected to `server`.
    pub(crate) async fn of(client: SocketAddr, server: SocketAddr) -> Self {
        let (SocketAddr::V4(client), SocketAddr::V4(server)) = (client, server) else {
            return Self::Unknown;
        };
        let uid = match by_sock_diag(client, server) {
            Ok(uid) => uid,
            Err(error) => {
                tracing::debug!(%error, "no sock_diag here");
                by_proc(client, server).await
            }
        };
        match uid {
            Some(uid) if uid == rustix::process::geteuid().as_raw() => Self::Ours,
            Some(uid) => Self::Foreign(uid),
            None => Self::Unknown,
        }
    }
}

/// Asks for the one socket. A socket nobody holds any more has no inode, and says uid 0 whoever it
/// was: then there is no answer.
fn by_sock_diag(client: SocketAddrV4, server: SocketAddrV4) -> Result<Option<u32>, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let kind = SocketType::RAW;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, Some(SOCK_DIAG))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &request(client, server), SendFlags::empty(), &kernel)?;
    let mut answer = [0; 512];
    // The kernel answers before the sending returns.
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    read_answer(&answer[..length])
}

/// `inet_diag_req_v2` for the socket whose own address is `client` and that talks to `server`.
fn request(client: SocketAddrV4, server: SocketAddrV4) -> [u8; REQUEST] {
    let mut message = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &72_u32.to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &1_u16.to_ne_bytes()); // NLM_F_REQUEST
    put(HEADER, &[2, 6]); // AF_INET, IPPROTO_TCP
    put(HEADER + 4, &u32::MAX.to_ne_bytes()); // in any state
    put(HEADER + 8, &client.port().to_be_bytes());
    put(HEADER + 10, &server.port().to_be_bytes());
    put(HEADER + 12, &client.ip().octets());
    put(HEADER + 28, &server.ip().octets());
    put(HEADER + 48, &[0xff; 8]); // INET_DIAG_NOCOOKIE
    message
}

fn read_answer(answer: &[u8]) -> Result<Option<u32>, Errno> {
    let number = |at: usize| {
        let bytes = answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(Errno::BADMSG)
    };
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    if kind == Some(BY_FAMILY) {
        let uid = number(UID_AT)?;
        return Ok((number(INODE_AT)? != 0).then_some(uid));
    }
    // NLMSG_ERROR carries the negative of an error number.
    let error = i32::from_ne_bytes(number(HEADER)?.to_ne_bytes()).wrapping_neg();
    if error == Errno::NOENT.raw_os_error() {
        Ok(None)
    } else {
        Err(Errno::from_raw_os_error(error))
    }
}

async fn by_proc(client: SocketAddrV4, server: SocketAddrV4) -> Option<u32> {
    let looked = tokio::task::spawn_blocking(move || {
        // A client that speaks IPv6 to 127.0.0.1 stands in the other table.
        ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .find_map(|table| owner(&fs_err::read_to_string(table).ok()?, client, server))
    });
    looked.await.ok().flatten()
}

/// The uid in the row of this connection, if somebody still holds the socket.
fn owner(table: &str, client: SocketAddrV4, server: SocketAddrV4) -> Option<u32> {
    let (local, remote) = (in_table(client), in_table(server));
    table.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let is_it = columns.next()?.ends_with(&local) && columns.next()?.ends_with(&remote);
        if !is_it {
            return None;
        }
        // st, queues, timer, retransmits, then uid, timeout, inode
        let mut columns = columns.skip(4);
        let uid = columns.next()?.parse().ok()?;
        let inode = columns.nth(1)?;
        (inode != "0").then_some(uid)
    })
}

/// An address as the table writes it: the number in the byte order of the machine, and the port.
fn in_table(address: SocketAddrV4) -> String {
    let number = u32::from_ne_bytes(address.ip().octets());
    format!("{number:08X}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 101 1
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 102 1
   3: 0100007F:C351 0100007F:1F90 05 00000000:00000000 00:00000000 00000000     0        0 0 1
";

    #[test]
    fn the_row_of_the_client_s_own_socket_counts() {
        let server = "127.0.0.1:8080".parse().unwrap();
        let of = |port| owner(TABLE, SocketAddrV4::new([127, 0, 0, 1].into(), port), server);
        if cfg!(target_endian = "little") {
            assert_eq!(of(50000), Some(1001));
            assert_eq!(of(50001), None, "closed: it could be anybody's");
            assert_eq!(of(50002), None);
        }
    }

    #[tokio::test]
    async fn both_ways_of_asking_say_the_same() {
        let ours = Some(rustix::process::geteuid().as_raw());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let v4 = |address: SocketAddr| match address {
            SocketAddr::V4(v4) => v4,
            SocketAddr::V6(_) => panic!("an IPv4 listener"),
        };
        let plain = tokio::net::TcpStream::connect(server).await.unwrap();
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", server.port()).parse().unwrap();
        let mapped = tokio::net::TcpStream::connect(mapped).await;
        for _client in std::iter::once(plain).chain(mapped) {
            let (_accepted, from) = listener.accept().await.unwrap();
            assert_eq!(by_proc(v4(from), v4(server)).await, ours);
            assert_eq!(by_sock_diag(v4(from), v4(server)), Ok(ours));
            assert_eq!(Peer::of(from, server).await, Peer::Ours);
        }
        let nobody = SocketAddrV4::new([127, 0, 0, 1].into(), 1);
        assert_eq!(by_sock_diag(nobody, v4(server)), Ok(None));
    }

    #[test]
    fn an_answer_of_the_kernel_is_read_with_care() {
        let mut answer = [0; HEADER + 72];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[UID_AT..UID_AT + 4].copy_from_slice(&1001_u32.to_ne_bytes());
        assert_eq!(read_answer(&answer), Ok(None), "closed: it could be anybody's");
        answer[INODE_AT] = 1;
        assert_eq!(read_answer(&answer), Ok(Some(1001)));
        assert_eq!(read_answer(&answer[..40]), Err(Errno::BADMSG));
        assert_eq!(read_answer(&[]), Err(Errno::BADMSG));
    }
}

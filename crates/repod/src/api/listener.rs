//! Accepting on the socket, with the uid of whoever connects.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::time::Duration;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// `None` when the kernel would not say; then it is nobody's.
    uid: Option<u32>,
}

impl Peer {
    /// Whether it is the user this daemon runs as.
    pub(crate) fn is_owner(self) -> bool {
        self.uid == Some(rustix::process::geteuid().as_raw())
    }

    pub(crate) fn uid(self) -> String {
        self.uid.map_or_else(|| "unknown".into(), |uid| uid.to_string())
    }
}

/// A listener whose connections know their peer.
pub(crate) struct PeerListener(pub(crate) UnixListener);

impl Listener for PeerListener {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let peer = Peer { uid: stream.peer_cred().ok().map(|cred| cred.uid()) };
                    return (stream, peer);
                }
                Err(error) => {
                    // Out of descriptors, most likely: back off instead of spinning.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Peer> {
        let _: SocketAddr = self.0.local_addr()?;
        Ok(Peer { uid: Some(rustix::process::geteuid().as_raw()) })
    }
}

impl Connected<IncomingStream<'_, PeerListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PeerListener>) -> Self {
        *stream.remote_addr()
    }
}

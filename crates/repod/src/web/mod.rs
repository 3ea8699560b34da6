//! The dashboard: a listener of its own on loopback, which a browser may talk to.
//!
//! ```text
//!  connection ─► peer ─► Host, Origin ─► assets (anybody of this user)
//!                                    └─► /login   an invitation for a pass, once
//!                                    └─► /v1/…    with a pass: the part of the API that tells no secret
//! ```
//!
//! `repod web` prints a URL with an invitation in its fragment, which browsers keep to themselves. The page
//! exchanges it for a pass and sends that with every request. It is no cookie: browsers send those to every
//! port of a host, and on a development server the other ports are other people's programs.

mod assets;
mod entry;
mod headers;
mod keys;
mod serve;

use crate::daemon::Daemon;
use crate::gateway;
use keys::Keys;
use repod_proto::{ApiError, ErrorCode, Home, WebOpened};
use repod_supervisor::files::write_atomic;
use std::sync::Arc;

/// The dashboard of one daemon.
#[derive(Default)]
pub(crate) struct Web {
    keys: Arc<Keys>,
    /// Where it is served, once somebody has asked.
    served: tokio::sync::Mutex<Option<Served>>,
}

struct Served {
    port: u16,
    warning: Option<String>,
}

impl Web {
    /// Serves it if it is not served yet, and invites a browser.
    pub(crate) async fn open(&self, daemon: &Arc<Daemon>) -> Result<WebOpened, ApiError> {
        let mut served = self.served.lock().await;
        let Served { port, warning } = match served.take() {
            Some(served) => served,
            None => serve(daemon, &self.keys).await?,
        };
        let opened = self.invite(port, warning.clone());
        *served = Some(Served { port, warning });
        opened
    }

    fn invite(&self, port: u16, warning: Option<String>) -> Result<WebOpened, ApiError> {
        let (invitation, expires_at) = self.keys.invite()?;
        let origin = format!("http://127.0.0.1:{port}");
        Ok(WebOpened { url: format!("{origin}/#login={invitation}"), origin, expires_at, warning })
    }
}

/// On the port it had before, if that can be had: who forwards it over ssh need not look it up again.
async fn serve(daemon: &Arc<Daemon>, keys: &Arc<Keys>) -> Result<Served, ApiError> {
    let file = daemon.home.web_port();
    let known = known_port(&daemon.home);
    let mut door = gateway::open(known, gateway::Patience::new()).await?;
    let port = door.port;
    let moved = door.warning.take();
    let warning =
        moved.map(|_| format!("the dashboard has a new port, {port}: its old one is taken"));
    if known != Some(port) {
        let write = move || write_atomic(&file, format!("{port}\n").as_bytes(), 0o600);
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(|error| error.to_string());
        if let Err(error) = written.and_then(|done| done.map_err(|error| error.to_string())) {
            tracing::warn!(%error, "the dashboard's port can't be written down");
        }
    }
    let site = serve::Site::new(daemon, Arc::clone(keys));
    tokio::spawn(serve::serve(door.into_listener(), site));
    tracing::info!(port, "the dashboard is served");
    Ok(Served { port, warning })
}

fn known_port(home: &Home) -> Option<u16> {
    let text = fs_err::read_to_string(home.web_port()).ok()?;
    text.trim().parse().ok().filter(|port| *port >= 1024)
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, message)
        .hint("`repod web` prints a link that lets you in")
}

//! An OpenAI-compatible server on loopback that says what the prompt tells it to say.
//!
//! ```text
//! request ─► conversation (who asks, which step) ─► log ─► gate, fail, hang ─► answer (chunks)
//! ```
//!
//! The last user message may contain `SCRIPT: <json list of steps>`. The number of assistant
//! messages after it is the step's index, so nothing about a session is kept here. The only state
//! is what a conversation can't carry: the log, the gates and the count of failed attempts.

mod answer;
mod conversation;
mod log;
mod serve;
#[cfg(test)]
mod tests;

pub use conversation::{Kind, ToolResult};
pub use log::{Outcome, Request};

use serve::Shared;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// The running server. Dropping it ends it at once, with all its connections.
#[derive(Debug)]
pub struct ModelServer {
    url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Starts on a free port of 127.0.0.1, on a thread of its own: it answers even while the test's
    /// thread is blocked.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start() -> io::Result<Self> {
        Self::start_on(0)
    }

    /// Starts on this port; 0 is any free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start_on(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let app = serve::router(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread =
            std::thread::Builder::new().name("scripted-model".into()).spawn(move || {
                runtime.block_on(async move {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                        return;
                    };
                    tokio::select! {
                        _ = axum::serve(listener, app).into_future() => {}
                        _ = stopped => {}
                    }
                });
                // The runtime is dropped here and with it every answer in flight.
            })?;
        Ok(Self { url, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many chat requests came since the start.
    pub fn count(&self) -> u64 {
        self.shared.log.count()
    }

    /// The last requests (512 at most), oldest first.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        self.shared.log.all()
    }

    /// Those of them that belong to a turn of this OpenCode session (no titles).
    pub fn requests_of(&self, session: &str) -> Vec<Arc<Request>> {
        let mut all = self.requests();
        all.retain(|r| r.session.as_deref() == Some(session) && r.kind == Kind::Turn);
        all
    }

    /// Waits until a request of a turn (no title) satisfies `wanted` and returns it.
    ///
    /// # Panics
    /// At the bound, naming `what`.
    pub async fn wait_for_request(
        &self,
        what: &str,
        bound: Duration,
        wanted: impl Fn(&Request) -> bool,
    ) -> Arc<Request> {
        crate::wait_until(what, bound, async || {
            let mut all = self.requests().into_iter();
            all.find(|r| r.kind == Kind::Turn && wanted(r))
        })
        .await
    }

    /// Opens the gate `name`: requests that wait for it, and later ones, go on.
    pub fn open(&self, name: &str) {
        self.shared.open(name);
    }

    /// How many requests wait at the gate `name` now.
    pub fn waiting_at(&self, name: &str) -> usize {
        self.shared.waiting_at(name)
    }

    /// Blocks until the server ends by itself, which only an I/O error makes it do.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

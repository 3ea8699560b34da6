//! Ready, unresponsive, dead are three things. Death is the pidfd's to tell; this room only asks
//! whether a living backend answers.

use super::bring_up::{LOG_KEEP, LOG_MAX};
use repod_opencode::BackendClient;
use repod_supervisor::log_tail::rotate_if_larger;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Between two probes of a backend that answers.
const EVERY: Duration = Duration::from_secs(5);
/// After a probe that failed: is it over, or was it a hiccup?
const AGAIN: Duration = Duration::from_secs(1);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The probing of one backend; it ends when this is dropped.
pub(super) struct Health {
    task: JoinHandle<()>,
    answers: mpsc::Receiver<bool>,
}

impl Health {
    /// Starts probing.
    pub(super) fn watch(port: u16, password: String, log: PathBuf) -> Self {
        let (report, answers) = mpsc::channel(1);
        let client = BackendClient::new(port, password);
        Self { task: tokio::spawn(probe(client, log, report)), answers }
    }

    /// The next result: whether it answered.
    pub(super) async fn next(&mut self) -> Option<bool> {
        self.answers.recv().await
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn probe(client: BackendClient, log: PathBuf, report: mpsc::Sender<bool>) {
    let mut next = Instant::now() + EVERY;
    loop {
        sleep_until(next).await;
        let answered = client.health(LIMIT).await.is_ok();
        if report.send(answered).await.is_err() {
            return;
        }
        let log = log.clone();
        // The backend writes it, so nobody else would notice that it grows.
        let rotating =
            tokio::task::spawn_blocking(move || rotate_if_larger(&log, LOG_MAX, LOG_KEEP));
        if let Ok(Err(error)) = rotating.await {
            tracing::warn!(%error, "a backend's log can't be rotated");
        }
        next = Instant::now() + if answered { EVERY } else { AGAIN };
    }
}

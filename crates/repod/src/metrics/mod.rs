//! What can be watched from outside, as OpenMetrics text. Written anew for each reader out of what
//! the rooms count anyway, so that nobody pays for metrics that nobody reads.
//!
//! [`Sheet`] is all of it at one moment, `backends` and `work` write it down. docs/operations.md has the
//! table of all names, and the dashboard in `packaging/` asks for some; tests compare both with the text.

mod backends;
mod page;
mod token;
mod work;

#[cfg(test)]
mod tests;

use crate::daemon::Daemon;
use crate::gateway::{Figures, Reason, Scrape};
use crate::hub::Counts;
use crate::tally::{Counters, Histograms};
use page::{Page, one};
use repod_proto::{ApiError, ExitCause, LeaseInfo, MemorySample, REPOD_VERSION, RepoId};
use std::sync::Arc;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a hub has counted, and how many readers it has.
type Hub = (Counts, usize);

/// Everything there is to say at one moment.
struct Sheet {
    endpoints: Vec<Figures>,
    refusals: Vec<(Reason, u64)>,
    holds: Histograms,
    memory: Vec<(RepoId, MemorySample)>,
    leaks: u64,
    deaths: Vec<(RepoId, ExitCause, u64)>,
    ensures: Histograms,
    leases: Vec<LeaseInfo>,
    waits: Histograms,
    tickets: u64,
    mutations: Counters,
    turns: Counters,
    open_turns: (usize, usize),
    calls: u64,
    errors: Counters,
}

/// Everything there is to say now.
pub(crate) async fn text(daemon: &Daemon) -> Result<String, ApiError> {
    let (gateway, coordination) = (daemon.fleet.gateway(), &daemon.coordination);
    Sheet {
        endpoints: gateway.figures(),
        refusals: gateway.refusals().collect(),
        holds: gateway.holds().histograms(),
        memory: daemon.memory.all(),
        leaks: daemon.memory.found(),
        deaths: daemon.fleet.deaths().all(),
        ensures: daemon.ensures.histograms(),
        leases: coordination.leases().await?,
        waits: coordination.counts().waits().histograms(),
        tickets: coordination.counts().tickets(),
        mutations: daemon.router.mutations_by_outcome().counters(),
        turns: daemon.sessions.turns_by_outcome().counters(),
        open_turns: daemon.sessions.open_turns(),
        calls: daemon.calls.requests.get(),
        errors: daemon.calls.errors.counters(),
    }
    .text()
}

/// Serves them on this loopback port, to who has the token. Without a token nothing is served there.
pub(crate) async fn serve(daemon: Arc<Daemon>, port: u16) {
    let token = match token::token(&daemon.home.metrics_token()) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "no metrics on a port");
            return;
        }
    };
    let text = move || {
        let daemon = Arc::clone(&daemon);
        async move { text(&daemon).await }
    };
    Scrape { token, content_type: CONTENT_TYPE, text }.serve(port).await;
}

impl Sheet {
    fn text(&self) -> Result<String, ApiError> {
        let mut page = Page::new();
        page.gauges("info", "The daemon that answers", [(one("version", REPOD_VERSION), 1)]);
        work::work(&mut page, self);
        backends::backends(&mut page, self);
        page.text()
    }
}

//! What the gateway knows of itself, for the metrics.

use super::hold::Waited;
use super::refuse::Reason;
use super::{Gate, Gateway};
use crate::backend::{Counted, View};
use crate::hub::Counts;
use crate::tally::Timings;
use repod_proto::RepoId;
use std::sync::{Arc, PoisonError};

/// One endpoint at one moment.
pub(crate) struct Figures {
    pub(crate) repo_id: RepoId,
    pub(crate) backend: Arc<View>,
    /// Requests and streams being served.
    pub(crate) clients: usize,
    /// Connections that have not shown the endpoint's secret, and those that have.
    pub(crate) strangers: usize,
    pub(crate) connections: usize,
    /// What has become of its backends.
    pub(crate) counted: Counted,
    /// Requests that wait for a backend.
    pub(crate) held: u64,
    /// What its hub has counted and how many readers it has, once somebody has asked for events.
    pub(crate) hub: Option<(Counts, usize)>,
}

impl Gateway {
    /// How many requests and connections were refused since the daemon started, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.refusals.counts()
    }

    /// How long requests have waited for a backend.
    pub(crate) fn holds(&self) -> &Timings<Waited> {
        &self.holds
    }

    /// Every endpoint that is served, by repo.
    pub(crate) fn figures(&self) -> Vec<Figures> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|gate| gate.strong_count() > 0);
        let gates: Vec<_> = gates.iter().filter_map(std::sync::Weak::upgrade).collect();
        let mut figures: Vec<_> = gates.iter().filter_map(|gate| gate.figures()).collect();
        figures.sort_by(|a, b| a.repo_id.cmp(&b.repo_id));
        figures
    }
}

impl Gate {
    fn figures(&self) -> Option<Figures> {
        let handle = self.handle.upgrade()?;
        let (strangers, connections) = self.guests.count();
        Some(Figures {
            repo_id: handle.repo().id.clone(),
            backend: handle.view(),
            clients: handle.clients().all(),
            strangers,
            connections,
            counted: handle.counts().now(),
            held: self.held.requests(),
            hub: handle.known_hub().map(|hub| (hub.counts(), hub.readers())),
        })
    }
}

//! A page of metrics that is being written.

use crate::tally::{Counters, Histograms};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use repod_proto::{ApiError, ErrorCode, RepoId};

pub(super) type Labels = Vec<(&'static str, String)>;

pub(super) struct Page(Registry);

impl Page {
    pub(super) fn new() -> Self {
        Self(Registry::with_prefix("repod"))
    }

    pub(super) fn text(&self) -> Result<String, ApiError> {
        let mut text = String::new();
        encode(&mut text, &self.0).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("the metrics can't be written: {error}"))
        })?;
        Ok(text)
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(name, help, family);
    }

    /// Their names get `_total` behind them.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// The same, of what a room counts in this form.
    pub(super) fn tally(&mut self, name: &str, help: &str, counters: Counters) {
        self.0.register(name, help, counters);
    }

    /// Durations; their names get `_seconds` behind them.
    pub(super) fn timings(&mut self, name: &str, help: &str, histograms: Histograms) {
        self.0.register_with_unit(name, help, Unit::Seconds, histograms);
    }
}

pub(super) fn none() -> Labels {
    Vec::new()
}

pub(super) fn one(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name, value.into())]
}

pub(super) fn of(repo: &RepoId) -> Labels {
    one("repo_id", repo.as_str())
}

pub(super) fn with(repo: &RepoId, name: &'static str, value: impl Into<String>) -> Labels {
    vec![("repo_id", repo.to_string()), (name, value.into())]
}

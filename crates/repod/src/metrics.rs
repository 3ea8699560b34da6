//! What can be watched from outside, as OpenMetrics text. Written anew for each reader out of what
//! the rooms count anyway, so that nobody pays for metrics that nobody reads.

use crate::daemon::Daemon;
use crate::gateway::Figures;
use crate::memory::Memory;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use repod_proto::{ApiError, ErrorCode, MemorySample, REPOD_VERSION, RepoId};

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Everything there is to say now.
pub(crate) fn text(daemon: &Daemon) -> Result<String, ApiError> {
    let gateway = daemon.fleet.gateway();
    let mut page = Page(Registry::with_prefix("repod"));
    page.gauges(
        "info",
        "The daemon that answers",
        [(vec![("version", REPOD_VERSION.to_owned())], 1)],
    );
    let refused = gateway
        .refusals()
        .map(|(reason, count)| (vec![("reason", reason.as_str().to_owned())], count));
    page.counters(
        "gateway_refused_requests",
        "Requests and connections the gateway did not serve, by reason",
        refused,
    );
    endpoints(&mut page, &gateway.figures());
    memory(&mut page, &daemon.memory);
    let deaths = daemon.fleet.deaths().all().into_iter().map(|(repo, cause, count)| {
        let cause = cause.as_str().to_owned();
        (vec![("repo_id", repo.to_string()), ("cause", cause)], count)
    });
    page.counters("backend_deaths", "Backends that ended unasked, by what they died of", deaths);
    let mut text = String::new();
    encode(&mut text, &page.0).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("the metrics can't be written: {error}"))
    })?;
    Ok(text)
}

fn endpoints(page: &mut Page, all: &[Figures]) {
    let gauge = |of: fn(&Figures) -> u64| all.iter().map(move |it| (repo(it), of(it)));
    let state = |it: &Figures| (with(it, "state", it.backend.state.as_str()), 1);
    page.gauges("backend_state", "The state each repo's backend is in", all.iter().map(state));
    page.gauges(
        "backend_generation",
        "The number of each repo's backend; each start gets the next one",
        gauge(|it| it.backend.generation.0),
    );
    page.gauges(
        "gateway_clients",
        "Requests and streams being served",
        gauge(|it| it.clients as u64),
    );
    let connections = |it: &Figures| {
        [("yes", it.connections), ("no", it.strangers)]
            .map(|(known, count)| (with(it, "authorised", known), count as u64))
    };
    page.gauges(
        "gateway_connections",
        "Open connections, by whether they have shown the endpoint's secret",
        all.iter().flat_map(connections),
    );
    page.gauges("gateway_held_requests", "Requests that wait for a backend", gauge(|it| it.held));
    let hubs = || all.iter().filter_map(|it| Some((repo(it), it.hub?)));
    page.gauges(
        "hub_readers",
        "Readers of events",
        hubs().map(|(repo, (_, readers))| (repo, readers as u64)),
    );
    let counts = [
        (
            "hub_events",
            "Events given out",
            hubs().map(|(repo, hub)| (repo, hub.0.events)).collect(),
        ),
        (
            "hub_duplicate_events",
            "Events that had been given out already",
            hubs().map(|(repo, hub)| (repo, hub.0.duplicates)).collect(),
        ),
        (
            "hub_malformed_events",
            "Events too large, or no events",
            hubs().map(|(repo, hub)| (repo, hub.0.malformed)).collect(),
        ),
        (
            "hub_cut_readers",
            "Readers that fell too far behind",
            hubs().map(|(repo, hub)| (repo, hub.0.cut)).collect(),
        ),
        (
            "hub_streams",
            "Streams opened to backends",
            hubs().map(|(repo, hub)| (repo, hub.0.streams)).collect(),
        ),
        (
            "hub_interrupted_turns",
            "Turns told to have ended because their backend had",
            hubs().map(|(repo, hub)| (repo, hub.0.interrupted)).collect(),
        ),
        (
            "hub_lost_gaps",
            "Gaps between two streams that could not be closed",
            hubs().map(|(repo, hub)| (repo, hub.0.lost)).collect::<Vec<_>>(),
        ),
    ];
    for (name, help, values) in counts {
        page.counters(name, help, values);
    }
}

fn memory(page: &mut Page, memory: &Memory) {
    let all = memory.all();
    let label = |id: &RepoId| vec![("repo_id", id.to_string())];
    let bytes = all.iter().flat_map(|(id, sample)| {
        let usage = sample.usage;
        let kinds = [
            ("rss", usage.rss),
            ("pss", usage.pss),
            ("anonymous", usage.anonymous),
            ("swap", usage.swap),
        ];
        kinds.map(|(kind, bytes)| {
            (vec![("repo_id", id.to_string()), ("kind", kind.to_owned())], bytes)
        })
    });
    page.gauges("backend_memory_bytes", "What each backend's process tree uses", bytes);
    let of = |value: fn(&MemorySample) -> u64| {
        all.iter().map(move |(id, sample)| (label(id), value(sample))).collect::<Vec<_>>()
    };
    page.gauges("backend_processes", "Processes of each backend", of(|it| it.usage.processes));
    page.gauges("backend_open_fds", "Open files of each backend", of(|it| it.usage.fds));
    page.gauges(
        "backend_inotify_watches",
        "Watches of inotify of each backend",
        of(|it| it.usage.inotify_watches),
    );
    page.gauges(
        "backend_memory_growing",
        "Whether a backend's memory keeps growing",
        of(|it| u64::from(it.growing.is_some())),
    );
    page.counters(
        "backend_leaks",
        "Times that steady growth of a backend was found",
        [(Vec::new(), memory.found())],
    );
}

fn repo(of: &Figures) -> Labels {
    vec![("repo_id", of.repo_id.to_string())]
}

fn with(of: &Figures, name: &'static str, value: &str) -> Labels {
    vec![("repo_id", of.repo_id.to_string()), (name, value.to_owned())]
}

/// A page of metrics that is being written.
struct Page(Registry);

impl Page {
    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(name, help, family);
    }

    /// Their names get `_total` behind them.
    fn counters(
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
}

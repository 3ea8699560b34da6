//! Each repo's backend and its endpoint: state, use, memory, events.

use super::page::{Labels, Page, none, of, one, with};
use super::{Hub, Sheet};
use crate::gateway::Figures;
use crate::tally::Label as _;
use repod_proto::{BackendState, MemorySample};

const STATES: [BackendState; 7] = [
    BackendState::Stopped,
    BackendState::Starting,
    BackendState::Ready,
    BackendState::Unresponsive,
    BackendState::Stopping,
    BackendState::Hibernated,
    BackendState::Failed,
];

pub(super) fn backends(page: &mut Page, sheet: &Sheet) {
    let all = &sheet.endpoints;
    let each = |value: fn(&Figures) -> u64| all.iter().map(move |it| (of(&it.repo_id), value(it)));
    page.gauges(
        "backend_up",
        "Whether each repo's backend answers",
        each(|it| u64::from(it.backend.is_ready())),
    );
    let states = |it: &Figures| {
        let now = it.backend.state;
        STATES.map(|state| (with(&it.repo_id, "state", state.as_str()), u64::from(state == now)))
    };
    page.gauges(
        "backend_state",
        "The state each repo's backend is in: 1, and the others 0",
        all.iter().flat_map(states),
    );
    page.gauges(
        "backend_generation",
        "The number of each repo's backend; each start gets the next one",
        each(|it| it.backend.generation.0),
    );
    page.counters("backend_starts", "Starts of each repo's backend", each(|it| it.counted.starts));
    let restarts = |it: &Figures| {
        let repo = it.repo_id.clone();
        let restarts = it.counted.restarts.clone().into_iter();
        restarts.map(move |(why, count)| (with(&repo, "reason", why.text()), count))
    };
    page.counters(
        "backend_restarts",
        "Starts in the place of another backend, by reason",
        all.iter().flat_map(restarts),
    );
    let deaths = sheet.deaths.iter();
    page.counters(
        "backend_deaths",
        "Backends that ended unasked, by what they died of",
        deaths.map(|(repo, cause, count)| (with(repo, "cause", cause.as_str()), *count)),
    );
    page.counters(
        "backend_hibernations",
        "Times that each repo's backend was put to sleep",
        each(|it| it.counted.hibernations),
    );
    page.counters(
        "backend_wakes",
        "Starts of each repo's backend out of its sleep",
        each(|it| it.counted.wakes),
    );
    endpoints(page, sheet);
    events(page, all);
    memory(page, sheet);
}

fn endpoints(page: &mut Page, sheet: &Sheet) {
    let all = &sheet.endpoints;
    let each = |value: fn(&Figures) -> u64| all.iter().map(move |it| (of(&it.repo_id), value(it)));
    let refused = sheet.refusals.iter();
    page.counters(
        "gateway_refused_requests",
        "Requests and connections the gateway did not serve, by reason",
        refused.map(|(reason, count)| (one("reason", reason.as_str()), *count)),
    );
    page.gauges(
        "gateway_clients",
        "Requests and streams being served",
        each(|it| it.clients as u64),
    );
    let connections = |it: &Figures| {
        [("yes", it.connections), ("no", it.strangers)]
            .map(|(known, count)| (with(&it.repo_id, "authorised", known), count as u64))
    };
    page.gauges(
        "gateway_connections",
        "Open connections, by whether they have shown the endpoint's secret",
        all.iter().flat_map(connections),
    );
    page.gauges("gateway_held_requests", "Requests that wait for a backend", each(|it| it.held));
    page.timings(
        "gateway_hold_duration",
        "How long requests waited for a backend, by how they went on",
        sheet.holds.clone(),
    );
}

fn events(page: &mut Page, all: &[Figures]) {
    let hubs = |value: fn(&Hub) -> u64| {
        all.iter().filter_map(move |it| Some((of(&it.repo_id), value(it.hub.as_ref()?))))
    };
    page.gauges("hub_readers", "Readers of events", hubs(|(_, readers)| *readers as u64));
    page.counters("hub_events", "Events given out", hubs(|(it, _)| it.events));
    page.counters(
        "hub_duplicate_events",
        "Events that had been given out already",
        hubs(|(it, _)| it.duplicates),
    );
    page.counters(
        "hub_malformed_events",
        "Events too large, or no events",
        hubs(|(it, _)| it.malformed),
    );
    page.counters("hub_cut_readers", "Readers that fell too far behind", hubs(|(it, _)| it.cut));
    page.counters("hub_streams", "Streams opened to backends", hubs(|(it, _)| it.streams));
    page.counters(
        "hub_interrupted_turns",
        "Turns told to have ended because their backend had",
        hubs(|(it, _)| it.interrupted),
    );
    page.counters(
        "hub_lost_gaps",
        "Gaps between two streams that could not be closed",
        hubs(|(it, _)| it.lost),
    );
}

fn memory(page: &mut Page, sheet: &Sheet) {
    let all = &sheet.memory;
    let bytes = all.iter().flat_map(|(id, sample)| {
        let usage = sample.usage;
        [
            ("rss", usage.rss),
            ("pss", usage.pss),
            ("anonymous", usage.anonymous),
            ("swap", usage.swap),
        ]
        .map(|(kind, bytes)| (with(id, "kind", kind), bytes))
    });
    page.gauges("backend_memory_bytes", "What each backend's process tree uses", bytes);
    let each = |value: fn(&MemorySample) -> u64| {
        all.iter().map(move |(id, sample)| (of(id), value(sample))).collect::<Vec<(Labels, u64)>>()
    };
    page.gauges("backend_processes", "Processes of each backend", each(|it| it.usage.processes));
    page.gauges("backend_open_fds", "Open files of each backend", each(|it| it.usage.fds));
    page.gauges(
        "backend_inotify_watches",
        "Watches of inotify of each backend",
        each(|it| it.usage.inotify_watches),
    );
    page.gauges(
        "backend_memory_growing",
        "Whether a backend's memory keeps growing",
        each(|it| u64::from(it.growing.is_some())),
    );
    page.counters(
        "backend_leaks",
        "Times that steady growth of a backend was found",
        [(none(), sheet.leaks)],
    );
}

//! docs/lifecycle.md shows the machine as it is: every state it can get into is visited, every event
//! is tried there, and what comes of it is compared with what the page says.
//!
//! After a change: `REPOD_WRITE_DOCS=1 cargo test -p repod-supervisor drawn`.

use super::*;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt::Write as _;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lifecycle.md");

/// From, to, and the events that lead there.
type Changes = BTreeMap<(String, String), BTreeSet<&'static str>>;

#[test]
fn the_page_shows_the_machine_as_it_is() {
    let changes = explore();
    let page = fs_err::read_to_string(PAGE).unwrap();
    let drawn = put(&put(&page, "diagram", &diagram(&changes)), "transitions", &table(&changes));
    if std::env::var_os("REPOD_WRITE_DOCS").is_some() {
        fs_err::write(PAGE, &drawn).unwrap();
    }
    assert!(
        page == drawn,
        "write it anew: REPOD_WRITE_DOCS=1 cargo test -p repod-supervisor drawn"
    );
}

/// All there is: from a new machine, and from those an earlier daemon may have left.
fn explore() -> Changes {
    let failure = Failure::Exited(CRASH);
    let mut open = VecDeque::from([
        Lifecycle::new(Generation(0)),
        Lifecycle::hibernated(Generation(0)),
        Lifecycle::failed(Generation(0), failure.clone(), false),
        Lifecycle::failed(Generation(0), failure, true),
    ]);
    let mut seen: HashSet<_> = open.iter().map(key).collect();
    let mut changes = Changes::new();
    while let Some(life) = open.pop_front() {
        for (name, event) in events(&life) {
            let mut next = life.clone();
            let _ = next.on(event, NOW);
            let (from, to) = (place(&life), place(&next));
            if from != to {
                changes.entry((from, to)).or_default().insert(name);
            }
            if seen.insert(key(&next)) {
                open.push_back(next);
            }
        }
    }
    changes
}

const NOW: u64 = 1_000_000;

/// What tells two machines apart, but for numbers that only rise. The clock stands still, so the
/// starts that count are looked at only up to where they park.
fn key(life: &Lifecycle) -> impl Eq + std::hash::Hash + use<> {
    let recent = life.starts.recent(NOW).min(u32::try_from(MAX_STARTS).unwrap());
    let counts = (recent, life.starts.clone().came_down() > 0, life.port_retries);
    let wishes = (life.slot.is_some(), life.ready_wanted, life.stop_wanted);
    let lived = life.process.is_some();
    (place(life), counts, wishes, life.strikes, lived)
}

fn place(life: &Lifecycle) -> String {
    let name = match &life.phase {
        Phase::Stopped => "stopped",
        Phase::Hibernated => "hibernated",
        Phase::Failed { parked, remains, .. } => match (parked, remains) {
            (false, false) => "failed",
            (true, false) => "failed, parked",
            (false, true) => "failed, processes left",
            (true, true) => "failed, parked, processes left",
        },
        Phase::Queued => "starting: queued",
        Phase::BackingOff { .. } => "starting: backing off",
        Phase::Spawning => "starting: spawning",
        Phase::Booting => "starting: booting",
        Phase::Ready => "ready",
        Phase::Unresponsive => "unresponsive",
        Phase::Ending { next, spawning } => {
            let next = match next {
                Next::Stop => "stop",
                Next::Hibernate => "sleep",
                Next::Start { after_ms: 0 } => "start anew",
                Next::Start { .. } => "start anew later",
                Next::RetryPort => "another port",
                Next::Fail { parked: false, .. } => "fail",
                Next::Fail { parked: true, .. } => "fail, parked",
            };
            let until = if *spawning { ", once spawned" } else { "" };
            return format!("stopping: then {next}{until}");
        }
    };
    name.to_owned()
}

/// Every event that may come, about the present.
fn events(life: &Lifecycle) -> Vec<(&'static str, Event)> {
    let (generation, token) = (life.generation, life.last_token);
    let adopted = |found| Event::Adopted {
        generation,
        process: process(1),
        version: Some("1.18.33".to_owned()),
        found,
    };
    vec![
        ("ensure", Event::Ensure),
        ("restart", Event::Restart),
        ("stop", Event::Stop),
        ("hibernate", Event::Hibernate),
        ("slot granted", Event::SlotGranted { token }),
        ("spawned", Event::Spawned { generation, process: process(1) }),
        ("ready", Event::Ready { generation, version: "1.18.33".to_owned() }),
        ("start failed", Event::StartFailed { generation, error: error() }),
        ("port lost", Event::PortLost { generation }),
        ("exited", Event::Exited { generation, reason: CRASH }),
        ("probe answered", Event::ProbeAnswered { generation }),
        ("probe failed", Event::ProbeFailed { generation }),
        ("ended", Event::Ended { generation }),
        ("not ended", Event::EndFailed { generation, survivors: vec![1] }),
        ("delay over", Event::RestartDue { token }),
        ("adopted starting", adopted(Found::Starting)),
        ("adopted ready", adopted(Found::Ready)),
        ("adopted unresponsive", adopted(Found::Unresponsive)),
        ("adopted stopping", adopted(Found::Stopping)),
    ]
}

/// The states by the name users see; how they got there, but not what is left of an earlier daemon.
fn diagram(changes: &Changes) -> String {
    let mut arrows: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for ((from, to), events) in changes {
        let (from, to) = (node(from), node(to));
        let events = events.iter().filter(|event| !event.starts_with("adopted"));
        if from != to {
            arrows.entry((from, to)).or_default().extend(events);
        }
    }
    let mut text = "```mermaid\nstateDiagram-v2\n    [*] --> stopped\n".to_owned();
    for ((from, to), events) in arrows.into_iter().filter(|(_, events)| !events.is_empty()) {
        let events = Vec::from_iter(events).join(", ");
        writeln!(text, "    {from} --> {to}: {events}").unwrap();
    }
    text + "```\n"
}

fn node(place: &str) -> &str {
    match place.split_once(": ") {
        Some(("starting", "backing off")) => "backing_off",
        Some(("starting", step)) => step,
        Some((state, _)) => state,
        None if place.contains("parked") => "parked",
        None => place.split_once(',').map_or(place, |(state, _)| state),
    }
}

fn table(changes: &Changes) -> String {
    let mut text = "| in | when | then |\n|---|---|---|\n".to_owned();
    for ((from, to), events) in changes {
        let events = Vec::from_iter(events.iter().copied()).join(", ");
        writeln!(text, "| {from} | {events} | {to} |").unwrap();
    }
    text
}

/// The page with what is between two marks replaced.
fn put(page: &str, mark: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}\n{text}\n{end}{after}")
}

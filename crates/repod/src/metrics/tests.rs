//! The text against what promises something about it: the golden file, the table in the documentation,
//! the dashboard.

use super::*;
use crate::backend::fake::Fake;
use crate::backend::{Counts as Backend, Restart};
use crate::coordination::Counts as Leases;
use crate::gateway::Waited;
use crate::ops::Ensures;
use crate::router::Outcome;
use crate::sessions::Ended;
use crate::tally::{Tally, Timings};
use repod_proto::{ErrorCode, ExitCause, Generation, TreeUsage};
use std::collections::{BTreeMap, BTreeSet};

fn file(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    fs_err::read_to_string(format!("{root}/{path}")).unwrap()
}

/// One repo, of which everything is known.
fn sheet() -> Sheet {
    let fake = Fake::new(1);
    fake.ready(2);
    let backend = Backend::default();
    backend.restarted(Restart::Crashed);
    let (mutations, turns) = (Tally::<Outcome>::default(), Tally::<Ended>::default());
    mutations.count(Outcome::Applied);
    turns.count(Ended::Completed);
    let errors = Tally::<ErrorCode>::default();
    errors.count(ErrorCode::PathNotFound);
    let id = fake.handle.repo().id.clone();
    let endpoint = Figures {
        repo_id: id.clone(),
        backend: fake.view(),
        clients: 3,
        strangers: 1,
        connections: 2,
        counted: backend.now(),
        held: 4,
        hub: Some((Counts { events: 5, ..Counts::default() }, 6)),
    };
    let sample = MemorySample {
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        generation: Generation(1),
        usage: TreeUsage { rss: 7, ..TreeUsage::default() },
        growing: None,
    };
    Sheet {
        endpoints: vec![endpoint],
        refusals: Reason::ALL.iter().map(|reason| (*reason, 0)).collect(),
        holds: Timings::<Waited>::default().histograms(),
        memory: vec![(id.clone(), sample)],
        leaks: 0,
        deaths: vec![(id, ExitCause::Oom, 1)],
        ensures: Ensures::default().histograms(),
        leases: Vec::new(),
        waits: Leases::default().waits().histograms(),
        tickets: 8,
        mutations: mutations.counters(),
        turns: turns.counters(),
        open_turns: (1, 2),
        calls: 9,
        errors: errors.counters(),
    }
}

/// Of each metric, by the name of its samples: its type and its labels.
fn metrics(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut metrics = BTreeMap::<String, (String, BTreeSet<String>)>::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            current = format!("{name}{suffix}");
            metrics.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "`{line}` stands below `{current}`");
            let labels =
                line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names = labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0));
            let names = names.filter(|name| *name != "le").map(str::to_owned);
            metrics.get_mut(&current).unwrap().1.extend(names);
        }
    }
    metrics
}

#[tokio::test]
async fn the_text_is_the_golden_one() {
    let text = sheet().text().unwrap().replace(REPOD_VERSION, "0.0.0");
    assert!(text.ends_with("# EOF\n"), "{text}");
    // In a family they come in any order.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join("\n")
    };
    if let Some(path) = std::env::var_os("REPOD_WRITE_GOLDEN") {
        fs_err::write(std::path::PathBuf::from(path), sorted(&text) + "\n").unwrap();
    }
    let golden = include_str!("golden.txt");
    assert_eq!(
        sorted(&text),
        golden.trim_end(),
        "if it is right, write it anew: REPOD_WRITE_GOLDEN=PATH"
    );
}

#[tokio::test]
async fn the_documentation_lists_every_metric_as_it_is() {
    let said = metrics(&sheet().text().unwrap());
    let page = file("docs/operations.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].strip_prefix('`')?.strip_suffix('`')?;
        if !name.starts_with("repod_") || cells.len() != 5 {
            return None;
        }
        let labels = cells[2].split(", ").map(|label| label.trim_matches('`').to_owned());
        let labels: BTreeSet<_> = labels.filter(|label| label != "–").collect();
        let unit =
            ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(cells[3], unit.unwrap_or("–"), "the unit of {name}");
        Some((name.to_owned(), (cells[1].to_owned(), labels)))
    });
    let documented: BTreeMap<_, _> = rows.collect();
    assert_eq!(documented, said);
}

#[tokio::test]
async fn the_dashboard_asks_only_for_what_there_is() {
    let text = sheet().text().unwrap();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let named = |line: &str| line[..line.find(|c| !is_name(c)).unwrap_or(line.len())].to_owned();
    let samples: BTreeSet<_> =
        text.lines().filter(|line| !line.starts_with('#')).map(named).collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("packaging/grafana-repod.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut asked = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let at = query.match_indices("repod_").map(|(at, _)| named(&query[at..]));
            asked.extend(at);
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(
        (&variables[0]["name"], &variables[0]["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    for variable in variables {
        let query = variable["query"].as_str().unwrap_or_default();
        asked.extend(query.match_indices("repod_").map(|(at, _)| named(&query[at..])));
    }
    assert!(asked.len() > 20, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&samples).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

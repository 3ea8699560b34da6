//! The rules: pure functions from a snapshot to findings, one file for each group of them.

mod leftovers;
mod limits;
mod ports;
mod processes;
mod promises;
mod remains;
mod runtimes;
mod sessions;
mod sharing;

#[cfg(test)]
mod tests;

pub use limits::{INSTANCES_WANTED, WATCHES_WANTED};

use crate::finding::{Finding, Report};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;

/// A group of rules.
type Group = fn(&Snapshot, &mut Vec<Finding>);

const GROUPS: [Group; 8] = [
    sharing::find,
    ports::find,
    runtimes::find,
    sessions::find,
    limits::find,
    remains::find,
    leftovers::find,
    promises::find,
];

/// Goes through all rules.
pub fn judge(snapshot: &Snapshot) -> Report {
    let mut findings = Vec::new();
    for group in GROUPS {
        group(snapshot, &mut findings);
    }
    Report::new(findings, snapshot.skipped.clone())
}

/// Ids of the repos whose entry names a backend that is gone.
pub fn stale(snapshot: &Snapshot) -> Vec<String> {
    remains::stale(snapshot).map(|(record, _)| record.repo_id.clone()).collect()
}

/// Rules about what may be true for a moment only: a process between two states, an entry just written.
const FLEETING: [&str; 8] =
    ["RP302", "RP601", "RP602", "RP603", "RP612", "RP705", "RP706", "RP707"];

/// Whether the report has a finding that a second look may not confirm.
pub fn is_doubtful(report: &Report) -> bool {
    report.findings.iter().any(|finding| FLEETING.contains(&finding.id))
}

/// The second report, without what only one of the two looks has seen and what passes.
pub fn confirmed(first: &Report, mut second: Report) -> Report {
    let seen = |finding: &Finding| {
        first.findings.iter().any(|f| (f.id, &f.evidence) == (finding.id, &finding.evidence))
    };
    second.findings.retain(|finding| !FLEETING.contains(&finding.id) || seen(finding));
    Report::new(second.findings, second.skipped)
}

/// Groups by key, and leaves out what stands alone.
fn shared<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut groups: BTreeMap<K, Vec<V>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups.into_iter().filter(|(_, group)| group.len() > 1).collect()
}

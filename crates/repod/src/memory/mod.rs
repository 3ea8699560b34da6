//! The memory log: every few seconds one measurement of each backend's process tree, written to its
//! `memory.jsonl`, and judged for steady growth.
//!
//! One pass over `/proc` serves all of them, on a thread that may block. Who wants to know (the
//! status, the metrics, the keeper) reads the last answer and measures nothing.

mod past;
mod trend;

pub(crate) use past::{after, thinned};

use crate::daemon::Daemon;
use jiff::Timestamp;
use repod_proto::{BackendState, Generation, Growth, MemorySample, RepoId, TreeUsage};
use repod_supervisor::identity::ProcessIdentity;
use repod_supervisor::log_tail::{open_for_append, rotate_if_larger};
use repod_supervisor::tree::{Shares, Snapshot};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use trend::Trend;

/// A log is moved on at this size, and so many older ones are kept: about four days at the usual pace.
const LOG_MAX: u64 = 4 << 20;
const LOG_KEEP: u32 = 2;
/// Measurements remembered of each backend, for who looks at how it went.
const REMEMBERED: usize = 60;
/// More often than this would cost more than it tells.
const LEAST: Duration = Duration::from_millis(100);

/// What was last measured of every live backend.
#[derive(Default)]
pub(crate) struct Memory {
    last: Mutex<HashMap<RepoId, Measured>>,
    shares: Mutex<(Vec<ProcessIdentity>, Shares)>,
    found: AtomicU64,
}

struct Measured {
    identity: ProcessIdentity,
    begun: Instant,
    trend: Trend,
    sample: Option<MemorySample>,
    rss: VecDeque<u64>,
}

/// One backend that is to be measured.
struct Wanted {
    id: RepoId,
    generation: Generation,
    identity: ProcessIdentity,
    /// A backend that comes up grows, and that is no leak.
    is_up: bool,
    log: PathBuf,
}

impl Memory {
    /// The last measurement of this generation.
    pub(crate) fn last(&self, id: &RepoId, generation: Generation) -> Option<MemorySample> {
        let sample = self.lock().get(id)?.sample.clone()?;
        (sample.generation == generation).then_some(sample)
    }

    /// The resident memory at this generation's last measurements, the oldest first.
    pub(crate) fn rss_history(&self, id: &RepoId, generation: Generation) -> Vec<u64> {
        let last = self.lock();
        let measured = last
            .get(id)
            .filter(|it| it.sample.as_ref().is_some_and(|sample| sample.generation == generation));
        measured.map(|it| it.rss.iter().copied().collect()).unwrap_or_default()
    }

    /// How this generation grows, if it grows steadily.
    pub(crate) fn growth(&self, id: &RepoId, generation: Generation) -> Option<Growth> {
        self.last(id, generation)?.growing
    }

    /// The last measurement of every live backend, by repo.
    pub(crate) fn all(&self) -> Vec<(RepoId, MemorySample)> {
        let pair = |(id, it): (&RepoId, &Measured)| Some((id.clone(), it.sample.clone()?));
        let mut all: Vec<_> = self.lock().iter().filter_map(pair).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many times steady growth was found since the daemon started.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RepoId, Measured>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a measurement into the books; answers it as it is to be written down.
    fn take(&self, wanted: &Wanted, usage: TreeUsage) -> MemorySample {
        let mut last = self.lock();
        let fresh = || Measured {
            identity: wanted.identity.clone(),
            begun: Instant::now(),
            trend: Trend::default(),
            sample: None,
            rss: VecDeque::new(),
        };
        let measured = last.entry(wanted.id.clone()).or_insert_with(fresh);
        if measured.identity != wanted.identity {
            *measured = fresh();
        }
        let before = measured.sample.as_ref().and_then(|sample| sample.growing);
        let elapsed = measured.begun.elapsed();
        let growing = wanted.is_up.then(|| measured.trend.push(elapsed, usage.private())).flatten();
        if let (None, Some(growth)) = (before, growing) {
            self.found.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(repo = %wanted.id, bytes_per_hour = growth.bytes_per_hour,
                grown_bytes = growth.grown_bytes, "the memory of this backend keeps growing");
        }
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let sample = MemorySample { at, generation: wanted.generation, usage, growing };
        measured.sample = Some(sample.clone());
        if measured.rss.len() == REMEMBERED {
            measured.rss.pop_front();
        }
        measured.rss.push_back(usage.rss);
        sample
    }
}

/// Measures for as long as the daemon lives.
pub(crate) async fn watch(daemon: std::sync::Arc<Daemon>, every: Duration) {
    let mut rounds = interval(every.max(LEAST));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let wanted = wanted(&daemon);
        daemon.memory.lock().retain(|id, _| wanted.iter().any(|it| it.id == *id));
        if wanted.is_empty() {
            continue;
        }
        let daemon = std::sync::Arc::clone(&daemon);
        let measured = tokio::task::spawn_blocking(move || measure(&daemon.memory, &wanted)).await;
        if let Ok(Err(error)) = measured {
            tracing::warn!(%error, "the memory can't be measured");
        }
    }
}

fn wanted(daemon: &Daemon) -> Vec<Wanted> {
    let live = |handle: crate::backend::RepoHandle| {
        let view = handle.view();
        let process = view.process.as_ref().filter(|_| view.state.is_live())?;
        let id = handle.repo().id.clone();
        Some(Wanted {
            log: daemon.home.repo(&id).memory_log(),
            id,
            generation: view.generation,
            is_up: view.state != BackendState::Starting,
            identity: process.identity.clone(),
        })
    };
    daemon.fleet.all().into_iter().filter_map(live).collect()
}

fn measure(memory: &Memory, wanted: &[Wanted]) -> io::Result<()> {
    let machine = Snapshot::take().map_err(io::Error::other)?;
    let mut known = memory.shares.lock().unwrap_or_else(PoisonError::into_inner);
    let (sharers, shares) = &mut *known;
    // All backends run one file: a page of it is worth less to each when there are more.
    let now: Vec<_> = wanted.iter().map(|backend| backend.identity.clone()).collect();
    if *sharers == now {
        shares.forget_old();
    } else {
        shares.forget();
        *sharers = now;
    }
    for backend in wanted {
        let Some(usage) = machine.usage(&backend.identity, shares) else { continue };
        let sample = memory.take(backend, usage);
        // A full disk is no reason to stop measuring the others.
        if let Err(error) = write(&backend.log, &sample) {
            tracing::warn!(repo = %backend.id, %error, "the memory log can't be written");
        }
    }
    Ok(())
}

fn write(log: &Path, sample: &MemorySample) -> io::Result<()> {
    let mut line = serde_json::to_string(sample).map_err(io::Error::other)?;
    line.push('\n');
    rotate_if_larger(log, LOG_MAX, LOG_KEEP)?;
    let (mut file, _) = open_for_append(log)?;
    file.write_all(line.as_bytes())
}

/// Everything a log says, older ones first. A line that was cut by a crash is left out.
pub(crate) fn history(log: &Path) -> io::Result<Vec<MemorySample>> {
    let mut samples = Vec::new();
    let older = (1..=LOG_KEEP).rev().map(|number| {
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    for file in older.chain([log.to_owned()]) {
        let text = match std::fs::File::open(&file).and_then(io::read_to_string) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        samples.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_over_its_older_files_and_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("memory.jsonl");
        assert!(history(&log).unwrap().is_empty());
        let sample = |rss| MemorySample {
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            generation: Generation(3),
            usage: TreeUsage { rss, ..TreeUsage::default() },
            growing: None,
        };
        write(&log, &sample(1)).unwrap();
        std::fs::copy(&log, dir.path().join("memory.jsonl.1")).unwrap();
        write(&log, &sample(2)).unwrap();
        let mut file = open_for_append(&log).unwrap().0;
        file.write_all(b"{\"at\":\"cut").unwrap();
        let rss: Vec<_> = history(&log).unwrap().iter().map(|sample| sample.usage.rss).collect();
        assert_eq!(rss, [1, 1, 2]);
        file.set_len(LOG_MAX + 1).unwrap();
        write(&log, &sample(4)).unwrap();
        assert!(log.metadata().unwrap().len() < 1024);
    }
}

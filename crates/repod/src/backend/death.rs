//! What a backend died of that nobody had stopped, and how often each cause was seen.

use jiff::Timestamp;
use repod_proto::{ExitCause, Generation, LastExit, RepoId};
use repod_supervisor::cgroup::MemoryGroup;
use repod_supervisor::launcher::ExitReason;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// SIGKILL is what the kernel sends where memory is short; a shell in between says it as a code.
const KILLED: [ExitReason; 3] =
    [ExitReason::Signal(9), ExitReason::Code(128 + 9), ExitReason::Unknown];

/// What was killed so long before an end may have been that backend: a large process takes seconds to
/// end on a slow machine, and a look in between sees it alive and its kill counted.
const DYING: Duration = Duration::from_secs(15);

/// What the kernel killed in a backend's group while that lived, as far as it may still be its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kills(Option<(Instant, u64)>);

impl Kills {
    /// A look has found so many more.
    pub(super) fn saw(&mut self, count: u64, now: Instant) {
        if count > 0 {
            self.0 = Some((now, count));
        }
    }

    /// Those that were found a moment ago.
    pub(super) fn lately(self, now: Instant) -> u64 {
        let lately = self.0.filter(|(at, _)| now.duration_since(*at) < DYING);
        lately.map_or(0, |(_, count)| count)
    }
}

/// Ends by repo and cause, since the daemon started.
#[derive(Default)]
pub(crate) struct Deaths(Mutex<BTreeMap<(RepoId, ExitCause), u64>>);

impl Deaths {
    pub(super) fn note(&self, id: &RepoId, cause: ExitCause) {
        *self.lock().entry((id.clone(), cause)).or_default() += 1;
    }

    /// All that were seen.
    pub(crate) fn all(&self) -> Vec<(RepoId, ExitCause, u64)> {
        self.lock().iter().map(|((id, cause), count)| (id.clone(), *cause, *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(RepoId, ExitCause), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why this one ended. `group`: where its memory counted, and how many the kernel has ended there since
/// the last look, a few seconds ago at most.
pub(super) fn of(
    generation: Generation,
    reason: ExitReason,
    group: Option<(&MemoryGroup, u64)>,
) -> LastExit {
    let (cause, message) = match (reason, group) {
        (_, Some((group, killed))) if killed > 0 && KILLED.contains(&reason) => {
            (ExitCause::Oom, out_of_memory(group))
        }
        (ExitReason::Signal(_), _) => (ExitCause::Signal, reason.to_string()),
        (ExitReason::Code(_), _) => (ExitCause::Exit, reason.to_string()),
        (ExitReason::Unknown, _) => (ExitCause::Unknown, reason.to_string()),
    };
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    LastExit { generation, at, cause, message }
}

fn out_of_memory(group: &MemoryGroup) -> String {
    let shown = |dir: &Path| dir.display().to_string();
    match group.limit() {
        Some(limit) => {
            let size = bytesize::ByteSize(limit.bytes).display().iec();
            format!(
                "out of memory: killed by the kernel, limit {size} of cgroup `{}`",
                shown(&limit.dir)
            )
        }
        None => format!(
            "out of memory: killed by the kernel, which had none left (cgroup `{}` has no limit)",
            shown(group.dir())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repod_supervisor::cgroup::{Group, Place};

    fn cause(reason: ExitReason, killed: u64) -> LastExit {
        let fake = tempfile::tempdir().unwrap();
        fs_err::write(fake.path().join("memory.events"), "oom_kill 1\n").unwrap();
        fs_err::write(fake.path().join("memory.max"), "419430400\n").unwrap();
        let unified = Some(Group { mount: fake.path().into(), dir: fake.path().into() });
        let group = MemoryGroup::at(&Place { unified, memory_v1: None }).unwrap();
        of(Generation(3), reason, Some((&group, killed)))
    }

    #[test]
    fn a_kill_is_the_kernels_where_its_counter_has_moved_and_somebodys_where_not() {
        let death = cause(ExitReason::Signal(9), 1);
        assert_eq!((death.cause, death.generation), (ExitCause::Oom, Generation(3)));
        let begin = "out of memory: killed by the kernel, limit 400.0 MiB of cgroup `/";
        assert!(death.message.starts_with(begin), "{}", death.message);
        assert_eq!(cause(ExitReason::Code(137), 1).cause, ExitCause::Oom);
        assert_eq!(cause(ExitReason::Unknown, 2).cause, ExitCause::Oom, "adopted");
        let killed = cause(ExitReason::Signal(9), 0);
        assert_eq!(
            (killed.cause, killed.message.as_str()),
            (ExitCause::Signal, "killed by SIGKILL")
        );
    }

    #[test]
    fn a_kill_that_was_counted_while_its_process_was_still_ending_is_not_forgotten() {
        let (mut kills, now) = (Kills::default(), Instant::now());
        assert_eq!(kills.lately(now), 0);
        kills.saw(1, now);
        kills.saw(0, now + Duration::from_secs(5));
        assert_eq!(kills.lately(now + Duration::from_secs(6)), 1);
        assert_eq!(kills.lately(now + Duration::from_mins(1)), 0, "that was another process");
    }

    #[test]
    fn what_ends_otherwise_does_not_die_of_a_command_that_was_killed() {
        assert_eq!(cause(ExitReason::Code(1), 1).cause, ExitCause::Exit);
        assert_eq!(cause(ExitReason::Signal(11), 1).cause, ExitCause::Signal);
        let unknown = of(Generation(1), ExitReason::Unknown, None);
        assert_eq!(unknown.cause, ExitCause::Unknown);
    }
}

//! What holds a backend: a control group of its own where the daemon was given one to divide, and
//! measuring where it was not. Which of the two, and why, is said in `repod status`.

use crate::settings::Limits;
use repod_proto::{EnforcedBy, LimitsInfo, RepoId};
use repod_supervisor::cgroup::{
    Controller, Delegation, GroupLimits, Leaf, Me, MemoryGroup, Mounts, Removed, Undelegated,
};
use repod_supervisor::limits;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and how long between, an empty group is waited for that can't be removed yet.
const LEAVING_TRIES: u32 = 20;
const LEAVING: Duration = Duration::from_millis(50);

/// What a daemon can hold its backends with.
pub(crate) struct Confine {
    mounts: Mounts,
    delegation: Result<Delegation, String>,
    memory_max: Option<u64>,
}

/// What one backend is held by, since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// Its own group, which ends with it.
    pub(crate) leaf: Option<PathBuf>,
    /// Why it is this way.
    pub(crate) reason: String,
    /// Where its memory counts.
    pub(crate) memory: Option<MemoryGroup>,
}

/// A [`Confinement`] that was just made, and what the user should know of it.
pub(super) struct Held {
    pub(super) confinement: Confinement,
    pub(super) warnings: Vec<String>,
}

impl Confine {
    /// Finds out what this daemon was given, and moves it into its own leaf of that. To be called before
    /// it has children, which would stay behind.
    pub(crate) fn here(memory_max: Option<u64>) -> Self {
        let mounts = Mounts::here().unwrap_or_else(|error| {
            tracing::warn!(%error, "what is mounted can't be read");
            Mounts::default()
        });
        let delegation = take(&mounts);
        match &delegation {
            Ok(taken) => {
                tracing::info!(group = %taken.base().display(), "backends get a control group each");
            }
            Err(reason) => tracing::info!(reason, "backends are measured"),
        }
        Self { mounts, delegation, memory_max }
    }

    /// One that holds nobody, for tests.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let delegation = Err("a test".to_owned());
        Self { mounts: Mounts::default(), delegation, memory_max: None }
    }

    /// Puts a child that runs nothing yet where it will be held.
    pub(super) fn hold(&self, id: &RepoId, child: u32, wanted: &Limits) -> Held {
        let mut warnings = Vec::new();
        warnings.extend(limits::give_nofile(child, wanted.nofile).warning);
        let (leaf, reason) = match self.leaf(id, child, &wanted.group) {
            Ok((leaf, reason)) => {
                warnings.extend(lacking(&wanted.group, had_by(&self.delegation), &reason));
                (Some(leaf.dir().to_owned()), reason)
            }
            Err(reason) => {
                warnings.extend(lacking(&wanted.group, &[], &reason));
                (None, reason)
            }
        };
        let memory = MemoryGroup::of(&self.mounts, child);
        Held { confinement: Confinement { leaf, reason, memory }, warnings }
    }

    fn leaf(
        &self,
        id: &RepoId,
        child: u32,
        wanted: &GroupLimits,
    ) -> Result<(Leaf, String), String> {
        let taken = self.delegation.as_ref().map_err(Clone::clone)?;
        let held = taken.leaf(id.as_str(), wanted).and_then(|leaf| {
            leaf.admit(child)?;
            Ok(leaf)
        });
        let leaf = held.map_err(|error| {
            let reason = format!("{error}: {}", error.cause());
            tracing::warn!(repo = %id, reason, "this backend gets no control group");
            reason
        })?;
        Ok((leaf, had(taken.controllers())))
    }

    /// Where the memory of this process counts now.
    pub(super) fn memory_of(&self, pid: u32) -> Option<MemoryGroup> {
        MemoryGroup::of(&self.mounts, pid)
    }

    /// What the status says where no backend runs: how the next will be held.
    pub(crate) fn outlook(&self) -> LimitsInfo {
        let (enforced_by, reason) = match &self.delegation {
            Ok(taken) => (EnforcedBy::CgroupV2, had(taken.controllers())),
            Err(reason) => (EnforcedBy::Measured, reason.clone()),
        };
        LimitsInfo { enforced_by, ..self.info(&Confinement { reason, ..Confinement::default() }) }
    }

    /// What it says of a running one. The values are the kernel's, not those of the settings.
    pub(crate) fn info(&self, held: &Confinement) -> LimitsInfo {
        let limits = held.leaf.as_deref().map(Leaf::limits).unwrap_or_default();
        let text = |dir: &Path| dir.display().to_string();
        // A backend of an older daemon was held by nothing, and nothing is known of why.
        let reason = match held.reason.as_str() {
            "" => "it was started by a repod that held nobody".to_owned(),
            reason => reason.to_owned(),
        };
        LimitsInfo {
            enforced_by: if held.leaf.is_some() {
                EnforcedBy::CgroupV2
            } else {
                EnforcedBy::Measured
            },
            reason,
            cgroup: held.leaf.as_deref().map(text),
            memory_high: limits.memory_high,
            memory_limit: limits.memory_limit,
            pids_max: limits.pids_max,
            cpu_weight: limits.cpu_weight,
            memory_max: self.memory_max,
            memory_cgroup: held.memory.as_ref().map(|group| text(group.dir())),
            memory_cgroup_limit: held.memory.as_ref().and_then(MemoryGroup::limit).map(|l| l.bytes),
        }
    }
}

impl Confinement {
    /// Takes its group away, once everything in it that was the backend's has ended.
    pub(super) async fn end(&self, repo: &RepoId) {
        let Some(leaf) = &self.leaf else { return };
        let mut removed = Leaf::remove(leaf);
        for _ in 0..LEAVING_TRIES {
            // Its processes have ended, and the kernel has not let go of the last of them yet.
            let is_leaving = matches!(&removed, Ok(Removed::InUse(pids)) if pids.is_empty());
            if !is_leaving {
                break;
            }
            tokio::time::sleep(LEAVING).await;
            removed = Leaf::remove(leaf);
        }
        match removed {
            Ok(Removed::Gone) => {}
            Ok(Removed::InUse(pids)) => {
                tracing::warn!(%repo, group = %leaf.display(), ?pids,
                    "its control group stays: processes are in it that are not known to be its");
            }
            Err(error) => {
                tracing::warn!(%repo, cause = %error.cause(), "{error}");
            }
        }
    }
}

fn take(mounts: &Mounts) -> Result<Delegation, String> {
    let me = Me { pid: std::process::id(), uid: rustix::process::geteuid().as_raw() };
    let place = mounts.place_of(me.pid).map_err(|error| error.to_string())?.unwrap_or_default();
    let group = place.unified.as_ref().ok_or(Undelegated::Absent);
    let taken = group.and_then(|group| Delegation::take(group, me, &Controller::ALL));
    taken.map_err(|error| match (&error, &place.memory_v1) {
        (Undelegated::Refused(refused), _) => format!("{error}: {}", refused.cause()),
        // The controller is in one hierarchy only, so nothing could be given to us.
        (_, Some(_)) => {
            "cgroup v2: memory controller not delegated (it is bound to version 1 here)".to_owned()
        }
        _ => error.to_string(),
    })
}

fn had(controllers: &[Controller]) -> String {
    let names: Vec<_> = controllers.iter().map(|one| one.as_str()).collect();
    let mut reason = format!("cgroup v2: delegated with {}", names.join(", "));
    if !controllers.contains(&Controller::Memory) {
        reason.push_str("; memory is measured, its controller is not delegated");
    }
    reason
}

fn had_by(delegation: &Result<Delegation, String>) -> &[Controller] {
    delegation.as_ref().map(Delegation::controllers).unwrap_or_default()
}

/// What somebody asked for and doesn't get.
fn lacking(limits: &GroupLimits, controllers: &[Controller], reason: &str) -> Option<String> {
    let keys: Vec<_> = limits.beyond(controllers).into_iter().map(setting).collect();
    (!keys.is_empty()).then(|| format!("{} can't be kept: {reason}", keys.join(", ")))
}

/// The setting that stands for a file of the kernel's.
fn setting(file: &str) -> &'static str {
    match file {
        "memory.high" => "`limits.memory_high`",
        "memory.max" => "`limits.memory_limit`",
        "pids.max" => "`limits.pids_max`",
        _ => "`limits.cpu_weight`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_nothing_keeps_is_said_with_its_key_and_the_reason() {
        let limits = Limits {
            group: GroupLimits {
                memory_limit: Some(1 << 30),
                pids_max: Some(64),
                ..GroupLimits::default()
            },
            ..crate::settings::Settings::default().limits
        };
        let held =
            Confine::none().hold(&"web-3f2a9c1b04de".parse().unwrap(), std::process::id(), &limits);
        let said = "`limits.memory_limit`, `limits.pids_max` can't be kept: a test";
        assert!(held.warnings.iter().any(|warning| warning == said), "{:?}", held.warnings);
        let info = Confine::none().info(&held.confinement);
        assert_eq!((info.enforced_by, info.reason.as_str()), (EnforcedBy::Measured, "a test"));
        let has_pids = lacking(&limits.group, &[Controller::Pids], "why").unwrap();
        assert_eq!(has_pids, "`limits.memory_limit` can't be kept: why");
        assert_eq!(lacking(&limits.group, &Controller::ALL, "why"), None);
    }
}

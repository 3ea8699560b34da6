//! From a tool call to what it has to ask for: nothing, or the leases of the branches it writes on;
//! and whether it writes in another repo, which then has to do it.

use super::footprint::{At, Footprint, footprint};
use super::policy;
use super::{
    Ask, CallId, Coordination, Granted, Hold, Kind, LeaseKey, OnItsWay, OwnerId, Party, Wait, words,
};
use crate::ops::Locator;
use crate::settings::{Conflict, Policy};
use repod_proto::{ApiError, Generation, RepoId};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// How long a call waits for the one before it to come in line: it may be lost, and is then asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) repo: RepoId,
    pub(crate) generation: Generation,
    /// The directory whose guard asks.
    pub(crate) directory: String,
    pub(crate) session: String,
    /// The session at the root of the tree.
    pub(crate) root: String,
    pub(crate) title: String,
}

/// A tool call before it runs.
#[derive(Clone, Debug)]
pub(crate) struct GuardedCall {
    pub(crate) caller: Caller,
    pub(crate) call: String,
    /// The call its session made just before, if that may not be in line yet.
    pub(crate) after: Option<String>,
    pub(crate) tool: String,
    pub(crate) command: Option<String>,
    pub(crate) workdir: Option<String>,
    pub(crate) file_path: Option<String>,
    pub(crate) patch_text: Option<String>,
}

/// What was found out about it.
pub(crate) enum Verdict {
    /// It needs no lease.
    Free,
    /// It may run; under these leases, its own branch's last.
    Granted { leases: Vec<(LeaseKey, u64)>, footprint: Footprint },
}

impl Caller {
    pub(crate) fn party(&self) -> Party {
        Party {
            id: OwnerId::Session { repo: self.repo.clone(), root: self.root.clone() },
            session_id: self.session.clone(),
            title: self.title.clone(),
            directory: self.directory.clone(),
            generation: self.generation,
            pid: None,
        }
    }

    /// Names the call in the whole daemon.
    pub(crate) fn id(&self, call: &str) -> CallId {
        CallId(format!("{}/{}/{call}", self.repo, self.session))
    }
}

impl Coordination {
    /// Waits until the call may run.
    pub(crate) async fn before(
        &self,
        locator: &Locator,
        call: &GuardedCall,
    ) -> Result<Verdict, ApiError> {
        let on_its_way = self.0.order.comes(call.caller.id(&call.call));
        let footprint = footprint(&At { locator, coordination: self }, call).await?;
        if footprint.places.is_empty() {
            return Ok(Verdict::Free);
        }
        policy::check(self.policy(), call, &footprint)?;
        if let Some(before) = &call.after {
            let before = call.caller.id(before);
            if !self.0.order.after(&before, PATIENCE).await {
                tracing::debug!(call = %before.0, "the call before did not come");
            }
        }
        let wanted = Wanted {
            call: call.caller.id(&call.call),
            party: call.caller.party(),
            what: call.what(),
            hold: Hold::Turn,
            wait: wait(self.policy()),
            kind: if call.tool == "bash" { Kind::LongRunning } else { Kind::Ordinary },
            on_its_way: Some(on_its_way),
        };
        let mut granted = self.take(&footprint.branches(), wanted, true).await?;
        let leases = granted.iter().filter_map(|granted| granted.lease.clone()).collect();
        // The leases stay with the turn; of the calls that asked for them, only the last has something
        // to do, and its end will be reported.
        if let Some(last) = granted.pop() {
            last.keep();
        }
        Ok(Verdict::Granted { leases, footprint })
    }

    /// Waits for the leases of all these branches, which come in order, the same for everybody; with a
    /// ticket for the last one's worktree where wanted.
    pub(crate) async fn take(
        &self,
        branches: &[(LeaseKey, String)],
        mut wanted: Wanted,
        ticket: bool,
    ) -> Result<Vec<Granted>, ApiError> {
        let mut granted = Vec::new();
        let last = branches.len().saturating_sub(1);
        // All leases before the one ticket: so no circle is closed by a ticket.
        for (at, (key, worktree)) in branches.iter().enumerate() {
            let is_last = at == last;
            let call = match is_last {
                true => wanted.call.clone(),
                false => CallId(format!("{}+{at}", wanted.call.0)),
            };
            let ask = Ask {
                call,
                party: wanted.party.clone(),
                key: key.clone(),
                worktree: (is_last && ticket).then(|| worktree.clone()),
                what: wanted.what.clone(),
                hold: wanted.hold,
                wait: wanted.wait,
                kind: wanted.kind,
            };
            granted.push(self.ask(ask, wanted.on_its_way.take()).await?);
        }
        Ok(granted)
    }
}

/// How leases are asked for.
pub(crate) struct Wanted {
    /// The name of the call in the whole daemon; where it needs several leases, those that ask for the
    /// others are named after it.
    pub(crate) call: CallId,
    pub(crate) party: Party,
    pub(crate) what: String,
    pub(crate) hold: Hold,
    pub(crate) wait: Wait,
    pub(crate) kind: Kind,
    /// Given up when the first of them is asked for.
    pub(crate) on_its_way: Option<OnItsWay>,
}

/// What a write does while another has its branch.
pub(crate) fn wait(policy: &Policy) -> Wait {
    match policy.write_conflict {
        Conflict::Refuse => Wait::Refuse,
        Conflict::Wait => {
            Wait::UpTo(u64::try_from(policy.write_wait.as_millis()).unwrap_or(u64::MAX))
        }
    }
}

impl GuardedCall {
    fn what(&self) -> String {
        let about = self.command.as_ref().or(self.file_path.as_ref());
        let text =
            about.map_or_else(|| self.tool.clone(), |about| format!("{} {about}", self.tool));
        words::one_line(&text, 200)
    }

    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        lexical(&Path::new(&self.caller.directory).join(path))
    }
}

/// Without `.` and `..`, by the text alone: so OpenCode reads the paths of its calls, links or not.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

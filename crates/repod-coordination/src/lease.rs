//! Who may write on which branch, for all repos of a daemon, as a pure function.
//!
//! `(table, event, time) -> (table, effects)`: no I/O, no clock, no tasks. One task owns a [`Table`],
//! carries out the effects in their order and feeds what comes of them back. Everything that must
//! never happen (two owners of one branch, a call that is never answered, a circle of sessions that
//! wait for each other) is decided, and property-tested, here.
//!
//! ```text
//!         owner has no lease            lease on record         first in the worktree's line
//!   Ask ───────────► in line ─► taking ─────────────► ticket line ─────────────► running ─► Report
//!    │                  │  (Secure … Secured)              │                        │
//!    └── its owner holds the lease ───────────────────────►│               turn ended, unreported:
//!                       └──────── refused ◄────────────────┘               revoked after `linger`
//! ```
//!
//! **Lease.** One owner (a session tree, or somebody outside) a branch. In line stand owners, first
//! come first served; nobody passes them but the one who holds it already. It ends with the owner's
//! turn ([`Hold::Turn`]) or with its last call ([`Hold::Call`]). A call that is still out when its
//! turn ends keeps the lease until it is reported, for [`Limits::linger`] at most.
//!
//! **Ticket.** Calls on one worktree run one at a time, in the order asked, among those whose owner
//! holds the lease of their branch. (Two owners meet on one worktree only after a switch of branches.)
//!
//! **Long-running calls** ([`Kind::LongRunning`]) starve nobody for ever:
//! * After [`Limits::share_after`] further calls *of the same owner* run beside it, one at a time.
//! * Other owners wait for the lease all the same; at their limit they are told which command runs.
//! * After [`Limits::yield_after`] and with others in line, if the owner runs nothing else, the lease
//!   goes to the first of them with a higher fence. The command is [`Effect::Revoked`]; its owner's
//!   next write asks anew, at the end of the line.
//!
//! **Circles.** When a call has to wait, the graph *who waits for whom* (for the holder, and for those
//! further ahead in line) is searched; in each circle the youngest owner's waiting calls are refused,
//! by when its tree first asked. A running call waits for nobody, so tickets close no circle, provided
//! that **who needs several leases asks for all of them (`worktree: None`) before the first ticket**.
//!
//! **Fences.** Each time a branch's lease is granted after being free, its number rises.
//! [`Table::is_current`] says whether a write under a number may still be done.
//!
//! **Around it.** What the task that owns a table sees to:
//! * `Secure` and `Release` of one branch are carried out one after the other; of several, side by side.
//!   Neither holds up the task: their outcome comes back as an event.
//! * `TurnEnded` is fed in the order in which the session's calls asked (both through the guard's own
//!   connection). An idle event of the turn before, overtaken by a call of the next, would end that one.
//! * `BackendGone` is fed when the whole tree is gone, not when its leader exits: commands of the agent
//!   outlive a killed backend.
//! * `Revoked` of a call that waits for a permission: the permission is rejected, or it would still write.
//! * `HEAD` is looked at when a call asks; where calls wait it is watched, and a change fed as
//!   `BranchSwitched`. One that is noticed only after a grant: `CallGone`, and the call asks anew.

mod asked;
mod call;
mod circle;
mod ended;
mod event;
mod fences;
mod key;
mod lane;
mod limits;
mod owner;
mod pump;
mod refusal;
mod restored;
mod secured;
mod snapshot;
mod switched;
mod time;
pub mod words;

#[cfg(test)]
mod tests;

pub use call::{Ask, CallId, Hold, Kind, Wait};
pub use event::{Answer, Effect, Event, Restored, RestoredCall, Why};
pub use key::{Branch, BranchError, LeaseKey};
pub use limits::Limits;
pub use owner::{OwnerId, Party};
pub use refusal::{Holder, Refusal, RefusalKind, RunningCall};

use call::{Call, Stage};
use fences::Fences;
use lane::{Held, Lane, Mode};
use repod_proto::{Generation, RepoId};
use std::collections::BTreeMap;

/// The leases and tickets of one daemon.
#[derive(Clone, Debug)]
pub struct Table {
    limits: Limits,
    fences: Fences,
    /// Branches that are held or waited for, and no others.
    lanes: BTreeMap<LeaseKey, Lane>,
    /// By number: the order in which they asked.
    calls: BTreeMap<u64, Call>,
    numbers: BTreeMap<CallId, u64>,
    last_number: u64,
    /// Owners that hold or wait, and no others.
    owners: BTreeMap<OwnerId, Owner>,
    /// Backends that are known to be gone, by repo: this generation and all before.
    gone: BTreeMap<RepoId, Generation>,
}

#[derive(Clone, Debug)]
struct Owner {
    /// The number of its first call: the younger of two owners has the higher one.
    born: u64,
    /// As it asked last.
    party: Party,
    /// How many calls it has, waiting and running.
    calls: usize,
    /// How many leases it holds.
    leases: usize,
}

impl Owner {
    fn new(born: u64, party: &Party) -> Self {
        Self { born, party: party.clone(), calls: 0, leases: 0 }
    }
}

impl Table {
    /// An empty one, which goes on from the fence numbers on record.
    pub fn new(limits: Limits, fences: impl IntoIterator<Item = (LeaseKey, u64)>) -> Self {
        let mut table = Self {
            limits,
            fences: Fences::default(),
            lanes: BTreeMap::new(),
            calls: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last_number: 0,
            owners: BTreeMap::new(),
            gone: BTreeMap::new(),
        };
        for (key, fence) in fences {
            table.fences.note(&key, fence, limits.fences);
        }
        table
    }

    /// The transition. `now` is in milliseconds of any clock that never goes back.
    #[must_use = "the effects must be carried out"]
    pub fn on(&mut self, event: Event, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let out = &mut effects;
        match event {
            Event::Ask(ask) => self.asked(ask, now, out),
            Event::Secured { key, fence } => self.secured(&key, fence, now),
            Event::Blocked { key, fence, by } => self.blocked(&key, fence, &by),
            Event::SecureFailed { key, fence, error } => {
                self.secure_failed(&key, fence, &error, now, out);
            }
            Event::Report { call } | Event::CallGone { call } => self.call_ended(&call, now, out),
            Event::Permission { call, on } => self.permission(&call, on),
            Event::TurnEnded { owner } => self.turn_ended(&owner, now, out),
            Event::OwnerGone { owner } => self.owner_gone(&owner, now, out),
            Event::BackendGone { repo, generation } => {
                self.backend_gone(&repo, generation, now, out);
            }
            Event::BranchSwitched { worktree, from, to } => {
                self.branch_switched(&worktree, &from, &to, now, out);
            }
            Event::Force { key, by } => self.revoke(&key, &Why::Forced { by }, now, out),
            Event::Restore(restored) => self.restore(restored, now, out),
            Event::Tick => {}
        }
        // What the event freed is given on before the limits are looked at: who can be served is not
        // refused for being served late.
        self.pump(now, out);
        if self.expire(now, out) {
            self.pump(now, out);
        }
        effects
    }

    /// Whether a write of this owner under this fence may (still) be done.
    pub fn is_current(&self, key: &LeaseKey, owner: &OwnerId, fence: u64) -> bool {
        self.held(key).is_some_and(|held| {
            (held.secured || held.used) && held.fence == fence && held.owner == *owner
        })
    }

    /// Who holds the lease of a branch, and under which fence, be it on record yet or not.
    pub fn holder(&self, key: &LeaseKey) -> Option<(&OwnerId, u64)> {
        self.held(key).map(|held| (&held.owner, held.fence))
    }

    /// Whether nothing is held and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.calls.is_empty()
    }

    fn held(&self, key: &LeaseKey) -> Option<&Held> {
        self.lanes.get(key)?.held.as_ref()
    }

    /// Calls of one owner on one branch, as they were asked.
    fn calls_of<'a>(
        &'a self,
        owner: &'a OwnerId,
        key: &'a LeaseKey,
    ) -> impl Iterator<Item = (u64, &'a Call)> {
        self.calls
            .iter()
            .filter(|(_, call)| call.is(owner, key))
            .map(|(number, call)| (*number, call))
    }
}

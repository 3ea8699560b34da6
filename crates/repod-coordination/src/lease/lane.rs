//! One branch: who holds it, and who stands in line.

use super::OwnerId;
use std::collections::VecDeque;

#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) held: Option<Held>,
    /// Owners, each once. One is in line exactly while calls of it wait for a lease it doesn't hold.
    pub(super) line: VecDeque<InLine>,
}

#[derive(Clone, Debug)]
pub(super) struct InLine {
    pub(super) owner: OwnerId,
    pub(super) since: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) owner: OwnerId,
    pub(super) fence: u64,
    pub(super) since: u64,
    pub(super) mode: Mode,
    /// On record, and the lock file locked. Until then nobody is answered.
    pub(super) secured: bool,
    /// Who has the lock file.
    pub(super) blocked_by: Option<String>,
    /// Whether a call ever ran under it. One that nobody used is not kept to the end of the turn.
    pub(super) used: bool,
    /// When a call of it ended, or its owner was asked after, last.
    pub(super) quiet_since: u64,
}

/// How long it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To the end of the turn.
    Turn,
    /// As long as its owner has calls.
    Calls,
    /// Its turn has ended, calls are out, and each of them has a last moment. New calls of the owner
    /// stand in line if there is one.
    Closing,
}

impl Lane {
    pub(super) fn place(&self, owner: &OwnerId) -> Option<usize> {
        self.line.iter().position(|waiter| waiter.owner == *owner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none() && self.line.is_empty()
    }

    /// Whether the owner may go on without standing in line.
    pub(super) fn lets_pass(&self, owner: &OwnerId) -> bool {
        self.held.as_ref().is_some_and(|held| {
            held.owner == *owner && (held.mode != Mode::Closing || self.line.is_empty())
        })
    }
}

//! `[policy]`: who writes where, as the user wants it.

use super::History;
use std::time::Duration;
use toml::Value;

/// `[policy]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// What a write call does while another session has its branch.
    pub(crate) write_conflict: Conflict,
    /// How long it waits then.
    pub(crate) write_wait: Duration,
    /// What becomes of a write in another repo.
    pub(crate) cross_repo: CrossRepo,
    /// What becomes of a command that plainly writes in another repo.
    pub(crate) bash_guard: BashGuard,
}

/// Whether sessions may write in other repos, through those repos' backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrossRepo {
    Allow,
    /// A person is asked each time.
    Ask,
    Deny,
}

/// What becomes of a command that plainly writes in another repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BashGuard {
    /// That repo's backend runs it, if all of it belongs there.
    Route,
    Refuse,
    /// It runs where it is, under the other branch's lease, and is recorded.
    Observe,
}

/// What to do while somebody else has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    Wait,
    Refuse,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            write_conflict: Conflict::Wait,
            write_wait: Duration::from_mins(2),
            cross_repo: CrossRepo::Allow,
            bash_guard: BashGuard::Route,
        }
    }
}

/// The words a setting is written in.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

pub(super) const HISTORY: Words<History> =
    Words(&[("adopt", History::Adopt), ("fresh", History::Fresh)]);
pub(super) const CONFLICT: Words<Conflict> =
    Words(&[("wait", Conflict::Wait), ("refuse", Conflict::Refuse)]);
pub(super) const CROSS_REPO: Words<CrossRepo> =
    Words(&[("allow", CrossRepo::Allow), ("ask", CrossRepo::Ask), ("deny", CrossRepo::Deny)]);
pub(super) const BASH_GUARD: Words<BashGuard> = Words(&[
    ("route", BashGuard::Route),
    ("refuse", BashGuard::Refuse),
    ("observe", BashGuard::Observe),
]);

impl<T: Copy + PartialEq> Words<T> {
    pub(super) fn put(&self, value: &Value, place: &mut T) -> Result<(), String> {
        let word = value.as_str();
        let found = self.0.iter().find(|(name, _)| Some(*name) == word);
        let all: Vec<_> = self.0.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        *place = found.ok_or_else(|| format!("must be one of {}", all.join(", ")))?.1;
        Ok(())
    }

    pub(super) fn show(&self, value: T) -> serde_json::Value {
        self.0.iter().find(|(_, known)| *known == value).map(|(name, _)| *name).into()
    }
}

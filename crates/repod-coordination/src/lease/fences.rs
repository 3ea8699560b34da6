//! The last fence number of every branch, in bounded memory.
//!
//! When there are too many, the lowest is forgotten and becomes the *floor*: a branch without a
//! number of its own goes on from there. So a number may jump, but for no branch does it ever fall.

use super::LeaseKey;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(super) struct Fences {
    last: BTreeMap<LeaseKey, u64>,
    floor: u64,
}

impl Fences {
    pub(super) fn last(&self, key: &LeaseKey) -> u64 {
        self.last.get(key).copied().unwrap_or(self.floor)
    }

    /// The number of the next grant.
    pub(super) fn next(&mut self, key: &LeaseKey, bound: usize) -> u64 {
        let fence = self.last(key) + 1;
        self.note(key, fence, bound);
        fence
    }

    /// A grant of this number was heard of.
    pub(super) fn note(&mut self, key: &LeaseKey, fence: u64, bound: usize) {
        if fence <= self.last(key) {
            return;
        }
        self.last.insert(key.clone(), fence);
        while self.last.len() > bound.max(1) {
            let lowest =
                self.last.iter().filter(|(other, _)| *other != key).min_by_key(|(_, f)| **f);
            let Some((lowest, fence)) = lowest.map(|(key, fence)| (key.clone(), *fence)) else {
                return;
            };
            self.last.remove(&lowest);
            self.floor = self.floor.max(fence);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.last.len()
    }
}

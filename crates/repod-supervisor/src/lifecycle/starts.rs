//! How often it was started lately, and how long to wait before the next start.

use std::collections::VecDeque;

/// So many starts within [`WINDOW_MS`], the last of them in vain, park a repo.
pub const MAX_STARTS: usize = 5;

/// The window, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;

/// A backend that was ready for so long, in milliseconds, has nothing to do with its earlier starts.
pub const STABLE_MS: u64 = 60_000;

/// The delay before the second restart in a row, in milliseconds; it doubles from there.
const FIRST_DELAY_MS: u64 = 500;

/// No delay is longer, in milliseconds.
const LONGEST_DELAY_MS: u64 = 30_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    at: VecDeque<u64>,
    came_down: u32,
}

impl Starts {
    /// Notes a start.
    pub(super) fn note(&mut self, now: u64) {
        self.at.push_back(now);
        // The window ends at the latest start, not at its failure: a start that takes long to fail
        // must not push the others out.
        while self.at.front().is_some_and(|at| now.saturating_sub(*at) >= WINDOW_MS) {
            self.at.pop_front();
        }
    }

    pub(super) fn recent(&self, now: u64) -> u32 {
        let recent = self.at.iter().filter(|at| now.saturating_sub(**at) < WINDOW_MS).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    pub(super) fn are_used_up(&self) -> bool {
        self.at.len() >= MAX_STARTS
    }

    /// It came down (again): how long to wait before the next start, in milliseconds.
    pub(super) fn came_down(&mut self) -> u64 {
        let before = self.came_down;
        self.came_down = before.saturating_add(1);
        match before {
            0 => 0,
            n => FIRST_DELAY_MS.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_DELAY_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_the_delay_then_doubles_up_to_a_bound() {
        let mut starts = Starts::default();
        let delays: Vec<u64> = (0..9).map(|_| starts.came_down()).collect();
        assert_eq!(delays, [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn only_starts_within_one_window_add_up() {
        let mut starts = Starts::default();
        for now in [0, 15_000, 30_000, 45_000, 60_000] {
            starts.note(now);
        }
        assert!(!starts.are_used_up(), "the first one is 60 s old");
        starts.note(61_000);
        assert!(starts.are_used_up());
        assert_eq!(starts.recent(61_000), 5);
        assert_eq!(starts.recent(104_999), 3);
    }
}

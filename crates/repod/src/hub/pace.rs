//! How many events came just now: a count for each of the last seconds.

use std::time::Instant;

/// Seconds looked back.
const SECONDS: usize = 10;
const WINDOW: u64 = SECONDS as u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    born: Instant,
    /// The second counted last.
    last: u64,
    seconds: [u32; SECONDS],
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), last: 0, seconds: [0; SECONDS] }
    }

    /// One event now.
    pub(super) fn count(&mut self) {
        self.count_at(self.born.elapsed().as_secs());
    }

    /// Those of the last seconds.
    pub(super) fn recent(&self) -> u64 {
        self.recent_at(self.born.elapsed().as_secs())
    }

    fn count_at(&mut self, second: u64) {
        for passed in (self.last + 1..=second).take(self.seconds.len()) {
            *self.slot(passed) = 0;
        }
        self.last = second;
        let slot = self.slot(second);
        *slot = slot.saturating_add(1);
    }

    /// Seconds in which nothing came are not in the books: what is there is older by as many.
    fn recent_at(&self, second: u64) -> u64 {
        let passed = second.saturating_sub(self.last);
        let still = WINDOW.saturating_sub(passed).min(self.last + 1);
        (0..still).map(|ago| u64::from(self.seconds[index(self.last - ago)])).sum()
    }

    fn slot(&mut self, second: u64) -> &mut u32 {
        &mut self.seconds[index(second)]
    }
}

fn index(second: u64) -> usize {
    (second % WINDOW) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_number_of_events_of_the_last_seconds(
            steps in prop::collection::vec(0u64..15, 0..100),
            later in 0u64..20,
        ) {
            let mut pace = Pace::new();
            let mut now = 0;
            let mut all = Vec::new();
            for step in steps {
                now += step;
                pace.count_at(now);
                all.push(now);
            }
            now += later;
            let expected = all.iter().filter(|at| **at + WINDOW > now).count();
            prop_assert_eq!(pace.recent_at(now), expected as u64);
        }
    }
}

//! Whether memory grows steadily: a pure structure that is fed samples and says so.
//!
//! The slope is Theil and Sen's: the median over all pairs of samples. A garbage collector's saw
//! teeth, one large step (a language server that starts) or a few wild samples do not move it, where a
//! line of least squares would follow them. It is a leak when nearly all pairs agree that it
//! grows, and the growth is large, absolutely and in proportion.
//!
//! Two windows are looked at: one of the last minutes, and one of the last two hours for what leaks slowly.
//! For that, the least of each stretch of five minutes counts: what a collector could not free.

use repod_proto::Growth;
use std::collections::VecDeque;
use std::time::Duration;

/// Samples looked at together: at one every 10 s, 4 minutes.
const WINDOW: usize = 24;
/// What becomes one sample of the long window: 24 of them are two hours.
const STRETCH: f64 = 300.0;
/// The first samples of a generation are its start, not a trend.
const WARM_UP: usize = 5;
/// The least growth over a window that is worth a word, in bytes and as a part of what was there.
const LEAST: f64 = 48.0 * 1024.0 * 1024.0;
const LEAST_PART: f64 = 0.1;
/// How many of the pairs must agree, of 100. A single step reaches about half.
const AGREE: usize = 80;

/// The recent memory of one generation of a backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Trend {
    seen: usize,
    short: Window,
    long: Window,
    /// When the stretch began that is being seen, and its least.
    stretch: Option<(f64, u64)>,
    growth: Option<Growth>,
}

/// Seconds and bytes, oldest first.
#[derive(Clone, Debug, Default)]
struct Window(VecDeque<(f64, f64)>);

impl Trend {
    /// Takes the next sample; samples come in the order of time. The answer stays until most of what
    /// was added has been given back: growth that has merely paused is still held.
    pub(super) fn push(&mut self, at: Duration, bytes: u64) -> Option<Growth> {
        self.seen += 1;
        if self.seen <= WARM_UP {
            return None;
        }
        let at = at.as_secs_f64();
        self.short.push(at, bytes);
        let is_told = self.stretched(at, bytes);
        self.growth = match self.growth {
            Some(growth) => still(growth, bytes),
            None => self.short.judge().or_else(|| {
                let judged = is_told.then(|| self.long.judge()).flatten();
                judged.filter(|_| !self.long.slows_down())
            }),
        };
        self.growth
    }

    /// Whether a stretch has ended.
    fn stretched(&mut self, at: f64, bytes: u64) -> bool {
        let (since, least) = self.stretch.map_or((at, bytes), |(at, least)| (at, least.min(bytes)));
        let is_over = at - since >= STRETCH;
        self.stretch = (!is_over).then_some((since, least));
        if is_over {
            self.long.push(at, least);
        }
        is_over
    }
}

impl Window {
    fn push(&mut self, at: f64, bytes: u64) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back((at, to_float(bytes)));
    }

    /// Whether it grew far less lately than before: what fills its caches does, what leaks does not.
    fn slows_down(&self) -> bool {
        let at = |n: usize| self.0.get(n).map_or(0.0, |(_, bytes)| *bytes);
        let (half, end) = (self.0.len() / 2, self.0.len().saturating_sub(1));
        at(end) - at(half) < (at(half) - at(0)) / 2.0
    }

    fn judge(&self) -> Option<Growth> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        if self.0.len() < WINDOW {
            return None;
        }
        let mut slopes = slopes(&self.0);
        let up = slopes.iter().filter(|slope| **slope > 0.0).count();
        let slope = median(&mut slopes)?;
        let added = slope * (last.0 - first.0);
        let is_leak = up * 100 >= slopes.len() * AGREE
            && added >= LEAST
            && added >= LEAST_PART * first.1
            && last.1 > first.1;
        is_leak.then(|| Growth {
            bytes_per_hour: to_whole(slope * 3600.0),
            from_bytes: to_whole(first.1),
            grown_bytes: to_whole(last.1 - first.1),
        })
    }
}

fn still(growth: Growth, bytes: u64) -> Option<Growth> {
    let now = bytes.saturating_sub(growth.from_bytes);
    (now >= growth.grown_bytes / 2)
        .then(|| Growth { grown_bytes: now.max(growth.grown_bytes), ..growth })
}

/// The slopes between all pairs, in bytes a second; pairs of one instant say nothing.
fn slopes(window: &VecDeque<(f64, f64)>) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(window.len() * window.len() / 2);
    for (index, a) in window.iter().enumerate() {
        for b in window.iter().skip(index + 1).filter(|b| b.0 > a.0) {
            slopes.push((b.1 - a.1) / (b.0 - a.0));
        }
    }
    slopes
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (_, value, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*value)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^53")]
fn to_float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and negative ones were ruled out"
)]
fn to_whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const EVERY: u64 = 10;

    /// When it is flagged first: seconds after the first sample.
    fn flagged(samples: impl IntoIterator<Item = u64>) -> Option<u64> {
        let mut trend = Trend::default();
        let mut samples = (0_u64..).zip(samples);
        samples.find_map(|(n, bytes)| {
            trend.push(Duration::from_secs(n * EVERY), bytes).map(|_| n * EVERY)
        })
    }

    #[test]
    fn a_single_step_up_is_no_leak_wherever_it_falls_in_the_window() {
        for step in 0..60_u64 {
            let one = (0..90_u64).map(|n| if n < step { 300 * MIB } else { 1500 * MIB });
            assert_eq!(flagged(one), None, "{step}");
        }
    }

    #[test]
    fn what_leaks_slowly_is_flagged_within_three_hours_and_what_works_all_day_is_not() {
        // 100 MiB an hour below the saw teeth of a collector.
        let teeth = |n: u64| n % 7 * 8 * MIB;
        let leaks = (0..1080_u64).map(|n| 300 * MIB + n * 100 * MIB / 360 + teeth(n));
        let at = flagged(leaks).unwrap();
        assert!((7200..10_800).contains(&at), "{at}");
        let works = (0..8640_u64).map(|n| 300 * MIB + teeth(n) + n % 350 / 50 * 20 * MIB);
        assert_eq!(flagged(works), None);
        let warms_up =
            (0..8640_u64).map(|n| (300 + 200_u64.saturating_sub(60_000 / (n + 300))) * MIB);
        assert_eq!(flagged(warms_up), None);
    }

    #[test]
    fn growth_that_is_given_back_is_forgotten_and_growth_that_pauses_is_not() {
        let mut trend = Trend::default();
        let mut push = |n: u64, mib: u64| trend.push(Duration::from_secs(n * EVERY), mib * MIB);
        let grown = (0..40).filter_map(|n| push(n, 300 + 10 * n)).last().unwrap();
        assert!(grown.grown_bytes > 200 * MIB, "{grown:?}");
        assert!((40..80).all(|n| push(n, 690).is_some()));
        assert_eq!(push(80, 320), None);
    }

    proptest! {
        #[test]
        fn what_grows_by_more_than_the_floor_is_flagged_within_five_minutes(
            base in 100_u64..2000, rate in 1_u64..200, noise in prop::collection::vec(0_u64..100, 60),
        ) {
            // The least that is flagged: the floor and the tenth, whichever is more, in a window.
            let needed = (base * MIB / 10).max(48 * MIB) / 22 + MIB;
            let step = needed + rate * MIB / 10;
            let grows = (0..60_u64).zip(&noise);
            let grows = grows.map(|(n, noise)| base * MIB + n * step + noise * step / 100);
            let at = flagged(grows);
            prop_assert!(at.is_some_and(|at| at <= 300), "{at:?}");
        }

        #[test]
        fn what_goes_up_and_down_about_a_level_is_never_flagged(
            base in 100_u64..2000, noise in prop::collection::vec(0_u64..20, 200),
        ) {
            let level = noise.iter().map(|n| base * MIB + n * base * MIB / 100);
            // Two hundred samples hold no window that rises for four minutes by chance.
            prop_assert_eq!(flagged(level), None);
        }

        #[test]
        fn what_shrinks_is_never_flagged(
            base in 1000_u64..2000, steps in prop::collection::vec(0_u64..10, 100),
        ) {
            let mut at = base;
            let shrinks: Vec<_> =
                steps.iter().map(|step| { at = at.saturating_sub(*step); at * MIB }).collect();
            prop_assert_eq!(flagged(shrinks), None);
        }

        #[test]
        fn a_few_wild_samples_change_nothing(
            wild in prop::collection::btree_map(5_usize..29, 0_u64..64_000, 0..2),
        ) {
            let grows = (0..29_usize).map(|n| {
                wild.get(&n).map_or((300 + 10 * n as u64) * MIB, |wild| wild * MIB)
            });
            let level = (0..90_usize).map(|n| {
                wild.get(&n).map_or(300 * MIB, |wild| wild * MIB)
            });
            prop_assert_eq!(flagged(level), None);
            // The first and the last of a window may be the wild ones; then it takes one more.
            let more = (29..32_usize).map(|n| (300 + 10 * n as u64) * MIB);
            prop_assert!(flagged(grows.chain(more)).is_some());
        }

        #[test]
        fn no_order_of_any_sizes_panics(sizes in prop::collection::vec(any::<u64>(), 0..80)) {
            flagged(sizes);
        }
    }
}

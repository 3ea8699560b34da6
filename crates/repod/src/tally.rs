//! What a room keeps of what it does, for the metrics: counts and durations by one label whose values
//! are all known beforehand. Each room owns its own; nothing here is shared by name.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Instant;

/// From half a millisecond, which a warm answer takes, to a start behind many others.
const BOUNDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0,
];

/// A label: its name, and every value it can have.
pub(crate) trait Label: Copy + 'static {
    const NAME: &'static str;
    const ALL: &'static [Self];

    /// The value as it is written.
    fn text(self) -> Cow<'static, str>;
}

/// Makes a label of an enum: `Warm = "warm"`.
macro_rules! label {
    ($(#[doc = $about:literal])+ $Name:ident, $name:literal:
        $($(#[doc = $doc:literal])+ $Variant:ident = $text:literal;)+) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $Name {
            $($(#[doc = $doc])+ $Variant,)+
        }

        impl $crate::tally::Label for $Name {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$Variant,)+];

            fn text(self) -> std::borrow::Cow<'static, str> {
                match self { $(Self::$Variant => $text,)+ }.into()
            }
        }
    };
}

pub(crate) use label;

/// The one label of a series.
pub(crate) type By = [(&'static str, Cow<'static, str>); 1];

pub(crate) type Counters = Family<By, Counter>;
pub(crate) type Histograms = Family<By, Histogram, fn() -> Histogram>;

fn by<L: Label>(value: L) -> By {
    [(L::NAME, value.text())]
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

/// How often something happened. Every value is there from the start, with 0.
pub(crate) struct Tally<L>(Counters, PhantomData<L>);

impl<L: Label> Default for Tally<L> {
    fn default() -> Self {
        let counters = Counters::default();
        for value in L::ALL {
            drop(counters.get_or_create(&by(*value)));
        }
        Self(counters, PhantomData)
    }
}

impl<L: Label> Tally<L> {
    pub(crate) fn count(&self, value: L) {
        self.0.get_or_create(&by(value)).inc();
    }

    /// The counters themselves, which go on counting.
    pub(crate) fn counters(&self) -> Counters {
        self.0.clone()
    }
}

/// How long something took, and by that how often it happened.
pub(crate) struct Timings<L>(Histograms, PhantomData<L>);

impl<L: Label> Default for Timings<L> {
    fn default() -> Self {
        let histograms = Histograms::new_with_constructor(histogram as fn() -> Histogram);
        for value in L::ALL {
            drop(histograms.get_or_create(&by(*value)));
        }
        Self(histograms, PhantomData)
    }
}

impl<L: Label> Timings<L> {
    /// Begins to measure. If it is never said how it ended, because whoever waited has left, it ended
    /// like this.
    pub(crate) fn begin(&self, otherwise: L) -> Timing<'_, L> {
        Timing { timings: self, begun: Instant::now(), end: otherwise }
    }

    pub(crate) fn histograms(&self) -> Histograms {
        self.0.clone()
    }
}

/// Something that goes on; measured when this is dropped.
pub(crate) struct Timing<'a, L: Label> {
    timings: &'a Timings<L>,
    begun: Instant,
    end: L,
}

impl<L: Label> Timing<'_, L> {
    pub(crate) fn end(mut self, how: L) {
        self.end = how;
    }
}

impl<L: Label> Drop for Timing<'_, L> {
    fn drop(&mut self) {
        let took = self.begun.elapsed().as_secs_f64();
        self.timings.0.get_or_create(&by(self.end)).observe(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    label! {
        /// How it went.
        How, "how":
        /// Well.
        Well = "well";
        /// Badly.
        Badly = "badly";
    }

    #[test]
    fn every_value_is_there_and_what_is_given_up_is_measured_too() {
        let (tally, timings) = (Tally::<How>::default(), Timings::<How>::default());
        tally.count(How::Well);
        timings.begin(How::Badly).end(How::Well);
        drop(timings.begin(How::Badly));
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register("n", "x", tally.counters());
        registry.register("t", "x", timings.histograms());
        encode(&mut text, &registry).unwrap();
        for line in [
            "n_total{how=\"well\"} 1",
            "n_total{how=\"badly\"} 0",
            "t_count{how=\"well\"} 1",
            "t_bucket{le=\"+Inf\",how=\"badly\"} 1",
        ] {
            assert!(text.contains(line), "no `{line}` in {text}");
        }
    }
}

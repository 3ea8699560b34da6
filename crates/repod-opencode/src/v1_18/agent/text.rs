//! One part's text as it grows: by deltas, by snapshots, by both. What comes out, joined, is the
//! part's text without tags; what was said is never said again.

use super::tags::{Stripper, strip};

/// One text or reasoning part.
#[derive(Debug, Default)]
pub(super) struct Growing {
    /// Bytes taken in, tags and all, and what they add up to: enough to know whether a snapshot goes
    /// on where the deltas have come to, without keeping them.
    taken: usize,
    sum: Fnv,
    stripper: Stripper,
    /// Something of it was given out.
    shown: bool,
    /// Its final form was seen.
    is_final: bool,
}

/// What is to be said now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grown {
    pub(super) text: String,
    pub(super) replace: bool,
}

impl Growing {
    /// Its final form was seen.
    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    /// It grew by this.
    pub(super) fn delta(&mut self, tags: &[String], piece: &str) -> Option<Grown> {
        if self.is_final {
            return None;
        }
        self.take(tags, piece, false)
    }

    /// It is this so far; nothing more comes once it is `is_final`.
    pub(super) fn snapshot(&mut self, tags: &[String], text: &str, last: bool) -> Option<Grown> {
        let was_final = self.is_final;
        self.is_final |= last;
        let goes_on = text.as_bytes().get(..self.taken);
        if goes_on.is_some_and(|begin| Fnv::of(begin) == self.sum)
            && text.is_char_boundary(self.taken)
        {
            return self.take(tags, &text[self.taken..], last);
        }
        // One that lags behind the deltas, as each does that isn't the last.
        if !last && (was_final || text.len() < self.taken) {
            return None;
        }
        let mut fresh = Self { is_final: self.is_final, ..Self::default() };
        let grown = fresh.take(tags, text, last);
        let (replace, text) = (self.shown, grown.map(|grown| grown.text).unwrap_or_default());
        fresh.shown = replace || !text.is_empty();
        *self = fresh;
        self.shown.then_some(Grown { text, replace })
    }

    /// The part was taken back.
    pub(super) fn removed(&mut self) -> Option<Grown> {
        let shown = self.shown;
        *self = Self { is_final: true, ..Self::default() };
        shown.then(|| Grown { text: String::new(), replace: true })
    }

    fn take(&mut self, tags: &[String], piece: &str, last: bool) -> Option<Grown> {
        self.taken += piece.len();
        self.sum.add(piece.as_bytes());
        let mut text = String::with_capacity(piece.len());
        self.stripper.push(tags, piece, &mut text);
        if last {
            self.stripper.finish(&mut text);
        }
        self.shown |= !text.is_empty();
        (!text.is_empty()).then_some(Grown { text, replace: false })
    }
}

/// A part's whole text, as it is shown.
pub(super) fn whole(tags: &[String], text: &str) -> String {
    strip(tags, text)
}

/// FNV-1a: the same sum whatever the pieces, which no hasher of the standard library promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn of(bytes: &[u8]) -> Self {
        let mut sum = Self::default();
        sum.add(bytes);
        sum
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Vec<String> {
        vec!["t".into()]
    }

    fn more(text: &str) -> Option<Grown> {
        Some(Grown { text: text.into(), replace: false })
    }

    fn instead(text: &str) -> Option<Grown> {
        Some(Grown { text: text.into(), replace: true })
    }

    #[test]
    fn what_was_streamed_is_not_repeated_when_the_final_form_comes() {
        let (mut part, tags) = (Growing::default(), tags());
        assert_eq!(part.snapshot(&tags, "", false), None);
        assert_eq!(part.delta(&tags, "hello "), more("hello "));
        assert_eq!(part.snapshot(&tags, "", false), None);
        assert_eq!(part.delta(&tags, "wor<t>x"), more("wor"));
        assert_eq!(part.delta(&tags, "</t>l"), more("l"));
        assert_eq!(part.snapshot(&tags, "hello wor<t>x</t>ld<", true), more("d<"));
        assert_eq!(part.snapshot(&tags, "hello wor<t>x</t>ld<", true), None);
        assert_eq!(part.delta(&tags, "late"), None);
    }

    #[test]
    fn a_final_form_that_is_another_replaces() {
        let (mut part, tags) = (Growing::default(), tags());
        assert_eq!(part.delta(&tags, "abc"), more("abc"));
        assert_eq!(part.snapshot(&tags, "ab", true), instead("ab"));
        assert_eq!(part.snapshot(&tags, "", true), instead(""));
        assert_eq!(part.snapshot(&tags, "abc", true), more("abc"));
        assert_eq!(part.removed(), instead(""));
        let mut held = Growing::default();
        assert_eq!(held.delta(&tags, "<t>"), None);
        assert_eq!(held.snapshot(&tags, "new", true), more("new"));
    }

    #[test]
    fn a_stream_of_snapshots_is_a_stream_of_pieces() {
        let (mut part, tags) = (Growing::default(), tags());
        assert_eq!(part.snapshot(&tags, "é", false), more("é"));
        assert_eq!(part.snapshot(&tags, "éa", false), more("a"));
        assert_eq!(part.snapshot(&tags, "é", false), None);
        assert_eq!(part.snapshot(&tags, "éab", true), more("b"));
    }
}

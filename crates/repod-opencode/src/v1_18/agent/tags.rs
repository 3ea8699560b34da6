//! Takes the tags of plugins out of a text that comes in pieces: `<dcp-message-id>m0001</dcp-message-id>`
//! is meant for the model and its plugin, and for nobody else.

/// Bytes held back until it is known whether they are a tag; a longer one is no tag.
const HELD_MAX: usize = 4 * 1024;

/// Strips tags from the pieces of one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Stripper {
    /// What may be the begin of a tag, or a tag that hasn't ended.
    held: String,
}

impl Stripper {
    /// The piece without tags, as far as it is certain; appended to `out`.
    pub(super) fn push(&mut self, tags: &[String], piece: &str, out: &mut String) {
        if self.held.is_empty() {
            // By far the most pieces have no tag in them.
            let Some(at) = memchr::memchr(b'<', piece.as_bytes()) else {
                out.push_str(piece);
                return;
            };
            out.push_str(&piece[..at]);
            self.held.push_str(&piece[at..]);
        } else {
            self.held.push_str(piece);
        }
        self.settle(tags, out);
    }

    /// The text has ended: what was held back is no tag.
    pub(super) fn finish(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.held));
    }

    fn settle(&mut self, tags: &[String], out: &mut String) {
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_str();
        while let Some(at) = memchr::memchr(b'<', rest.as_bytes()) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            match Found::at(tags, rest) {
                Found::Tag(length) if length <= HELD_MAX => rest = &rest[length..],
                Found::Open if rest.len() <= HELD_MAX => {
                    rest.clone_into(&mut self.held);
                    return;
                }
                Found::Tag(_) | Found::Open | Found::Nothing => {
                    out.push('<');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
    }
}

/// A whole text without its tags.
pub(super) fn strip(tags: &[String], text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut stripper = Stripper::default();
    stripper.push(tags, text, &mut out);
    stripper.finish(&mut out);
    out
}

/// What begins at a `<`.
enum Found {
    /// A tag with its content, of this length.
    Tag(usize),
    /// What may become one.
    Open,
    Nothing,
}

impl Found {
    fn at(tags: &[String], text: &str) -> Self {
        let mut open = false;
        for tag in tags {
            match Self::tag(tag, text) {
                Self::Nothing => {}
                Self::Open => open = true,
                found @ Self::Tag(_) => return found,
            }
        }
        if open { Self::Open } else { Self::Nothing }
    }

    /// `<tag>…</tag>`, `<tag …>…</tag>` or `<tag …/>`.
    fn tag(tag: &str, text: &str) -> Self {
        let inside = &text[1..];
        if inside.len() <= tag.len() {
            return if tag.starts_with(inside) { Self::Open } else { Self::Nothing };
        }
        let Some(rest) = inside.strip_prefix(tag) else { return Self::Nothing };
        if !rest.starts_with(['>', ' ', '/', '\n', '\t', '\r']) {
            return Self::Nothing;
        }
        let Some(end) = rest.find('>') else { return Self::Open };
        let start = 1 + tag.len() + end + 1;
        if rest[..end].ends_with('/') {
            return Self::Tag(start);
        }
        let close = format!("</{tag}>");
        match text[start..].find(&close) {
            Some(at) => Self::Tag(start + at + close.len()),
            None => Self::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags() -> Vec<String> {
        vec!["dcp-message-id".into(), "dcp".into()]
    }

    #[test]
    fn tags_are_taken_out_and_what_looks_like_one_stays() {
        for (text, expected) in [
            ("a<dcp-message-id>m1</dcp-message-id>b", "ab"),
            ("a<dcp x=\"1\">\n</dcp>b<dcp/>c", "abc"),
            ("if a<b && <dcpx>c</dcpx>", "if a<b && <dcpx>c</dcpx>"),
            ("never closed <dcp>x", "never closed <dcp>x"),
            ("<<dcp>é</dcp>>", "<>"),
            ("</dcp>", "</dcp>"),
            ("ends with <dc", "ends with <dc"),
        ] {
            assert_eq!(strip(&tags(), text), expected, "{text}");
        }
    }

    #[test]
    fn a_tag_that_never_ends_is_not_held_for_ever() {
        let (mut stripper, mut out) = (Stripper::default(), String::new());
        let text = format!("<dcp>{}", "x".repeat(3 * HELD_MAX));
        for piece in text.as_bytes().chunks(100) {
            stripper.push(&tags(), std::str::from_utf8(piece).unwrap(), &mut out);
            assert!(stripper.held.len() <= HELD_MAX);
        }
        stripper.finish(&mut out);
        assert_eq!(out, text);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "<dcp-message-id>", "</dcp-message-id>", "<dcp>", "</dcp>", "<dcp/>", "<", ">",
                    "<d", "dcp", "é", "words ", "\n",
                ]),
                0..20,
            ),
            cuts in prop::collection::vec(1..7usize, 1..20),
        ) {
            let text = pieces.concat();
            let (mut stripper, mut out) = (Stripper::default(), String::new());
            let (mut piece, mut cuts) = (String::new(), cuts.iter().cycle());
            let mut left = *cuts.next().unwrap();
            for letter in text.chars() {
                piece.push(letter);
                left -= 1;
                if left == 0 {
                    stripper.push(&tags(), &piece, &mut out);
                    piece.clear();
                    left = *cuts.next().unwrap();
                }
            }
            stripper.push(&tags(), &piece, &mut out);
            stripper.finish(&mut out);
            prop_assert_eq!(out, strip(&tags(), &text));
        }
    }
}

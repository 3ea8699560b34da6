//! Events are kept in pieces of many lines: a row for every word a model says would be most of the work.
//!
//! Pure: which lines go into one piece, and which pieces are let go when there are too many.

use super::turn::Limits;

/// The most lines in a piece.
const LINES: usize = 256;
/// From so many bytes on a piece takes no further line.
const BYTES: usize = 64 << 10;

/// Lines that are kept in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The number of the first line.
    pub(super) first: u64,
    /// How many there are.
    pub(super) events: u64,
    /// The lines, each with its end.
    pub(super) lines: Vec<u8>,
}

/// A piece by its size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) first: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Cuts lines into pieces. An end of line within one can only be space between JSON's tokens.
pub(super) fn cut(first: u64, lines: &[Vec<u8>]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut count = LINES;
    for (number, line) in (first..).zip(lines) {
        if count == LINES || pieces.last().is_none_or(|piece| piece.lines.len() >= BYTES) {
            pieces.push(Piece { first: number, events: 0, lines: Vec::new() });
            count = 0;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.lines.extend(line.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
            piece.lines.push(b'\n');
            piece.events += 1;
            count += 1;
        }
    }
    pieces
}

/// The lines of a piece with their numbers.
pub(super) fn lines(first: u64, lines: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = lines.strip_suffix(b"\n").map(|lines| lines.split(|byte| *byte == b'\n'));
    (first..).zip(lines.into_iter().flatten())
}

/// Whether so much is more than is kept. A quarter more events than promised are, so that not every piece
/// lets one go; of bytes there are never more.
pub(super) fn is_too_much(events: u64, bytes: u64, limits: Limits) -> bool {
    events > limits.events.saturating_add(limits.events / 4) || bytes > limits.bytes
}

/// Up to which piece (its first line's number) they are let go, the oldest first; and what is left then.
/// The last one never is.
pub(super) fn let_go(pieces: &[Size], limits: Limits) -> Option<(u64, u64, u64)> {
    let mut events: u64 = pieces.iter().map(|piece| piece.events).sum();
    let mut bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    // Down to three quarters of the room, so that it is some time until the next.
    let room = limits.bytes / 4 * 3;
    let mut upto = None;
    for piece in pieces.iter().take(pieces.len().saturating_sub(1)) {
        let dispensable = events - piece.events >= limits.events;
        if !dispensable && bytes <= room {
            break;
        }
        events -= piece.events;
        bytes -= piece.bytes;
        upto = Some(piece.first);
    }
    upto.map(|upto| (upto, events, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_cut_is_read_back_whole(
            first in 1..1_000_000u64,
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..600),
        ) {
            let lines_in: Vec<Vec<u8>> =
                texts.into_iter().map(|text| text.into_iter().filter(|byte| *byte != b'\n').collect()).collect();
            let pieces = cut(first, &lines_in);
            let mut read = Vec::new();
            for piece in &pieces {
                prop_assert!(piece.events >= 1 && piece.events <= LINES as u64);
                let before = read.len() as u64;
                read.extend(lines(piece.first, &piece.lines).map(|(number, line)| (number, line.to_vec())));
                prop_assert_eq!(read.len() as u64 - before, piece.events);
            }
            let expected: Vec<(u64, Vec<u8>)> = (first..).zip(lines_in).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn the_newest_are_kept_within_the_room(
            sizes in prop::collection::vec((1..50u64, 1..5000u64), 1..60),
            events in 1..200u64,
            bytes in 4..60_000u64,
        ) {
            let limits = Limits { events, bytes };
            let mut first = 1;
            let pieces: Vec<Size> = sizes.into_iter().map(|(events, bytes)| {
                let piece = Size { first, events, bytes };
                first += events;
                piece
            }).collect();
            let left = match let_go(&pieces, limits) {
                None => &pieces[..],
                Some((upto, events, bytes)) => {
                    let at = pieces.iter().position(|piece| piece.first == upto).unwrap();
                    let left = &pieces[at + 1..];
                    prop_assert_eq!(left.iter().map(|piece| piece.events).sum::<u64>(), events);
                    prop_assert_eq!(left.iter().map(|piece| piece.bytes).sum::<u64>(), bytes);
                    left
                }
            };
            let total = |of: &[Size]| of.iter().map(|piece| piece.bytes).sum::<u64>();
            prop_assert!(!left.is_empty(), "the newest stays, whatever it takes");
            prop_assert!(left.len() == 1 || total(left) <= limits.bytes, "bytes are a limit");
            let kept: u64 = left.iter().map(|piece| piece.events).sum();
            let all: u64 = pieces.iter().map(|piece| piece.events).sum();
            prop_assert!(kept >= events.min(all) || total(&pieces) > limits.bytes / 4 * 3, "events are a promise");
        }
    }

    #[test]
    fn an_end_of_line_within_a_line_is_space() {
        assert_eq!(
            cut(7, &[b"{\n}".to_vec()]),
            [Piece { first: 7, events: 1, lines: b"{ }\n".to_vec() }]
        );
    }
}

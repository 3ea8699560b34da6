use super::*;
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Vec<Bytes> {
    SseDecoder::new(1024).push(bytes)
}

/// The standard's rules, one byte after the other and without any limit.
fn by_the_book(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (mut lines, mut line, mut after_cr) = (Vec::new(), Vec::new(), false);
    for byte in bytes {
        let was_cr = std::mem::replace(&mut after_cr, *byte == b'\r');
        match byte {
            b'\n' if was_cr => {}
            b'\n' | b'\r' => lines.push(std::mem::take(&mut line)),
            byte => line.push(*byte),
        }
    }
    let (mut events, mut data): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                events.push(std::mem::take(&mut data).join(&b'\n'));
            }
            continue;
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..], &b""[..]),
        };
        if name == b"data" {
            data.push(value.strip_prefix(b" ").unwrap_or(value).to_vec());
        }
    }
    events
}

fn in_pieces(stream: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let mut decoder = SseDecoder::new(1024);
    let (mut events, mut rest) = (Vec::new(), stream);
    for cut in cuts.iter().chain(std::iter::repeat(&7)) {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        events.extend(decoder.push(piece));
        rest = after;
    }
    events
}

#[test]
fn the_forms_of_the_standard_are_read() {
    let stream = b"\xEF\xBB\xBFdata: a\n\n: beat\n\ndata:b\r\ndata: c\r\n\r\nevent: x\nid: 1\n\
        data\n\ndatum: no\n\ndata:  two\r\rdata: cut off";
    assert_eq!(decode(stream), ["a", "b\nc", "", " two"]);
}

#[test]
fn an_event_too_large_is_skipped_alone() {
    let mut decoder = SseDecoder::new(10);
    let events =
        decoder.push(b"data: 0123456789\n\ndata: 1\n\ndata: 1\ndata: 23456\n\ndata: 2\n\n");
    assert_eq!(events, ["1", "2"]);
    assert_eq!(decoder.take_oversized(), 2);
    decoder.push(&[b'x'; 4096]);
    assert!(decoder.line.capacity() + decoder.data.capacity() <= 64);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        texts in prop::collection::vec("[ -~é]{0,40}", 0..12),
        ends in prop::collection::vec(0..3usize, 12),
        cuts in prop::collection::vec(1..9usize, 0..200),
    ) {
        let mut stream = Vec::new();
        for (text, end) in texts.iter().zip(&ends) {
            let end = ["\n", "\r\n", "\r"][*end];
            let lines = format!("data: {text}{end}: note{end}data: more{end}{end}");
            stream.extend_from_slice(lines.as_bytes());
        }
        let expected: Vec<String> = texts.iter().map(|text| format!("{text}\nmore")).collect();
        prop_assert_eq!(&in_pieces(&stream, &cuts), &expected);
        prop_assert_eq!(&decode(&stream), &expected);
    }

    #[test]
    fn any_bytes_are_survived_within_the_bound(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let mut decoder = SseDecoder::new(64);
        for event in decoder.push(&bytes) {
            prop_assert!(event.len() <= 64);
        }
        prop_assert!(decoder.line.len() + decoder.data.len() <= 64 + 1);
    }

    /// Fuzzing with the letters that mean something, in any pieces, against the standard's own rules.
    #[test]
    fn anything_is_read_as_the_standard_says(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                &b"data"[..], b"data:", b"data: ", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"id: 1",
                b"x", b"\xEF\xBB\xBF", b"\xff", b"{}", b"event", b"\0",
            ]),
            0..60,
        ),
        cuts in prop::collection::vec(1..9usize, 0..100),
    ) {
        let stream = pieces.concat();
        let expected = by_the_book(&stream);
        prop_assert_eq!(&decode(&stream), &expected);
        prop_assert_eq!(&in_pieces(&stream, &cuts), &expected);
    }
}

//! Server-sent events, off the wire and onto it. The decoder takes bytes as they come, in any
//! pieces, and holds one event at most.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Turns bytes into the data of events. `event:`, `id:` and comments are left out: OpenCode
/// 1.18.33 sends `data:` alone.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The line that has begun, as far as it came.
    line: Vec<u8>,
    /// The event's data so far, each line with a newline.
    data: Vec<u8>,
    max: usize,
    /// The event was too large: what is left of it is read and thrown away.
    overflowed: bool,
    line_is_empty: bool,
    after_cr: bool,
    at_start: bool,
    /// Events that were larger than `max`.
    pub(super) oversized: u64,
}

impl Decoder {
    /// Events larger than `max` bytes are skipped and counted.
    pub(super) fn new(max: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            max,
            overflowed: false,
            line_is_empty: true,
            after_cr: false,
            at_start: true,
            oversized: 0,
        }
    }

    /// The events that these bytes complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<Bytes> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            // The second half of a line's end; both may come in different pieces.
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.extend_line(bytes);
                break;
            };
            self.extend_line(&bytes[..end]);
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            events.extend(self.end_line());
        }
        events
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.line_is_empty = false;
        if self.line.len() + self.data.len() + bytes.len() > self.max {
            self.overflowed = true;
            (self.line, self.data) = (Vec::new(), Vec::new());
        }
        if !self.overflowed {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) -> Option<Bytes> {
        let is_empty = std::mem::replace(&mut self.line_is_empty, true);
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if is_empty {
            return self.end_event();
        }
        if let Some(value) = line.strip_prefix(b"data") {
            match value {
                [] => self.data.push(b'\n'),
                [b':', value @ ..] => {
                    self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                    self.data.push(b'\n');
                }
                _ => {}
            }
        }
        // Kept for the next line: most lines are about as long as the one before.
        line.clear();
        if line.capacity() <= 64 * 1024 {
            self.line = line;
        }
        None
    }

    fn end_event(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.overflowed) {
            self.oversized += 1;
            return None;
        }
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        Some(Bytes::from(data))
    }
}

/// An event for the wire: an id and one line of data.
pub(super) fn encode(id: &str, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(id.len() + data.len() + 14);
    frame.put_slice(b"id: ");
    frame.put_slice(id.as_bytes());
    frame.put_slice(b"\ndata: ");
    frame.put_slice(data);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

/// An event that is not numbered.
pub(super) fn encode_plain(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// A line for people and logs; clients skip it.
pub(super) fn comment(text: &str) -> Bytes {
    Bytes::from(format!(": repod: {text}\n\n"))
}

/// JSON on one line. A line's end is only ever white space in JSON.
pub(super) fn one_line(data: Bytes) -> Bytes {
    if !data.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return data;
    }
    let spaced = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    data.iter().map(spaced).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Vec<Bytes> {
        Decoder::new(1024).push(bytes)
    }

    #[test]
    fn the_forms_of_the_standard_are_read() {
        let stream = b"\xEF\xBB\xBFdata: a\n\n: beat\n\ndata:b\r\ndata: c\r\n\r\nevent: x\nid: 1\n\
            data\n\ndatum: no\n\ndata:  two\r\rdata: cut off";
        assert_eq!(decode(stream), ["a", "b\nc", "", " two"]);
    }

    #[test]
    fn an_event_too_large_is_skipped_alone() {
        let mut decoder = Decoder::new(10);
        let events =
            decoder.push(b"data: 0123456789\n\ndata: 1\n\ndata: 1\ndata: 23456\n\ndata: 2\n\n");
        assert_eq!(events, ["1", "2"]);
        assert_eq!(decoder.oversized, 2);
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
            let mut decoder = Decoder::new(1024);
            let (mut events, mut rest) = (Vec::new(), stream.as_slice());
            for cut in cuts.iter().chain(std::iter::repeat(&7)) {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                events.extend(decoder.push(piece));
                rest = after;
            }
            let expected: Vec<String> =
                texts.iter().take(12).map(|text| format!("{text}\nmore")).collect();
            prop_assert_eq!(&events, &expected);
        }

        #[test]
        fn any_bytes_are_survived_within_the_bound(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::new(64);
            for event in decoder.push(&bytes) {
                prop_assert!(event.len() <= 64);
            }
            prop_assert!(decoder.line.len() + decoder.data.len() <= 64 + 1);
        }

        #[test]
        fn what_is_encoded_is_decoded(text in "[ -~]{0,80}") {
            let frame = encode("e-1", text.as_bytes());
            prop_assert_eq!(decode(&frame), [text]);
        }
    }
}

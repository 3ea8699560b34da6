//! Server-sent events off the wire. The decoder takes bytes as they come, in any pieces, and holds
//! one event at most. It is the only one in repod: the hub and the translator read with it.

use bytes::Bytes;
use memchr::memchr2;

/// Turns bytes into the data of events. `event:`, `id:` and comments are left out: OpenCode
/// 1.18.33 sends `data:` alone.
#[derive(Debug)]
pub struct SseDecoder {
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
    oversized: u64,
}

/// What is kept allocated between two events.
const KEPT_MAX: usize = 64 * 1024;

impl SseDecoder {
    /// Events larger than `max` bytes are skipped and counted.
    pub fn new(max: usize) -> Self {
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

    /// Events that were larger than the limit, since this was asked last.
    pub fn take_oversized(&mut self) -> u64 {
        std::mem::take(&mut self.oversized)
    }

    /// The events that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        let mut events = Vec::new();
        self.each(bytes, |event| events.push(Bytes::copy_from_slice(event)));
        events
    }

    /// Gives out the events that these bytes complete. One that lies whole in `bytes` isn't copied.
    pub fn each(&mut self, mut bytes: &[u8], mut give: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            // The second half of a line's end; both may come in different pieces.
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.extend_line(bytes);
                break;
            };
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if let Some(data) = self.whole(line)
                && bytes[end] == b'\n'
                && rest.first() == Some(&b'\n')
            {
                give(data);
                bytes = &rest[1..];
                continue;
            }
            self.extend_line(line);
            self.after_cr = bytes[end] == b'\r';
            bytes = rest;
            self.end_line(&mut give);
        }
    }

    /// The data in a line before which the event has nothing.
    fn whole<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let is_first = self.line_is_empty && self.data.is_empty() && !self.overflowed;
        if !is_first || line.len() > self.max {
            return None;
        }
        let value = line.strip_prefix(b"data:")?;
        self.at_start = false;
        Some(value.strip_prefix(b" ").unwrap_or(value))
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

    fn end_line(&mut self, give: &mut impl FnMut(&[u8])) {
        let is_empty = std::mem::replace(&mut self.line_is_empty, true);
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if is_empty {
            return self.end_event(give);
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
        if line.capacity() <= KEPT_MAX {
            self.line = line;
        }
    }

    fn end_event(&mut self, give: &mut impl FnMut(&[u8])) {
        if std::mem::take(&mut self.overflowed) {
            self.oversized += 1;
            return;
        }
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_some() {
            give(&data);
        }
        data.clear();
        if data.capacity() <= KEPT_MAX {
            self.data = data;
        }
    }
}

#[cfg(test)]
mod tests;

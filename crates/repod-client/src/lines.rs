//! Answers that come line by line.

use crate::call::garbled;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use repod_proto::ApiError;

/// Largest single line: what a tool printed is one.
const LINE_MAX: usize = 64 * 1024 * 1024;

/// Lines of a streamed body.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// How much of it has no line's end.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new(), searched: 0 }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| self.searched + end) {
                self.searched = 0;
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE_MAX {
                return Err(garbled("a line of it is too long"));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(self.rest())),
                Some(Err(error)) => return Err(garbled(&error.to_string())),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }

    fn rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.buffer)
    }
}

//! Server-sent events, pulled: what isn't read stays in the socket, so nothing here can grow.

use super::http::{BOUND, Oc, OcError};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A stream of OpenCode's events. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    call: String,
    body: Incoming,
    buffer: Vec<u8>,
    /// `id:` of the last event read; OpenCode itself sends none, a gateway may.
    last_id: Option<String>,
    /// All bytes as they came, if they are kept.
    tape: Option<Vec<u8>>,
}

impl EventStream {
    pub(super) async fn open(
        oc: &Oc,
        path: &str,
        directory: Option<&Path>,
    ) -> Result<Self, OcError> {
        let call = format!("GET {path}");
        let opened = tokio::time::timeout(BOUND, oc.send("GET", path, directory, None)).await;
        let response =
            opened.map_err(|_| OcError::Timeout { call: call.clone(), bound: BOUND })??;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(OcError::Status { call, status, body: Value::Null });
        }
        let body = response.into_body();
        Ok(Self { call, body, buffer: Vec::new(), last_id: None, tape: None })
    }

    /// Keeps all bytes that come from here on.
    pub fn record(&mut self) {
        self.tape = Some(Vec::new());
    }

    /// What was [recorded](Self::record), and ends the stream.
    pub fn into_tape(self) -> Vec<u8> {
        self.tape.unwrap_or_default()
    }

    /// `id:` of the last event that carried one.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The next event; `None` when the server has ended the stream.
    ///
    /// # Errors
    /// When the connection breaks, or nothing comes within `bound`.
    pub async fn next(&mut self, bound: Duration) -> Result<Option<Value>, OcError> {
        let late = OcError::Timeout { call: self.call.clone(), bound };
        tokio::time::timeout(bound, self.pull()).await.unwrap_or(Err(late))
    }

    /// Skips to the next event that is `wanted`.
    ///
    /// # Errors
    /// When it doesn't come within `bound`; the error names `what`.
    pub async fn next_where(
        &mut self,
        what: &str,
        bound: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, OcError> {
        let deadline = Instant::now() + bound;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left).await {
                Ok(Some(event)) if wanted(&event) => return Ok(event),
                Ok(Some(_)) => {}
                Ok(None) => return Err(OcError::Ended(what.to_owned())),
                Err(OcError::Timeout { .. }) => {
                    return Err(OcError::Timeout { call: what.to_owned(), bound });
                }
                Err(other) => return Err(other),
            }
        }
    }

    async fn pull(&mut self) -> Result<Option<Value>, OcError> {
        loop {
            while let Some(block) = take_block(&mut self.buffer) {
                if let Some(event) = self.parse(&block) {
                    return Ok(Some(event));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(OcError::Http { call: self.call.clone(), source });
                }
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                        self.tape.iter_mut().for_each(|tape| tape.extend_from_slice(data));
                    }
                }
            }
        }
    }

    fn parse(&mut self, block: &str) -> Option<Value> {
        let field = |line: &str, name: &str| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
        };
        if let Some(id) = block.lines().find_map(|line| field(line, "id")) {
            self.last_id = Some(id);
        }
        let data: Vec<String> = block.lines().filter_map(|line| field(line, "data")).collect();
        let event: Value = serde_json::from_str(&data.join("\n")).ok()?;
        Some(unwrapped(event))
    }
}

/// `/global/event` wraps each event; without the wrapping one predicate fits both streams.
fn unwrapped(mut event: Value) -> Value {
    if !event["payload"].is_object() {
        return event;
    }
    let directory = event["directory"].take();
    let mut payload = event["payload"].take();
    payload["directory"] = directory;
    payload
}

fn take_block(buffer: &mut Vec<u8>) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let block: Vec<u8> = buffer.drain(..end + 2).collect();
    Some(String::from_utf8_lossy(&block).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_are_taken_one_by_one() {
        let mut buffer = b"data: 1\n\n: beat\n\ndata: 2".to_vec();
        assert_eq!(take_block(&mut buffer).as_deref(), Some("data: 1\n\n"));
        assert_eq!(take_block(&mut buffer).as_deref(), Some(": beat\n\n"));
        assert_eq!(take_block(&mut buffer), None);
        assert_eq!(buffer, b"data: 2");
    }

    #[test]
    fn a_global_event_is_unwrapped() {
        let event = json!({ "directory": "/r", "payload": { "type": "x" } });
        assert_eq!(unwrapped(event), json!({ "type": "x", "directory": "/r" }));
        assert_eq!(unwrapped(json!({ "type": "y" })), json!({ "type": "y" }));
    }
}

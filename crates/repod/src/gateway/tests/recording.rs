//! A backend that writes down what it gets, and reads it as strictly as can be: what two parsers
//! could read differently must not come out of the gateway at all.

use super::{BOUND, Limits, Stage, Talk, backend};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt as _;

/// What reached the backend.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// Whole requests: method, target and body.
    requests: Vec<String>,
    /// Heads of requests whose body never ended.
    begun: Vec<String>,
    /// What no gateway may send.
    faults: Vec<String>,
}

impl Recorder {
    /// An endpoint before such a backend.
    pub(super) async fn stage(limits: Limits) -> (Stage, Self) {
        let recorder = Self::default();
        let serving = recorder.clone();
        let stage = Stage::within(BOUND, limits).await;
        let (port, _) = backend(move |talk| serving.clone().serve(talk)).await;
        stage.fake.ready(port);
        (stage, recorder)
    }

    /// What came since the last time, one request a line.
    pub(super) fn take(&self) -> String {
        let mut record = self.0.lock().unwrap();
        assert!(record.faults.is_empty(), "{:#?}", record.faults);
        record.begun.clear();
        std::mem::take(&mut record.requests).join(" | ")
    }

    async fn serve(self, mut talk: Talk) {
        let mut bytes = Vec::new();
        loop {
            match whole(&bytes) {
                Ok(Some((text, length))) => {
                    bytes.drain(..length);
                    self.0.lock().unwrap().requests.push(text);
                    talk.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    continue;
                }
                Ok(None) => {}
                Err(fault) => {
                    let text = format!("{fault}: {}", String::from_utf8_lossy(&bytes));
                    self.0.lock().unwrap().faults.push(text);
                    return;
                }
            }
            if talk.stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                break;
            }
        }
        if !bytes.is_empty() {
            self.0.lock().unwrap().begun.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// The first request in there, and where it ends. An error names what is not as it must be.
fn whole(bytes: &[u8]) -> Result<Option<(String, usize)>, &'static str> {
    let Some(head) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..head]).unwrap_or("\0");
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err("a request line of other than three words");
    };
    if !target.starts_with('/') {
        return Err("a target that is no path");
    }
    if text.chars().any(|c| c.is_control() && !"\r\n\t".contains(c)) {
        return Err("a control character");
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or("a line that is no header")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            return Err("a header's name with something odd in it");
        }
        if value.contains(['\r', '\n']) {
            return Err("a bare line end");
        }
        headers.push((name, value));
    }
    let all = |wanted: &str| {
        let found = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    if !matches!(all("host")[..], [host] if host.starts_with("127.0.0.1:")) {
        return Err("not the backend's own `Host`, once");
    }
    if all("authorization") != ["Basic b3BlbmNvZGU6b3du"] {
        return Err("not the backend's own password, once");
    }
    for name in ["trailer", "te", "upgrade", "proxy-authorization", "connection", "keep-alive"] {
        if !all(name).is_empty() {
            return Err("a header that belongs to one connection");
        }
    }
    let start = head + 4;
    let (body, end) = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => (Vec::new(), start),
        ([length], []) => {
            let length = length.parse().map_err(|_| "a length that is none")?;
            let Some(body) = bytes[start..].get(..length) else { return Ok(None) };
            (body.to_vec(), start + length)
        }
        ([], ["chunked"]) => match chunks(bytes, start)? {
            Some(read) => read,
            None => return Ok(None),
        },
        _ => return Err("two ways to read the end of the body"),
    };
    let body = String::from_utf8_lossy(&body);
    let body = if body.is_empty() { String::new() } else { format!(" {body}") };
    Ok(Some((format!("{method} {target}{body}"), end)))
}

/// Chunks without extensions and trailers.
fn chunks(bytes: &[u8], mut at: usize) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap_or_default();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("a chunk's size with something odd in it");
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| "a chunk's size too large")?;
        at += line + 2;
        let Some(rest) = bytes[at..].get(..size + 2) else { return Ok(None) };
        if &rest[size..] != b"\r\n" {
            return Err("a chunk that does not end, or a trailer");
        }
        body.extend_from_slice(&rest[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl Stage {
    /// Says these bytes on a connection of its own; the status of each answer until it is ended.
    pub(super) async fn statuses(&self, raw: &[u8]) -> String {
        let mut talk = self.connect().await;
        // It may be refused while it is still being said.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut talk.stream, raw).await;
        let answers = talk.rest().await;
        let statuses = answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5));
        statuses.collect::<Vec<_>>().join(" ")
    }
}

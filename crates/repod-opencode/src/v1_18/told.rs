//! Events OpenCode did not send: those it sends to each new reader, those a dead backend could
//! not send any more, and those made of its history. The shapes are those of 1.18.33.

use super::event::Ask;
use crate::HistoryRow;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The name a turn that died with its backend ends with.
const INTERRUPTED: &str = "MessageAbortedError";
/// What a person reads of it.
pub const INTERRUPTED_MESSAGE: &str = "interrupted: the backend of this session ended";

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An id in OpenCode's form: 12 hex digits of time and a counter, 14 more characters.
pub fn event_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let time = now_millis().wrapping_mul(0x1000).wrapping_add(counter & 0xfff) & 0xffff_ffff_ffff;
    format!("evt_{time:012x}repod{:09x}", counter & 0xf_ffff_ffff)
}

/// An id for a message in OpenCode's form. It is older than any that OpenCode makes from now on, so that
/// the answers come after it.
pub fn message_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let time = now_millis().wrapping_mul(0x1000) & 0xffff_ffff_ffff;
    format!("msg_{time:012x}repod{:09x}", counter & 0xf_ffff_ffff)
}

/// The time in an OpenCode id, in its own unit (1/4096 ms, 48 bits, wraps every 2.2 years).
fn id_time(id: &str) -> Option<u64> {
    u64::from_str_radix(id.split_once('_')?.1.get(..12)?, 16).ok()
}

/// Whether an id was made at or after this moment (milliseconds since 1970).
pub fn is_since(id: &str, millis: u64) -> bool {
    let Some(made) = id_time(id) else { return true };
    let since = made.wrapping_sub(millis.wrapping_mul(0x1000)) & 0xffff_ffff_ffff;
    since < 1 << 47
}

/// The payload of `server.connected` or `server.heartbeat`.
pub fn server(kind: &str) -> String {
    json!({ "id": event_id(), "type": kind, "properties": {} }).to_string()
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// It is new.
    Add,
    /// It holds something else.
    Change,
    /// It is gone.
    Unlink,
}

/// The payloads that tell of a changed file, as a tool of the backend's own would have sent them.
pub fn file_changed(file: &str, change: FileChange) -> Vec<Value> {
    let event = match change {
        FileChange::Add => "add",
        FileChange::Change => "change",
        FileChange::Unlink => "unlink",
    };
    let payload = |kind: &str, properties: Value| json!({ "id": event_id(), "type": kind, "properties": properties });
    let mut told = Vec::new();
    if change != FileChange::Unlink {
        told.push(payload("file.edited", json!({ "file": file })));
    }
    told.push(payload("file.watcher.updated", json!({ "file": file, "event": event })));
    told
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory.
    pub directory: &'a str,
    /// Its project, where known.
    pub project: Option<&'a str>,
}

impl Place<'_> {
    /// The event as `/global/event` sends it.
    pub fn wrap(&self, payload: &Value) -> String {
        let mut event = json!({ "directory": self.directory });
        if let Some(project) = self.project {
            event["project"] = json!(project);
        }
        event["payload"] = payload.clone();
        event.to_string()
    }

    fn event(&self, kind: &str, properties: &Value) -> String {
        self.wrap(&json!({ "id": event_id(), "type": kind, "properties": properties }))
    }

    /// How a turn ends that died with its backend.
    pub fn interrupted(&self, session: &str) -> [String; 3] {
        let error = self
            .event("session.error", &json!({ "sessionID": session, "error": interrupted_error() }));
        let [status, idle] = self.idle(session);
        [error, status, idle]
    }

    /// A part as it is now.
    pub fn part(&self, session: &str, part: &Value) -> String {
        let properties = json!({ "sessionID": session, "part": part, "time": now_millis() });
        self.event("message.part.updated", &properties)
    }

    /// How any turn ends.
    pub fn idle(&self, session: &str) -> [String; 2] {
        let status = json!({ "sessionID": session, "status": { "type": "idle" } });
        let idle = json!({ "sessionID": session });
        [self.event("session.status", &status), self.event("session.idle", &idle)]
    }

    /// The begin of a turn.
    pub fn busy(&self, session: &str) -> String {
        let status = json!({ "sessionID": session, "status": { "type": "busy" } });
        self.event("session.status", &status)
    }

    /// A request nobody can answer any more.
    pub fn rejected(&self, session: &str, request: &str, what: Ask) -> String {
        match what {
            Ask::Permission => self.event(
                "permission.replied",
                &json!({ "sessionID": session, "requestID": request, "reply": "reject" }),
            ),
            Ask::Question => self
                .event("question.rejected", &json!({ "sessionID": session, "requestID": request })),
        }
    }

    /// An event of the past, as itself and as its `sync` copy.
    pub fn past(&self, row: &HistoryRow) -> [String; 2] {
        let kind = row.kind.rsplit_once('.').map_or(row.kind.as_str(), |(kind, _version)| kind);
        let place = json!({ "directory": self.directory, "project": self.project });
        let place = place.to_string();
        let place = place.trim_end_matches('}').replace(",\"project\":null", "");
        let (id, session, full) = (json!(row.id), json!(row.session), json!(row.kind));
        let (kind, seq, data): (_, _, &RawValue) = (json!(kind), row.seq, &row.data);
        [
            format!(
                r#"{place},"payload":{{"id":{id},"type":{kind},"properties":{data}}}}}"#,
                data = data.get()
            ),
            format!(
                r#"{place},"payload":{{"type":"sync","syncEvent":{{"id":{id},"type":{full},"seq":{seq},"aggregateID":{session},"data":{data}}},"id":{id}}}}}"#,
                data = data.get()
            ),
        ]
    }
}

/// The error of a turn that died with its backend, for events and messages.
pub(super) fn interrupted_error() -> Value {
    json!({ "name": INTERRUPTED, "data": { "message": INTERRUPTED_MESSAGE } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1_18::event::{Event, Kind};

    const HERE: Place<'_> = Place { directory: "/r", project: Some("p") };

    #[test]
    fn ids_have_opencodes_form_and_order() {
        let id = event_id();
        assert_eq!(id.len(), "evt_1fd1f9482001zizHXHzxhV25B1".len());
        assert!(is_since(&id, now_millis() - 1000));
        assert!(!is_since(&id, now_millis() + 60_000));
        assert!(is_since("evt_1fd1f9482001zizHXHzxhV25B1", 1_795_248_067_713));
        assert!(!is_since("evt_1fd1f9482001zizHXHzxhV25B1", 1_795_248_067_715));
    }

    #[test]
    fn what_is_made_can_be_read() {
        for text in HERE.interrupted("ses_1") {
            assert_eq!(Event::parse(text.as_bytes()).unwrap().directory.as_deref(), Some("/r"));
        }
        let text = HERE.rejected("ses_1", "per_1", Ask::Permission);
        let kind = Event::parse(text.as_bytes()).unwrap().kind;
        assert_eq!(kind, Kind::Answered { request: "per_1".into() });
    }

    #[test]
    fn the_past_looks_like_the_present() {
        let row = r#"{"id":"evt_1","aggregate_id":"ses_1","seq":3,"type":"message.updated.1","data":{"a":1}}"#;
        let row: HistoryRow = serde_json::from_str(row).unwrap();
        let [event, sync] = Place { directory: "/a\"}", project: None }.past(&row);
        let event = Event::parse(event.as_bytes()).unwrap();
        assert_eq!(event.directory.as_deref(), Some("/a\"}"));
        let payload = r#"{"id":"evt_1","type":"message.updated","properties":{"a":1}}"#;
        assert_eq!((event.payload, event.id.as_deref()), (payload, Some("evt_1")));
        let sync = Event::parse(sync.as_bytes()).unwrap();
        assert_eq!(sync.kind, Kind::Sync { session: "ses_1".into(), seq: 3 });
        assert_eq!(sync.id.as_deref(), Some("evt_1"));
    }
}

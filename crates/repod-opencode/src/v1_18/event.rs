//! What an event says, as far as routing and bookkeeping need it; the rest stays bytes.
//!
//! `/global/event` sends `{directory, project, payload}`. Every durable event comes twice there:
//! as itself, then as `sync` with its number; both carry the same id. `/event` sends the payload
//! alone, without the `sync` copies.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An event as `/global/event` sends it.
#[derive(Debug)]
pub struct Event<'a> {
    /// The directory it is about.
    pub directory: Option<Cow<'a, str>>,
    /// The project of that directory.
    pub project: Option<Cow<'a, str>>,
    /// The payload's bytes, a slice of what was parsed.
    pub payload: &'a str,
    /// OpenCode's own id.
    pub id: Option<Cow<'a, str>>,
    /// What it means.
    pub kind: Kind<'a>,
}

/// What an event means to a bystander.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// The stream has begun.
    Connected,
    /// The stream is still there.
    Heartbeat,
    /// The durable copy of an event.
    Sync {
        /// Its session.
        session: Cow<'a, str>,
        /// Its number there.
        seq: u64,
    },
    /// A session has a turn in flight, or no longer.
    Status {
        /// The session.
        session: Cow<'a, str>,
        /// Whether a turn is in flight. What is not known to be idle is busy.
        busy: bool,
    },
    /// A part of an answer was stored.
    Part {
        /// Its session.
        session: Cow<'a, str>,
        /// The part.
        part: Cow<'a, str>,
        /// The part's JSON while it has not ended.
        open: Option<&'a str>,
        /// The tool call it is of, as the model named it, when that has its result.
        ended: Option<Cow<'a, str>>,
    },
    /// The text of a part grew.
    Delta {
        /// The part.
        part: Cow<'a, str>,
        /// By this.
        text: Cow<'a, str>,
    },
    /// A session was made or changed.
    Named {
        /// The session.
        session: Cow<'a, str>,
        /// What people know it by.
        title: Option<Cow<'a, str>>,
        /// The session it is a subagent of.
        parent: Option<Cow<'a, str>>,
    },
    /// A session is gone.
    Deleted {
        /// The session.
        session: Cow<'a, str>,
    },
    /// Somebody has to answer.
    Asked {
        /// The session that waits.
        session: Cow<'a, str>,
        /// The request.
        request: Cow<'a, str>,
        /// Permission or question.
        what: Ask,
        /// The tool call that asks, and what for.
        call: Option<Cow<'a, str>>,
        /// The permission's name.
        permission: Option<Cow<'a, str>>,
    },
    /// Somebody has answered.
    Answered {
        /// The request.
        request: Cow<'a, str>,
    },
    /// A terminal (PTY) was opened, or is gone.
    Terminal {
        /// The terminal.
        id: Cow<'a, str>,
        /// Whether it runs.
        open: bool,
    },
    /// The instance of the event's directory ended, and its turns with it.
    Disposed,
    /// Anything else.
    Other,
}

/// What a person is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A permission.
    Permission,
    /// An answer.
    Question,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    directory: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    project: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sync_event: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyncEvent<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    seq: u64,
    #[serde(borrow, rename = "aggregateID")]
    aggregate: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "requestID")]
    request: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "sessionID")]
    session: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
    #[serde(borrow, default)]
    info: Option<Info<'a>>,
    #[serde(borrow, default)]
    permission: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, rename = "callID")]
    call: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "parentID")]
    parent: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    part: &'a RawValue,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "sessionID")]
    session: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default, rename = "callID")]
    call: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    state: Option<State<'a>>,
    #[serde(default)]
    time: Option<Time>,
}

#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Time {
    #[serde(default)]
    end: Option<f64>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, rename = "partID")]
    part: Cow<'a, str>,
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

impl<'a> Event<'a> {
    /// Reads one event; `None` when it isn't one.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let envelope: Envelope<'a> = serde_json::from_slice(data).ok()?;
        let payload: Payload<'a> = serde_json::from_str(envelope.payload.get()).ok()?;
        let mut id = payload.id;
        let kind = match &*payload.kind {
            "sync" => {
                let sync: SyncEvent<'a> = serde_json::from_str(payload.sync_event?.get()).ok()?;
                id = sync.id.or(id);
                Kind::Sync { session: sync.aggregate, seq: sync.seq }
            }
            name => kind(name, payload.properties).unwrap_or(Kind::Other),
        };
        Some(Self {
            directory: envelope.directory,
            project: envelope.project,
            payload: envelope.payload.get(),
            id,
            kind,
        })
    }
}

/// `None` for what nobody needs to know, and for a known name with an unknown shape.
fn kind<'a>(name: &str, properties: Option<&'a RawValue>) -> Option<Kind<'a>> {
    let read = || serde_json::from_str::<Properties<'a>>(properties?.get()).ok();
    Some(match name {
        "server.connected" => Kind::Connected,
        "server.heartbeat" => Kind::Heartbeat,
        "server.instance.disposed" => Kind::Disposed,
        "session.status" => {
            let properties = read()?;
            let busy = properties.status.is_none_or(|status| status.kind != "idle");
            Kind::Status { session: properties.session?, busy }
        }
        "session.idle" => Kind::Status { session: read()?.session?, busy: false },
        "message.part.updated" => part(properties?)?,
        "message.part.delta" => {
            let delta: Delta<'a> = serde_json::from_str(properties?.get()).ok()?;
            if delta.field != "text" {
                return None;
            }
            Kind::Delta { part: delta.part, text: delta.delta }
        }
        "session.created" | "session.updated" => {
            let info = read()?.info?;
            Kind::Named { session: info.id?, title: info.title, parent: info.parent }
        }
        "session.deleted" => Kind::Deleted { session: read()?.session? },
        "pty.created" => Kind::Terminal { id: read()?.info?.id?, open: true },
        "pty.exited" | "pty.deleted" => Kind::Terminal { id: read()?.id?, open: false },
        "permission.asked" | "permission.v2.asked" => asked(read()?, Ask::Permission)?,
        "question.asked" | "question.v2.asked" => asked(read()?, Ask::Question)?,
        "permission.replied"
        | "permission.v2.replied"
        | "question.replied"
        | "question.rejected"
        | "question.v2.replied"
        | "question.v2.rejected" => {
            let properties = read()?;
            Kind::Answered { request: properties.request.or(properties.id)? }
        }
        _ => return None,
    })
}

/// A tool is open until it has a result; an answer's text has a time, which ends. A person's has
/// none.
fn part(properties: &RawValue) -> Option<Kind<'_>> {
    let raw = serde_json::from_str::<Stored<'_>>(properties.get()).ok()?.part.get();
    let part: Part<'_> = serde_json::from_str(raw).ok()?;
    let tool = part.state.as_ref().filter(|_| part.kind == "tool");
    let is_over = |state: &State<'_>| matches!(&*state.status, "completed" | "error");
    let ended = tool.filter(|state| is_over(state)).and(part.call);
    let is_open = match &*part.kind {
        "tool" => tool.is_some_and(|it| matches!(&*it.status, "pending" | "running")),
        "text" | "reasoning" => part.time.is_some_and(|time| time.end.is_none()),
        _ => false,
    };
    let open = is_open.then_some(raw);
    Some(Kind::Part { session: part.session, part: part.id, open, ended })
}

fn asked(properties: Properties<'_>, what: Ask) -> Option<Kind<'_>> {
    let tool: Option<Tool<'_>> =
        properties.tool.and_then(|tool| serde_json::from_str(tool.get()).ok());
    Some(Kind::Asked {
        session: properties.session?,
        request: properties.id?,
        what,
        call: tool.map(|tool| tool.call),
        permission: properties.permission,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_routing_needs_is_read_and_the_payload_is_a_slice() {
        let data = br#"{"directory":"/r","project":"p","payload":{"id":"evt_1","type":"session.status","properties":{"sessionID":"ses_1","status":{"type":"busy"}}}}"#;
        let event = Event::parse(data).unwrap();
        assert_eq!(event.directory.as_deref(), Some("/r"));
        assert_eq!(event.id.as_deref(), Some("evt_1"));
        assert_eq!(event.kind, Kind::Status { session: "ses_1".into(), busy: true });
        assert!(event.payload.starts_with(r#"{"id":"evt_1""#));
        let at = event.payload.as_ptr() as usize - data.as_ptr() as usize;
        assert_eq!(&data[at..at + event.payload.len()], event.payload.as_bytes());
    }

    #[test]
    fn what_a_turn_has_begun_is_read() {
        let read = |text: &str| {
            let text = format!(r#"{{"payload":{text}}}"#);
            match Event::parse(text.as_bytes()).unwrap().kind {
                Kind::Part { open, .. } => Some(open.map(str::to_owned)),
                _ => None,
            }
        };
        let part = |rest: &str| {
            let part = format!(r#"{{"id":"prt_1","sessionID":"ses_1",{rest}}}"#);
            let text = format!(
                r#"{{"type":"message.part.updated","properties":{{"part":{part},"time":1}}}}"#
            );
            read(&text).map(|open| open.map(|open| open == part))
        };
        assert_eq!(part(r#""type":"tool","state":{"status":"running"}"#), Some(Some(true)));
        assert_eq!(part(r#""type":"tool","state":{"status":"completed"}"#), Some(None));
        assert_eq!(part(r#""type":"text","text":"","time":{"start":1}"#), Some(Some(true)));
        assert_eq!(part(r#""type":"text","text":"a","time":{"start":1,"end":2}"#), Some(None));
        assert_eq!(part(r#""type":"text","text":"a person's""#), Some(None));
        let delta = r#"{"payload":{"type":"message.part.delta","properties":{"sessionID":"ses_1","messageID":"msg_1","partID":"prt_1","field":"text","delta":"a\nb"}}}"#;
        let expected = Kind::Delta { part: "prt_1".into(), text: "a\nb".into() };
        assert_eq!(Event::parse(delta.as_bytes()).unwrap().kind, expected);
    }

    #[test]
    fn a_sync_copy_has_the_id_of_its_event() {
        let data = br#"{"directory":"/r","payload":{"type":"sync","syncEvent":{"id":"evt_2","type":"x.1","seq":7,"aggregateID":"ses_1","data":{}},"id":"evt_2"}}"#;
        let event = Event::parse(data).unwrap();
        assert_eq!(event.kind, Kind::Sync { session: "ses_1".into(), seq: 7 });
        assert_eq!(event.id.as_deref(), Some("evt_2"));
    }

    #[test]
    fn what_is_unknown_passes_and_what_is_no_event_does_not() {
        let odd = br#"{"payload":{"type":"session.status","properties":{"sessionID":5}}}"#;
        assert_eq!(Event::parse(odd).unwrap().kind, Kind::Other);
        let new = br#"{"payload":{"type":"brand.new","properties":[1]},"more":1}"#;
        assert_eq!(Event::parse(new).unwrap().kind, Kind::Other);
        for none in [&b"[]"[..], b"{}", b"", b"{\"payload\":{}}", b"\xff"] {
            assert!(Event::parse(none).is_none());
        }
    }
}

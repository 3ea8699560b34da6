//! One event, read in one pass: whose it is, and what it says. What no turn needs is left early:
//! `sync` copies, which are half of a stream's bytes, before their content.

use super::body::{Body, Properties, Said};
use super::ids;
use super::wire::Str;
use memchr::memmem;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// How a `sync` copy begins. Inside a JSON string its quotes would be escaped.
const SYNC: &[u8] = br#""payload":{"type":"sync""#;
/// Where that is looked for: behind a directory and a project.
const SYNC_WITHIN: usize = 8 * 1024;

/// An event of a session.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub(super) session: Str<'a>,
    /// When it was made, in the unit of OpenCode's ids; no two events have the same.
    pub(super) made: Option<u64>,
    pub(super) body: Body<'a>,
}

impl<'a> Incoming<'a> {
    /// Reads an event as `/global/event` sends it, or as `/event` does. `None` for what no turn needs:
    /// other types, `sync` copies, unknown shapes, and what is no event.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        if memmem::find(&data[..data.len().min(SYNC_WITHIN)], SYNC).is_some() {
            return None;
        }
        let text = std::str::from_utf8(data).ok()?;
        let mut json = serde_json::Deserializer::from_str(text);
        let Read { said, made } = Read::deserialize(&mut json).ok()?;
        let (session, body) = said?;
        Some(Self { session, made, body })
    }

    /// The session it is of.
    pub fn session(&self) -> &str {
        &self.session
    }
}

/// What is read of `{directory, project, payload}`, or of the payload alone.
#[derive(Default)]
struct Read<'a> {
    said: Option<Said<'a>>,
    made: Option<u64>,
}

impl<'de> Deserialize<'de> for Read<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Payload)
    }
}

/// `{id, type, properties}`; a `payload` in it is read in its place.
struct Payload;

impl<'de> Visitor<'de> for Payload {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kind: Option<Str<'de>> = None;
        let mut early: Option<&'de RawValue> = None;
        let mut read = Read::default();
        while let Some(key) = map.next_key::<Str<'de>>()? {
            match &*key {
                "payload" => read = map.next_value()?,
                "id" => read.made = ids::time(&map.next_value::<Str<'de>>()?),
                "type" => kind = Some(map.next_value()?),
                "properties" => match &kind {
                    Some(kind) => read.said = map.next_value_seed(Properties(kind))?,
                    None => early = Some(map.next_value()?),
                },
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let (Some(kind), Some(properties)) = (&kind, early) {
            let mut json = serde_json::Deserializer::from_str(properties.get());
            read.said = Properties(kind).deserialize(&mut json).unwrap_or(None);
        }
        Ok(read)
    }
}

//! Parts of answers that have begun and not ended, as they were seen: tools that run, text that
//! grows. OpenCode 1.18.33 writes text only when it is whole, and nothing of a turn that dies with
//! it, so this is all there is to end them with.

use serde_json::Value;
use std::collections::HashMap;

/// Parts remembered, and their bytes. What is beyond is not ended, as without this.
const PARTS_MAX: usize = 1024;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Open {
    parts: HashMap<String, Part>,
    bytes: usize,
}

#[derive(Debug)]
struct Part {
    session: String,
    json: Box<str>,
    /// What came since.
    text: String,
}

impl Open {
    /// A part was stored; `json` while it is open.
    pub(super) fn stored(&mut self, session: &str, part: &str, json: Option<&str>) {
        self.remove(part);
        let Some(json) = json else { return };
        if self.parts.len() < PARTS_MAX && self.bytes + json.len() <= BYTES_MAX {
            self.bytes += json.len();
            let open = Part { session: session.to_owned(), json: json.into(), text: String::new() };
            self.parts.insert(part.to_owned(), open);
        }
    }

    /// The text of a part grew.
    pub(super) fn grew(&mut self, part: &str, text: &str) {
        if let Some(open) = self.parts.get_mut(part)
            && self.bytes + text.len() <= BYTES_MAX
        {
            self.bytes += text.len();
            open.text.push_str(text);
        }
    }

    /// Every part, as it was seen last, with its session.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.values().map(|open| (open.session.as_str(), &*open.json))
    }

    fn remove(&mut self, part: &str) -> Option<Part> {
        let open = self.parts.remove(part)?;
        self.bytes -= open.json.len() + open.text.len();
        Some(open)
    }

    /// The session's parts, ended; they are forgotten.
    pub(super) fn end(&mut self, session: &str, now: u64) -> Vec<Value> {
        let of_session = self.parts.iter().filter(|(_, open)| open.session == session);
        let mut ids: Vec<String> = of_session.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        let ended = ids.iter().filter_map(|id| {
            let open = self.remove(id)?;
            repod_opencode::v1_18::repair::closed(&open.json, &open.text, now)
        });
        ended.collect()
    }

    /// Forgets the parts of a session that ended by itself.
    pub(super) fn forget(&mut self, session: &str) {
        if self.parts.values().any(|open| open.session == session) {
            self.parts.retain(|_, open| open.session != session);
            self.bytes = self.parts.values().map(|open| open.json.len() + open.text.len()).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"id":"prt_1","type":"text","text":"","time":{"start":5}}"#;

    #[test]
    fn text_that_grew_is_there_at_the_end_once() {
        let mut open = Open::default();
        open.stored("ses_1", "prt_1", Some(TEXT));
        open.stored("ses_2", "prt_2", Some(TEXT));
        for word in ["once ", "upon"] {
            open.grew("prt_1", word);
        }
        let ended = open.end("ses_1", 9);
        assert_eq!(ended.len(), 1);
        assert_eq!((&ended[0]["text"], &ended[0]["time"]["end"]), (&"once upon".into(), &9.into()));
        assert!(open.end("ses_1", 9).is_empty());
        open.stored("ses_2", "prt_2", None);
        assert_eq!((open.parts.len(), open.bytes), (0, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut open = Open::default();
        for n in 0..5000 {
            open.stored("ses_1", &format!("prt_{n}"), Some(TEXT));
            open.grew(&format!("prt_{n}"), &"x".repeat(10_000));
        }
        assert!(open.parts.len() <= PARTS_MAX && open.bytes <= BYTES_MAX);
        open.forget("ses_1");
        assert_eq!((open.parts.len(), open.bytes), (0, 0));
    }
}

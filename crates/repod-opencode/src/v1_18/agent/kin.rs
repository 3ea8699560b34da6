//! Which sessions are subagents of which: their events are their own, but what they ask a person,
//! they ask in the turn of the session at the root.

use super::body::Body;
use super::bounded::Bounded;
use super::incoming::Incoming;

/// Subagents that are remembered; the oldest is forgotten first.
const MOST: usize = 16 * 1024;
/// How deep a tree of subagents may be before it is taken for a mistake.
const DEEPEST: usize = 32;

/// See the module.
#[derive(Debug)]
pub struct Kin {
    parents: Bounded<String>,
}

impl Default for Kin {
    fn default() -> Self {
        Self { parents: Bounded::new(MOST) }
    }
}

impl Kin {
    /// Learns from an event, if there is something to learn.
    pub fn note(&mut self, event: &Incoming<'_>) {
        match &event.body {
            Body::Session(info) => {
                if let Some(parent) = &info.parent {
                    self.child(&info.id, parent);
                }
            }
            Body::Deleted => drop(self.parents.remove(&event.session)),
            _ => {}
        }
    }

    /// Learns from elsewhere that a session is another's subagent.
    pub fn child(&mut self, child: &str, parent: &str) {
        if child != parent && self.parents.get(child).is_none() {
            parent.clone_into(self.parents.entry(child));
        }
    }

    /// The session at the root of a session's tree; itself where nothing else is known.
    pub fn root<'a>(&'a self, session: &'a str) -> &'a str {
        let mut root = session;
        for _ in 0..DEEPEST {
            match self.parents.get(root) {
                Some(parent) => root = parent,
                None => break,
            }
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kin: &mut Kin, text: &str) {
        kin.note(&Incoming::read(text.as_bytes()).unwrap());
    }

    #[test]
    fn a_subagent_s_subagent_is_the_root_s() {
        let mut kin = Kin::default();
        let child = r#"{"payload":{"type":"session.created","properties":{"sessionID":"b","info":{"id":"b","parentID":"a"}}}}"#;
        note(&mut kin, child);
        kin.child("c", "b");
        assert_eq!((kin.root("c"), kin.root("b"), kin.root("x")), ("a", "a", "x"));
        note(&mut kin, r#"{"type":"session.deleted","properties":{"info":{"id":"b"}}}"#);
        assert_eq!(kin.root("c"), "b");
        kin.child("a", "a");
        kin.child("b", "c");
        assert!(!kin.root("c").is_empty(), "a circle ends");
    }
}

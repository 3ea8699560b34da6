//! What the events tell of the backend's state: who is busy, who waits for a person, and how far
//! each session's durable events are known.

use super::noted::Noted;
use super::open::Open;
use jiff::Timestamp;
use repod_opencode::PendingRequest;
use repod_opencode::v1_18::event::{Ask, Event, Kind};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

/// Sessions remembered; idle ones are forgotten first. What is forgotten is only replayed less
/// exactly.
const SESSIONS_MAX: usize = 1024;
/// Requests for a person remembered.
const PENDING_MAX: usize = 4096;
/// Events remembered by id.
const RECENT_MAX: usize = 4096;
/// Characters of a title.
const TITLE_MAX: usize = 200;

/// What is known of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub(super) directory: String,
    pub(super) project: Option<String>,
    /// Number of its last durable event seen.
    pub(super) seq: Option<u64>,
    pub(super) busy: bool,
    /// Since when it is so.
    pub(super) since: Option<Timestamp>,
    /// Whether people may be told of it: one that is gone, or known by a number alone, is not there.
    pub(super) listed: bool,
    /// What people know it by.
    pub(super) title: Option<String>,
    /// The session it is a subagent of.
    pub(super) parent: Option<String>,
    /// For forgetting the longest untouched.
    pub(super) touched: u64,
}

impl Session {
    /// Has a turn in flight from now on, or no longer.
    fn is_now(&mut self, busy: bool) {
        if self.busy != busy || !self.listed {
            self.since = Some(Timestamp::now());
        }
        self.busy = busy;
        self.listed = true;
    }

    fn name(&mut self, title: Option<&str>, parent: Option<&str>) {
        self.listed = true;
        let title = title.filter(|title| !title.is_empty());
        if let Some(title) = title.filter(|title| self.title.as_deref() != Some(title)) {
            self.title = Some(title.chars().take(TITLE_MAX).collect());
        }
        if self.parent.is_none() {
            self.parent = parent.map(str::to_owned);
        }
    }
}

/// One request that waits for a person.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) session: String,
    pub(super) directory: String,
    pub(super) project: Option<String>,
    pub(super) what: Ask,
    /// The tool call that asks.
    call: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) sessions: HashMap<String, Session>,
    pub(super) pending: HashMap<String, Pending>,
    /// Terminals that run, with their directory.
    pub(super) terminals: HashMap<String, String>,
    /// Requests answered that were asked before anybody listened.
    pub(super) answered: HashSet<String>,
    pub(super) last_event: Option<Instant>,
    /// What its turns have begun.
    pub(super) open: Open,
    clock: u64,
}

impl Track {
    /// Takes in one event; what the rest of the daemon should know of it.
    pub(super) fn note(&mut self, event: &Event<'_>) -> Option<Noted> {
        self.last_event = Some(Instant::now());
        match &event.kind {
            Kind::Sync { session, seq } => {
                let session = self.session(session, event);
                session.seq = Some(session.seq.map_or(*seq, |known| known.max(*seq)));
            }
            Kind::Status { session, busy } => {
                self.session(session, event).is_now(*busy);
                if !busy {
                    self.open.forget(session);
                    return Some(Noted::Idle { session: session.to_string() });
                }
            }
            Kind::Part { session, part, open, ended } => {
                self.open.stored(session, part, *open);
                let (session, call) = (session.to_string(), ended.as_deref()?.to_owned());
                return Some(Noted::CallEnded { session, call });
            }
            Kind::Delta { part, text } => self.open.grew(part, text),
            Kind::Named { session, title, parent } => {
                self.session(session, event).name(title.as_deref(), parent.as_deref());
            }
            Kind::Deleted { session } => {
                if let Some(known) = self.sessions.get_mut(&**session) {
                    known.busy = false;
                    known.listed = false;
                }
                self.pending.retain(|_, pending| pending.session != **session);
                return Some(Noted::Deleted { session: session.to_string() });
            }
            Kind::Asked { session, request, what, call, permission }
                if self.pending.len() < PENDING_MAX =>
            {
                let pending = Pending {
                    session: session.to_string(),
                    directory: event.directory.as_deref().unwrap_or_default().to_owned(),
                    project: event.project.as_deref().map(str::to_owned),
                    what: *what,
                    call: call.as_deref().map(str::to_owned),
                };
                self.pending.insert(request.to_string(), pending);
                return Some(Noted::Asked {
                    session: session.to_string(),
                    call: call.as_deref()?.to_owned(),
                    what: permission.as_deref().unwrap_or("an answer").to_owned(),
                });
            }
            Kind::Answered { request } => {
                let Some(pending) = self.pending.remove(&**request) else {
                    if self.answered.len() < PENDING_MAX {
                        self.answered.insert(request.to_string());
                    }
                    return None;
                };
                return Some(Noted::Answered { session: pending.session, call: pending.call? });
            }
            Kind::Terminal { id, open: true } if self.terminals.len() < PENDING_MAX => {
                self.set_terminal(id.to_string(), event.directory.as_deref().unwrap_or_default());
            }
            Kind::Terminal { id, open: false } => drop(self.terminals.remove(&**id)),
            Kind::Disposed => {
                let directory = event.directory.as_deref().unwrap_or_default();
                let of = self.sessions.values_mut().filter(|it| it.directory == directory);
                of.filter(|session| session.busy).for_each(|session| session.is_now(false));
                self.pending.retain(|_, pending| pending.directory != directory);
                self.terminals.retain(|_, of| of != directory);
            }
            _ => {}
        }
        None
    }

    fn session(&mut self, id: &str, event: &Event<'_>) -> &mut Session {
        if !self.sessions.contains_key(id) && self.sessions.len() >= SESSIONS_MAX {
            self.forget();
        }
        self.clock += 1;
        let session = self.sessions.entry(id.to_owned()).or_default();
        session.touched = self.clock;
        if let Some(directory) = event.directory.as_deref()
            && session.directory != directory
        {
            directory.clone_into(&mut session.directory);
        }
        if session.project.is_none() {
            session.project = event.project.as_deref().map(str::to_owned);
        }
        session
    }

    /// Forgets the older half of the idle sessions.
    fn forget(&mut self) {
        let mut idle: Vec<u64> =
            self.sessions.values().filter(|s| !s.busy).map(|s| s.touched).collect();
        idle.sort_unstable();
        let Some(middle) = idle.get(idle.len() / 2).copied() else { return };
        self.sessions.retain(|_, session| session.busy || session.touched > middle);
    }

    /// Forgets all idle sessions. What they do later is told apart from what they did by its time.
    pub(super) fn forget_idle(&mut self) {
        self.sessions.retain(|_, session| session.busy);
        self.sessions.shrink_to_fit();
        self.pending.shrink_to_fit();
        self.answered = HashSet::new();
    }

    /// Notes a turn that was in flight before anybody listened. Of a session that has been heard
    /// of since, the events know better: they say `busy` at each step of a turn.
    pub(super) fn set_busy(&mut self, id: String, directory: &str, project: Option<String>) {
        let directory = directory.to_owned();
        let session =
            Session { directory, project, busy: true, listed: true, ..Session::default() };
        self.sessions.entry(id).or_insert(session);
    }

    /// Notes what a session is called that was named before anybody listened.
    pub(super) fn set_name(&mut self, id: &str, title: &str, parent: Option<&str>) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.title.is_none()
        {
            session.name(Some(title), parent);
        }
    }

    /// Notes a terminal that runs.
    pub(super) fn set_terminal(&mut self, id: String, directory: &str) {
        self.terminals.insert(id, directory.to_owned());
    }

    /// Notes a request that was open before anybody listened.
    pub(super) fn set_pending(
        &mut self,
        request: PendingRequest,
        what: Ask,
        directory: &str,
        project: Option<String>,
    ) {
        let PendingRequest { id, session, .. } = request;
        if !self.answered.contains(&id) {
            let directory = directory.to_owned();
            let pending = Pending { session, directory, project, what, call: None };
            self.pending.insert(id, pending);
        }
    }

    /// Whether a turn, a request or a terminal is in this directory.
    pub(super) fn is_busy_in(&self, directory: &str) -> bool {
        self.busy().any(|(_, session)| session.directory == directory)
            || self.pending.values().any(|pending| pending.directory == directory)
            || self.terminals.values().any(|of| of == directory)
    }

    pub(super) fn busy(&self) -> impl Iterator<Item = (&String, &Session)> {
        self.sessions.iter().filter(|(_, session)| session.busy)
    }
}

/// The events seen last, by id, so that none is given out twice: the streams of two generations
/// and the history between them overlap.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    /// Whether this is the first time. An event without an id always is.
    pub(super) fn is_new(&mut self, event: &Event<'_>) -> bool {
        let Some(id) = event.id.as_deref() else { return true };
        let mut hasher = DefaultHasher::new();
        (id, matches!(event.kind, Kind::Sync { .. })).hash(&mut hasher);
        let key = hasher.finish();
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(track: &mut Track, kind: &str, properties: &str) {
        let text = format!(
            r#"{{"directory":"/r","project":"p","payload":{{"type":"{kind}","properties":{properties}}}}}"#
        );
        let _ = track.note(&Event::parse(text.as_bytes()).unwrap());
    }

    #[test]
    fn busy_and_waiting_sessions_are_known() {
        let mut track = Track::default();
        note(&mut track, "session.status", r#"{"sessionID":"a","status":{"type":"retry"}}"#);
        note(&mut track, "session.status", r#"{"sessionID":"b","status":{"type":"busy"}}"#);
        note(&mut track, "session.idle", r#"{"sessionID":"b"}"#);
        note(&mut track, "permission.asked", r#"{"id":"per_1","sessionID":"a"}"#);
        note(&mut track, "question.asked", r#"{"id":"que_1","sessionID":"a"}"#);
        assert_eq!(track.busy().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(track.pending.len(), 2);
        note(&mut track, "permission.replied", r#"{"sessionID":"a","requestID":"per_1"}"#);
        assert_eq!(track.pending["que_1"].what, Ask::Question);
        note(&mut track, "pty.created", r#"{"info":{"id":"pty_1","status":"running","pid":7}}"#);
        note(&mut track, "pty.created", r#"{"info":{"id":"pty_2"}}"#);
        note(&mut track, "pty.exited", r#"{"id":"pty_1","exitCode":0}"#);
        assert_eq!(track.terminals.keys().collect::<Vec<_>>(), ["pty_2"]);
        note(&mut track, "server.instance.disposed", "{}");
        assert_eq!((track.pending.len(), track.busy().count()), (1 - 1, 0));
        assert!(track.terminals.is_empty());
    }

    #[test]
    fn many_sessions_are_bounded_and_the_busy_ones_stay() {
        let mut track = Track::default();
        note(&mut track, "session.status", r#"{"sessionID":"a","status":{"type":"busy"}}"#);
        for n in 0..5000 {
            note(&mut track, "session.idle", &format!(r#"{{"sessionID":"s{n}"}}"#));
        }
        assert!(track.sessions.len() <= SESSIONS_MAX);
        assert!(track.sessions.contains_key("s4999") && track.busy().count() == 1);
    }
}

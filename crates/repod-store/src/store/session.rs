//! Agent sessions, as they are on record.

use std::time::Duration;

/// The most a session's own words may be together, in bytes.
pub const MAX_SESSION: u64 = 1 << 20;

/// A daemon as an owner of sessions: who it is, and its how many-th start this is.
///
/// Made by [`Store::enrol`](crate::Store::enrol) only. Everything that is changed is changed in the name of
/// one, and a newer start of the same owner ends what the older one may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub(crate) name: String,
    pub(crate) incarnation: i64,
}

/// A session's name: its caller's own, within a repo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The repo.
    pub repo_id: String,
    /// The caller's name for it.
    pub session_id: String,
}

/// What a session is made with where there is none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its name.
    pub key: SessionKey,
    /// Where it works.
    pub directory: String,
    /// What runs it: `opencode`.
    pub backend: String,
    /// The backend's agent, as it was asked for: `build`, `plan`, …; empty for the backend's default.
    pub agent: String,
    /// The model, `provider/model`; empty for the backend's default.
    pub model: String,
    /// For people.
    pub title: String,
    /// Of what its conversation depends on; one that has drifted is not resumed.
    pub config_hash: String,
    /// What else is needed to go on with it, in whatever form the caller likes.
    pub options: String,
}

/// A session on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub key: SessionKey,
    /// What runs it.
    pub backend: String,
    /// The backend's agent.
    pub agent: String,
    /// The model.
    pub model: String,
    /// The backend's own id of it, once there is one.
    pub agent_session_id: Option<String>,
    /// Where it works.
    pub directory: String,
    /// The port of its repo's endpoint, when it was last bound.
    pub server_port: Option<u16>,
    /// The generation of the backend it was last bound to; 0 before.
    pub generation: u64,
    /// What it is doing.
    pub status: SessionStatus,
    /// Of what its conversation depends on.
    pub config_hash: String,
    /// For people.
    pub title: String,
    /// What else is needed to go on with it, in the caller's form.
    pub options: String,
    /// The daemon that owns it; none once it is closed.
    pub owner: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last made, prompted or settled, in milliseconds since 1970.
    pub last_active_ms: i64,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionStatus {
    /// No turn runs.
    Idle,
    /// A turn runs.
    Busy,
    /// A turn stands still until a person answers.
    Waiting,
    /// Its last turn ended in a way after which its conversation is not to be gone on with.
    Crashed,
    /// It was closed; the same name begins a new one.
    Closed,
}

/// What is to change in a session; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChange {
    /// The backend's own id of it. A new one makes a crashed session idle.
    pub agent_session_id: Option<String>,
    /// The generation of the backend it is bound to now; never lower than the one on record.
    pub generation: Option<u64>,
    /// The port of its endpoint.
    pub server_port: Option<u16>,
    /// Where it works.
    pub directory: Option<String>,
    /// The backend's agent.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Of what its conversation depends on.
    pub config_hash: Option<String>,
    /// For people.
    pub title: Option<String>,
    /// What else is needed to go on with it.
    pub options: Option<String>,
}

/// What [`Store::ensure`](crate::Store::ensure) came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// There was none of that name, or a closed one: it is new, and has no `agent_session_id`.
    Created(Session),
    /// It is as it was left, and the caller's.
    Resumed(Session),
    /// It was another daemon's whose lease has lapsed, and is the caller's now. The turns that one left
    /// are settled as interrupted; here they are.
    Taken(Session, Vec<crate::Turn>),
    /// It is another daemon's, whose lease has so long to run unless it is renewed.
    Foreign {
        /// That daemon.
        owner: String,
        /// How long its lease still runs.
        lapses_in: Duration,
    },
    /// The caller has been superseded by a newer start of itself.
    Superseded,
}

/// What a conditional change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// It is done, and this is how things are now.
    Updated(T),
    /// Things are not as the caller thought, and stay as they are.
    Stale(Stale),
    /// There is no such thing.
    Gone,
}

/// In what way things are not as the caller thought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// A newer start of the same owner has taken over.
    Superseded,
    /// Another daemon owns the session, or nobody does.
    NotOwned(Option<String>),
    /// The session is bound to another generation of its backend: to this one.
    Generation(u64),
    /// The turn is in another state than the change begins with.
    Turn(crate::TurnState),
    /// A turn before it is not settled: this one.
    NotFirst(u64),
}

/// Which sessions [`Store::list`](crate::Store::list) tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Those of this repo only.
    pub repo_id: Option<String>,
    /// Closed ones too.
    pub closed: bool,
}

impl Owner {
    /// Who it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl SessionKey {
    /// The session that is called so in this repo.
    pub fn new(repo_id: impl Into<String>, session_id: impl Into<String>) -> Self {
        Self { repo_id: repo_id.into(), session_id: session_id.into() }
    }
}

impl NewSession {
    pub(crate) fn size(&self) -> usize {
        let words =
            [&self.key.repo_id, &self.key.session_id, &self.directory, &self.backend, &self.agent];
        let more = [&self.model, &self.title, &self.config_hash, &self.options];
        words.into_iter().chain(more).map(String::len).sum()
    }
}

impl SessionChange {
    pub(crate) fn size(&self) -> usize {
        let words = [&self.agent_session_id, &self.directory, &self.agent, &self.model];
        let more = [&self.config_hash, &self.title, &self.options];
        words.into_iter().chain(more).flatten().map(String::len).sum()
    }
}

impl SessionStatus {
    const ALL: [Self; 5] = [Self::Idle, Self::Busy, Self::Waiting, Self::Crashed, Self::Closed];

    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Crashed => "crashed",
            Self::Closed => "closed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl<T> Change<T> {
    /// What it is now, where it was done.
    pub fn updated(self) -> Option<T> {
        match self {
            Self::Updated(now) => Some(now),
            Self::Stale(_) | Self::Gone => None,
        }
    }
}

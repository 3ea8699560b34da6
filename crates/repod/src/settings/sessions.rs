//! `[sessions]`: agent sessions, as the user wants them.

use super::policy::Words;
use super::values::{count, duration, shown, truth};
use super::{Key, put};
use std::fmt;
use std::time::Duration;
use toml::Value;

/// `[sessions]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// Where they are on record.
    pub(crate) store: SessionStore,
    /// The provider of a model that is named without one.
    pub(crate) default_provider: Option<String>,
    /// How long an agent may be silent in a turn before it is looked at.
    pub(crate) watchdog: Duration,
    /// Whether a turn goes on after the death of the daemon or of its backend.
    pub(crate) resume_interrupted: bool,
    /// What becomes of a prompt to a session that is busy.
    pub(crate) queue: Queue,
    /// How many may wait for one session.
    pub(crate) queue_max: u32,
}

/// Where sessions are on record.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SessionStore {
    /// In each repo's own `repod.db`.
    Sqlite,
    /// In a Postgres, by its URL.
    Postgres(String),
}

/// What becomes of a prompt to a session that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// It waits its turn.
    Wait,
    Refuse,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            store: SessionStore::Sqlite,
            default_provider: None,
            watchdog: Duration::from_mins(3),
            resume_interrupted: false,
            queue: Queue::Wait,
            queue_max: 64,
        }
    }
}

/// A URL may have a password in it.
impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl SessionStore {
    fn read(value: &Value) -> Result<Self, String> {
        let is_postgres =
            |text: &str| text.starts_with("postgres://") || text.starts_with("postgresql://");
        match value.as_str() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some(url) if is_postgres(url) => Ok(Self::Postgres(url.to_owned())),
            _ => Err("must be \"sqlite\" or a URL like \"postgres://user@host/database\"".into()),
        }
    }

    /// As it may be shown: without a password.
    fn shown(&self) -> String {
        let Self::Postgres(url) = self else { return "sqlite".to_owned() };
        let hidden = || {
            let (scheme, rest) = url.split_once("://")?;
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let (user, host) = authority.rsplit_once('@')?;
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            Some(format!("{scheme}://{user}@{host}{path}"))
        };
        let shown = hidden().unwrap_or_else(|| url.clone());
        // It may be a parameter as well.
        match shown.find("password=") {
            Some(at) => format!("{}password=…", &shown[..at]),
            None => shown,
        }
    }
}

pub(super) const KEYS: &[Key] = &[
    (
        "sessions.store",
        |s, v| put(&mut s.sessions.store, SessionStore::read(v)),
        |s| s.sessions.store.shown().into(),
    ),
    (
        "sessions.default_provider",
        |s, v| put(&mut s.sessions.default_provider, provider(v)),
        |s| shown(s.sessions.default_provider.clone(), ""),
    ),
    (
        "sessions.watchdog",
        |s, v| put(&mut s.sessions.watchdog, duration(v)),
        |s| humantime::format_duration(s.sessions.watchdog).to_string().into(),
    ),
    (
        "sessions.resume_interrupted",
        |s, v| put(&mut s.sessions.resume_interrupted, truth(v)),
        |s| s.sessions.resume_interrupted.into(),
    ),
    (
        "sessions.queue",
        |s, v| QUEUE.put(v, &mut s.sessions.queue),
        |s| QUEUE.show(s.sessions.queue),
    ),
    (
        "sessions.queue_max",
        |s, v| {
            put(
                &mut s.sessions.queue_max,
                count(v, 1, 1024).map(|count| u32::try_from(count).unwrap_or(1024)),
            )
        },
        |s| s.sessions.queue_max.into(),
    ),
];

const QUEUE: Words<Queue> = Words(&[("wait", Queue::Wait), ("refuse", Queue::Refuse)]);

/// A provider's name, or "" for none.
fn provider(value: &Value) -> Result<Option<String>, String> {
    match value.as_str() {
        Some("") => Ok(None),
        Some(name) if !name.contains('/') => Ok(Some(name.to_owned())),
        _ => Err("must be a provider's name, such as \"anthropic\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_shown_without_its_password() {
        let shown = |url: &str| SessionStore::read(&Value::from(url)).map(|store| store.shown());
        assert_eq!(shown("sqlite").unwrap(), "sqlite");
        assert_eq!(
            shown("postgres://me:se:cr@db:5432/x?a=1").unwrap(),
            "postgres://me@db:5432/x?a=1"
        );
        assert_eq!(shown("postgres:///x?host=/run").unwrap(), "postgres:///x?host=/run");
        assert_eq!(shown("postgres://h/x?password=s3").unwrap(), "postgres://h/x?password=…");
        assert!(shown("mysql://x").is_err());
    }
}

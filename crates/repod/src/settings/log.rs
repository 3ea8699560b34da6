//! `[log]`: how the daemon's own log is written.

use super::Key;
use super::policy::Words;

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// `REPOD_LOG_FORMAT` counts more.
    pub(crate) format: LogFormat,
}

/// What a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

const FORMAT: Words<LogFormat> = Words(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

impl LogFormat {
    /// By its word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        FORMAT.0.iter().find(|(name, _)| *name == word).map(|(_, format)| *format)
    }
}

pub(super) const KEYS: &[Key] =
    &[("log.format", |s, v| FORMAT.put(v, &mut s.log.format), |s| FORMAT.show(s.log.format))];

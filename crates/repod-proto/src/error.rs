//! The one shape of an error, and the one table from its code to HTTP status and exit code.

use crate::exit;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $status:literal, $exit:ident;)+) => {
        /// What kind of failure it is. Its text (`repo_not_found`, …) is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $variant,)+
            /// A code this version doesn't know (from a newer daemon).
            #[serde(other)]
            Unknown,
        }

        impl ErrorCode {
            /// Every known code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The HTTP status that carries this code.
            pub const fn http_status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)+
                    Self::Unknown => 500,
                }
            }

            /// The exit code of a command that fails with this code.
            pub const fn exit_code(self) -> u8 {
                match self {
                    $(Self::$variant => exit::$exit,)+
                    Self::Unknown => exit::FAILURE,
                }
            }
        }
    };
}

error_codes! {
    /// The request could not be understood.
    InvalidRequest = 400, USAGE;
    /// `repod.toml` is wrong.
    InvalidSettings = 400, USAGE;
    /// There is no such API path.
    NoSuchRoute = 404, FAILURE;
    /// The path does not exist.
    PathNotFound = 404, FAILURE;
    /// The path exists but this user can't read it.
    PathUnreadable = 403, FAILURE;
    /// The path is not UTF-8, which OpenCode can't open.
    PathNotUtf8 = 400, FAILURE;
    /// The path is neither a directory nor inside one.
    NotADirectory = 400, FAILURE;
    /// The git metadata there can't be understood.
    RepoInvalid = 400, FAILURE;
    /// Another root already owns this repo id.
    RepoIdCollision = 409, FAILURE;
    /// The endpoint's password or capability is missing or wrong.
    Unauthorized = 401, FAILURE;
    /// The caller may not do this: another user, a foreign web page, a route that is closed.
    Forbidden = 403, FAILURE;
    /// repod's home is missing, of another owner, or open to others.
    HomeUnusable = 500, FAILURE;
    /// A file of repod's own can't be parsed; it was kept.
    StateCorrupt = 500, FAILURE;
    /// A file of repod's own was written by a newer version; it was kept.
    StateTooNew = 500, FAILURE;
    /// A file of repod's own belongs to somebody else; it was kept.
    StateForeign = 500, FAILURE;
    /// Reading or writing the state on disk failed (disk full, permissions).
    StateIo = 500, FAILURE;
    /// Another process holds the lock of this repo or home.
    LockBusy = 409, BUSY;
    /// Another session tree may write on this branch at the moment, and waiting was not wanted.
    LeaseBusy = 409, BUSY;
    /// The branch or the worktree was not free within the time a write waits.
    LeaseTimeout = 503, BUSY;
    /// Waiting on would have closed a circle of sessions that wait for each other.
    LeaseDeadlock = 409, BUSY;
    /// The right to write was another's by the time it was used.
    LeaseStale = 409, BUSY;
    /// The right to write was taken away: by a person, or because a command ran too long.
    LeaseRevoked = 409, BUSY;
    /// A write in a repo was not done, and nothing has changed.
    WriteRefused = 409, FAILURE;
    /// A write was begun and can be neither finished nor undone without a person.
    WriteConflict = 409, FAILURE;
    /// There is no backend, and starting one was not allowed.
    NotRunning = 409, NOT_RUNNING;
    /// No `opencode` was found.
    OpencodeMissing = 500, FAILURE;
    /// The `opencode` found is of a version repod doesn't support.
    OpencodeUnsupported = 500, FAILURE;
    /// The backend did not come up.
    StartFailed = 502, FAILURE;
    /// The kernel ended the backend for lack of memory.
    OutOfMemory = 502, FAILURE;
    /// Too many failed starts: no further one is tried until asked for.
    BackendParked = 503, FAILURE;
    /// The backend broke off before it answered; what was asked may have been done.
    BackendBroke = 502, FAILURE;
    /// The backend was not ready within the time a request is held.
    HoldExpired = 503, BUSY;
    /// There is no such session, turn or request.
    SessionNotFound = 404, FAILURE;
    /// More than one repo has a session of this name.
    SessionAmbiguous = 409, USAGE;
    /// The session has a turn, and waiting was not wanted or too many wait already.
    SessionBusy = 409, BUSY;
    /// Another daemon owns the session.
    SessionForeign = 409, BUSY;
    /// The session was closed, or its record has changed meanwhile.
    SessionStale = 409, FAILURE;
    /// Somebody uses it: it is not put to sleep, and a directory in use is not closed.
    BackendBusy = 409, BUSY;
    /// The backend is alive but does not answer.
    BackendUnresponsive = 504, DEADLINE;
    /// The user's OpenCode database has a schema this repod doesn't know; nothing was changed.
    HistoryUnknown = 409, FAILURE;
    /// Somebody has the user's OpenCode database open that is to be written.
    HistoryInUse = 409, BUSY;
    /// Sessions could not be brought over or back.
    HistoryFailed = 500, FAILURE;
    /// The guard of a directory is not there, so nothing may write in it.
    GuardMissing = 503, FAILURE;
    /// What was waited for was stopped meanwhile.
    Stopped = 409, FAILURE;
    /// It could not be ended.
    StopFailed = 500, FAILURE;
    /// The time allowed ran out.
    Deadline = 504, DEADLINE;
    /// The daemon is ending.
    ShuttingDown = 503, BUSY;
    /// More is waiting than repod is willing to hold.
    Overloaded = 503, BUSY;
    /// The daemon could not be reached or started.
    DaemonUnavailable = 503, FAILURE;
    /// A fault of repod itself.
    Internal = 500, FAILURE;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The serialised name is the public one; a unit variant always serialises to a string.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => f.write_str("unknown"),
        }
    }
}

/// Kind, cause and hint of a failure.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, utoipa::ToSchema,
)]
#[error("{message}")]
pub struct ApiError {
    /// The kind.
    pub code: ErrorCode,
    /// The cause, a lower-case sentence fragment.
    pub message: String,
    /// What to type or change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Facts for programs and for the curious (`log_tail`, `path`, …).
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl ApiError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: serde_json::Map::new() }
    }

    /// Adds what the reader should type or change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// The failure.
    pub error: ApiError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_as_snake_case_and_survives_a_round_trip() {
        assert_eq!(ErrorCode::PathNotFound.to_string(), "path_not_found");
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), *code);
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert_ne!(code.exit_code(), exit::OK, "{code}");
        }
    }

    #[test]
    fn an_error_of_a_newer_daemon_is_still_readable() {
        let body: ErrorBody = serde_json::from_str(
            r#"{"error":{"code":"flux_capacitor","message":"no flux","new_field":1}}"#,
        )
        .unwrap();
        assert_eq!(body.error.code, ErrorCode::Unknown);
        assert_eq!(body.error.to_string(), "no flux");
    }
}

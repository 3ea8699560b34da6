//! What the events tell the rest of the daemon, one small thing at a time.

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Its turn is over.
    Idle { session: String },
    /// It is gone.
    Deleted { session: String },
    /// A tool call has its result, good or bad, and is not running any more.
    CallEnded { session: String, call: String },
    /// A tool call waits for a person.
    Asked { session: String, call: String, what: String },
    /// It was answered.
    Answered { session: String, call: String },
}

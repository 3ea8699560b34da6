//! What a [`Lifecycle`](super::Lifecycle) is told, what it asks for, and how it says why.

use crate::identity::ProcessIdentity;
use crate::launcher::ExitReason;
use repod_proto::{ApiError, Generation};
use serde::{Deserialize, Serialize};

/// Names one slot or one timer, so that a late answer is not taken for the answer to a newer question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Why a backend is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The bring-up reported it.
    #[error(transparent)]
    Start(ApiError),
    /// The process ended: before it was ready, or by itself later.
    #[error("the backend {0}")]
    Exited(ExitReason),
    /// Its port was taken by another process, each time.
    #[error("the backend's port was taken by another process again and again")]
    PortLost,
    /// It was stopped while it was waited for. Answers callers; never the reason of a `failed` state.
    #[error("the backend was stopped meanwhile")]
    Stopped,
    /// Processes of the backend are still there. No other backend is started beside them.
    #[error("processes of the backend could not be ended: {survivors:?}")]
    NotEnded {
        /// Their pids.
        survivors: Vec<u32>,
    },
}

/// How a backend of an earlier daemon was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It runs and has not become ready yet.
    Starting,
    /// It answered the probe.
    Ready,
    /// It runs, was ready before, and did not answer.
    Unresponsive,
    /// It was being ended.
    Stopping,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A caller wants it ready, and is answered by `AnswerReady` or `AnswerFailed`.
    Ensure,
    /// A caller wants it started anew; answered likewise. Unparks.
    Restart,
    /// A caller wants it stopped, and is answered by `AnswerStopped` or `AnswerStopFailed`. Unparks.
    Stop,
    /// It has been idle long enough; answered like `Stop`, or by `RefuseHibernate`.
    Hibernate,
    /// It may be started now.
    SlotGranted {
        /// Of `AcquireSlot`.
        token: Token,
    },
    /// The held child exists.
    Spawned {
        /// Of `Spawn`.
        generation: Generation,
        /// Who it is.
        process: ProcessIdentity,
    },
    /// It answered for the first time.
    Ready {
        /// Of `AwaitReady`.
        generation: Generation,
        /// The version it reported.
        version: String,
    },
    /// The start came to nothing: no process, no answer in time, no record on disk.
    StartFailed {
        /// Of `Spawn` or `AwaitReady`.
        generation: Generation,
        /// Why.
        error: ApiError,
    },
    /// It could not listen on its port, or another process does.
    PortLost {
        /// Of `AwaitReady`.
        generation: Generation,
    },
    /// The leader's pidfd says that it has ended.
    Exited {
        /// Whose process it was.
        generation: Generation,
        /// How.
        reason: ExitReason,
    },
    /// A probe was answered.
    ProbeAnswered {
        /// Who was probed.
        generation: Generation,
    },
    /// A probe was not answered in time.
    ProbeFailed {
        /// Who was probed.
        generation: Generation,
    },
    /// Its whole tree is gone.
    Ended {
        /// Of `Terminate`.
        generation: Generation,
    },
    /// Processes of its tree could not be ended (or looked for).
    EndFailed {
        /// Of `Terminate`.
        generation: Generation,
        /// Which; may be empty when they could not even be listed.
        survivors: Vec<u32>,
    },
    /// A backend of an earlier daemon was verified. Only before anything else is asked of this one.
    Adopted {
        /// Its generation, from the record.
        generation: Generation,
        /// Who it is.
        process: ProcessIdentity,
        /// The version on record.
        version: Option<String>,
        /// In what state.
        found: Found,
    },
    /// The delay of `ScheduleRestart` is over.
    RestartDue {
        /// Of `ScheduleRestart`.
        token: Token,
    },
}

/// What the actor has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the record: state, generation, process. Always the first of its list. If it fails and
    /// `Spawn` or `Release` follow, skip those and feed `StartFailed` instead.
    Persist,
    /// Wait for the right to start (only so many start at once), then feed `SlotGranted`.
    AcquireSlot {
        /// Which request it is.
        token: Token,
    },
    /// Give that right back, or stop waiting for it.
    ReleaseSlot {
        /// Which request it was.
        token: Token,
    },
    /// Spawn a held child; feed `Spawned` or `StartFailed`, never neither.
    Spawn {
        /// The new generation: one more than the last.
        generation: Generation,
    },
    /// Let the held child run. (One that is not released is dropped with `Terminate`.)
    Release {
        /// Whose child.
        generation: Generation,
    },
    /// Watch it come up; feed `Ready`, `StartFailed`, `PortLost` or `Exited`.
    AwaitReady {
        /// Which backend.
        generation: Generation,
    },
    /// End its whole tree, however much of it is left; feed `Ended` or `EndFailed`, never neither.
    Terminate {
        /// Which backend.
        generation: Generation,
    },
    /// Feed `RestartDue` after this delay.
    ScheduleRestart {
        /// Which timer it is; an older one is void.
        token: Token,
        /// The delay in milliseconds.
        after_ms: u64,
    },
    /// Answer every caller of `Ensure` and `Restart`: it is ready.
    AnswerReady,
    /// Answer every caller of `Ensure` and `Restart`: it is not coming.
    AnswerFailed {
        /// Why.
        failure: Failure,
        /// Whether no further start is tried until somebody restarts or stops it.
        parked: bool,
    },
    /// Answer every caller of `Stop` and `Hibernate`: it is gone.
    AnswerStopped,
    /// Answer every caller of `Stop` and `Hibernate`: it could not be ended.
    AnswerStopFailed {
        /// Why.
        failure: Failure,
    },
    /// Answer this caller of `Hibernate`: only a ready backend can be put to sleep.
    RefuseHibernate,
}

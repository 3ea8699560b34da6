//! What repod says on its socket, in its files and to its callers: plain data, no I/O.
//!
//! The shapes here are a contract. Fields may be added; none is removed or renamed.

mod activity;
pub mod agent;
mod api;
mod endpoint;
mod error;
pub mod exit;
pub mod home;
mod ids;
mod lease;
mod limits;
mod memory;
mod request_id;
mod route;
mod session;
mod web;

pub use activity::{Activity, Doing, RepoActivity, SessionActivity, ToolActivity};
pub use agent::AgentEvent;
pub use api::{
    AdoptRequest, DaemonInfo, Done, EjectRequest, EnsureProgress, EnsureRequest, EnsureStep,
    GcReport, GcRequest, HibernateOutcome, HibernateReport, HibernateRequest, HistoryReport,
    RestartRequest, ShutdownReport, ShutdownRequest, StatusQuery, StopOutcome, StopReport,
    StopRequest, StreamItem, Target,
};
pub use endpoint::{AdoptionInfo, BackendInfo, BackendState, Endpoint, RepoStatus, RepoSummary};
pub use error::{ApiError, ErrorBody, ErrorCode};
pub use home::Home;
pub use ids::{Generation, RepoId, RepoIdError};
pub use lease::{
    CallInfo, CallState, LeaseHeld, LeaseHoldRequest, LeaseInfo, LeaseOwner, LeaseReleaseReport,
    LeaseReleaseRequest, LeaseState, OwnerKind, WaiterInfo,
};
pub use limits::{EnforcedBy, ExitCause, LastExit, LimitsInfo};
pub use memory::{Growth, MemorySample, TreeUsage};
pub use request_id::{REQUEST_ID_HEADER, REQUEST_ID_VARIABLE, RequestId, RequestIdError};
pub use route::{
    MutationFrom, MutationInfo, MutationOutcome, MutationTo, MutationsQuery, RouteApplyRequest,
    RouteBy, RouteFile, RouteReport, RouteTarget, RouteWriteRequest,
};
pub use session::{
    InstanceDisposeReport, InstanceDisposeRequest, InstanceInfo, OnBusy, SessionAbortReport,
    SessionAbortRequest, SessionAnswer, SessionDetail, SessionEnsured, SessionHow, SessionInfo,
    SessionQuery, SessionRequest, SessionStatus, SessionsQuery, TurnBegun, TurnFile, TurnInfo,
    TurnLine, TurnRequest,
};
pub use web::{MemoryHistory, MemoryQuery, WebOpened};

/// Version of the socket API, the first segment of every path.
pub const API_VERSION: &str = "v1";

/// Version of repod itself, sent by the daemon with every answer in `repod-version`.
pub const REPOD_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name of the header that carries [`REPOD_VERSION`].
pub const VERSION_HEADER: &str = "repod-version";

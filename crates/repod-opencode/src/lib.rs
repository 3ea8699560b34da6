//! All that is known of OpenCode: where its binary is, how a backend is launched, what it prints,
//! and the few HTTP calls repod makes itself.
//!
//! What holds for one generation of OpenCode only lies in [`v1_18`]; a second generation gets a
//! module beside it. Nothing here knows repod's registry, its database or its processes.

mod binary;
mod client;
mod files;
mod hold;
mod sse;
pub mod v1_18;

pub use binary::{Binary, BinaryError, is_repod, is_supported};
pub use client::{
    AgentChoice, ApplyError, BackendClient, Choices, EventBody, Health, HistoryRow, OPEN_LIMIT,
    PendingRequest, PermissionReply, ProbeError, ProjectInfo, PromptFile, PromptSpec, SessionInfo,
    SessionState,
};
pub use hold::hold_events;
pub use sse::SseDecoder;
pub use v1_18::{
    AttachCommand, AttachTarget, Guard, Launch, LaunchError, LaunchSpec, MARKER, USERNAME,
    attach_command, explain_exit, is_port_lost, ready_line, user_history, xdg_homes,
};

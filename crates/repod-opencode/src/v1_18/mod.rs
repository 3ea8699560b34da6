//! What holds for OpenCode 1.18 and the 1.x that follow: the launch, the output, the TUI.
//!
//! Facts without another source were read in, or tried on, the 1.18.33 binary.

pub mod agent;
mod attach;
mod auth;
mod cache;
mod content;
mod environment;
pub mod event;
mod launch;
mod npm;
mod output;
mod overlay;
mod plugin;
pub mod repair;
pub mod told;
mod user;

pub use attach::{AttachCommand, AttachTarget, attach_command};
pub use launch::{Guard, Launch, LaunchError, LaunchSpec};
pub use output::{explain_exit, is_port_lost, ready_line};
pub use plugin::GUARD;
pub use user::{user_history, xdg_homes};

/// The user name of basic authentication; OpenCode's own default.
pub const USERNAME: &str = "opencode";

/// The variable that marks a backend and all that descends from it.
pub const MARKER: &str = "REPOD_BACKEND";

/// The package every config directory is npm-installed with.
const PLUGIN_PACKAGE: &str = "@opencode-ai/plugin";

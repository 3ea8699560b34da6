//! Becoming the real OpenCode: the same process, terminal, exit code and arguments.

use crate::commands::{self, Outcome};
use repod_client::{ApiError, ErrorCode};
use repod_opencode::Binary;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// How often the shim has led to a real binary on the way here. An agent in an agent's terminal is
/// a few; a wrapper that finds the shim instead of OpenCode is without end.
const DEPTH: &str = "REPOD_SHIM_DEPTH";
const DEPTH_MAX: u32 = 10;

/// The `opencode` that the shim stands before.
pub(crate) fn find() -> Result<PathBuf, ApiError> {
    let setting = commands::opencode_setting();
    Binary::find(setting.as_deref(), &std::env::vars_os().collect()).map_err(|error| {
        ApiError::new(ErrorCode::OpencodeMissing, error.to_string()).hint(error.hint())
    })
}

/// Executes it with the caller's own environment and `env`. Returns only when that failed.
pub(super) fn become_real(args: &[OsString], env: &[(&str, OsString)]) -> Outcome {
    let program = find()?;
    let depth = std::env::var(DEPTH).ok().and_then(|depth| depth.parse().ok()).unwrap_or(0);
    if depth >= DEPTH_MAX {
        let message = format!("`{}` leads back to repod's shim again and again", program.display());
        return Err(ApiError::new(ErrorCode::OpencodeMissing, message).hint(
            "name the real OpenCode in `[backend] opencode` of repod.toml or in REPOD_OPENCODE",
        ));
    }
    let mut command = Command::new(&program);
    command.args(args).env(DEPTH, (depth + 1).to_string());
    let error = command.envs(env.iter().map(|(name, value)| (name, value))).exec();
    let message = format!("can't run `{}`: {error}", program.display());
    Err(ApiError::new(ErrorCode::OpencodeMissing, message))
}

//! `repod attach`: OpenCode's own terminal interface, on the repo's endpoint.

use super::{Outcome, client};
use crate::settings::Settings;
use repod_opencode::{AttachTarget, Binary};
use repod_proto::{ApiError, ErrorCode};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub(crate) async fn run(path: &Path, no_start: bool, args: Vec<OsString>) -> Outcome {
    let client = client(no_start)?;
    let endpoint = client.ensure_running(path).await?;
    let Some(url) = &endpoint.url else {
        return Err(ApiError::new(ErrorCode::Internal, "a ready endpoint without a URL"));
    };
    let setting = Settings::load(&client.home().settings())?.backend.opencode;
    let binary =
        Binary::locate(setting.as_deref(), &std::env::vars_os().collect()).map_err(|error| {
            ApiError::new(ErrorCode::OpencodeMissing, error.to_string()).hint(error.hint())
        })?;
    let target = AttachTarget {
        url,
        directory: Path::new(&endpoint.directory),
        username: &endpoint.username,
        password: endpoint.password.as_deref().unwrap_or_default(),
    };
    let attach = repod_opencode::attach_command(&binary, &target, &args);
    let error = Command::new(&attach.program).args(&attach.args).envs(attach.env).exec();
    let message = format!("can't run `{}`: {error}", attach.program.display());
    Err(ApiError::new(ErrorCode::OpencodeMissing, message))
}

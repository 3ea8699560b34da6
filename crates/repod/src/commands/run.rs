//! `repod run -- CMD`: any program, with the endpoint in its environment.

use super::{Outcome, client};
use repod_proto::{ApiError, Endpoint, ErrorCode};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub(crate) async fn run(path: &Path, no_start: bool, command: Vec<OsString>) -> Outcome {
    let endpoint = client(no_start)?.ensure_running(path).await?;
    let [program, args @ ..] = command.as_slice() else {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "no command to run"));
    };
    let error = Command::new(program).args(args).envs(environment(&endpoint)).exec();
    let message = format!("can't run `{}`: {error}", program.display());
    Err(ApiError::new(ErrorCode::InvalidRequest, message))
}

/// What a program needs to reach the endpoint.
pub(crate) fn environment(endpoint: &Endpoint) -> Vec<(&'static str, String)> {
    let password = endpoint.password.clone().unwrap_or_default();
    let mut env = vec![
        ("REPOD_REPO_ID", endpoint.repo_id.to_string()),
        ("REPOD_ROOT", endpoint.root.clone()),
        ("REPOD_DIRECTORY", endpoint.directory.clone()),
        ("REPOD_URL", endpoint.url.clone().unwrap_or_default()),
        ("REPOD_USERNAME", endpoint.username.clone()),
        ("REPOD_PASSWORD", password.clone()),
        ("OPENCODE_SERVER_USERNAME", endpoint.username.clone()),
        ("OPENCODE_SERVER_PASSWORD", password),
    ];
    if let Some(url) = &endpoint.capability_url {
        env.push(("REPOD_CAPABILITY_URL", url.clone()));
    }
    env
}

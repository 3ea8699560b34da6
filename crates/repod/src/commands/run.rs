//! `repod run -- CMD`: any program, with the endpoint in its environment.

use super::{Outcome, client};
use crate::output;
use crate::shim::link;
use repod_proto::{ApiError, Endpoint, ErrorCode, Home};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub(crate) async fn run(path: &Path, no_start: bool, command: Vec<OsString>) -> Outcome {
    let client = client(no_start)?;
    let endpoint = client.ensure_running(path).await?;
    let [program, args @ ..] = command.as_slice() else {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "no command to run"));
    };
    let mut command = Command::new(program);
    command.args(args).envs(environment(&endpoint));
    if let Some(path) = search_path(client.home()) {
        command.env("PATH", path);
    }
    let error = command.exec();
    let message = format!("can't run `{}`: {error}", program.display());
    Err(ApiError::new(ErrorCode::InvalidRequest, message))
}

/// The caller's search path with the shim first: an SDK the program uses finds this very backend.
fn search_path(home: &Home) -> Option<OsString> {
    let dir = link::default_dir(home);
    if let Err(error) = link::install(home, &dir) {
        output::warn(&format!("without the shim on its PATH: {error}"));
        return None;
    }
    link::first_on(&dir, std::env::var_os("PATH").as_deref())
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

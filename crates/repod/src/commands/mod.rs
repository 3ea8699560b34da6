//! The command line's verbs, one file each, and what they share.

mod acp;
mod attach;
mod audit;
mod completions;
mod config;
mod ensure;
mod gc;
mod harden;
mod hibernate;
mod history;
mod leases;
mod logs;
mod man;
mod mcp;
mod mutations;
mod prompt;
mod ps;
mod restart;
mod route;
mod routed;
mod run;
mod sessions;
mod shim;
mod shutdown;
mod status;
mod stop;
mod top;
mod up;
mod version;
mod web;

pub(crate) use acp::run as acp;
pub(crate) use attach::run as attach;
pub(crate) use top::Sort as TopSort;

use crate::cli::{Cli, Command, Which};
use crate::output;
use crate::settings::Settings;
use repod_client::{Client, StartPolicy};
use repod_proto::{ApiError, ErrorCode, RepoId, Target, exit};
use std::future::Future;
use std::path::{Path, PathBuf};

/// What a command ends with: an exit code, or an error that has one.
pub(crate) type Outcome = Result<u8, ApiError>;

/// Runs one command to its exit code; errors are printed here and nowhere else.
pub(crate) fn dispatch(cli: Cli) -> u8 {
    let (as_json, outcome) = match cli.command {
        Command::Up { paths, output } => (output.json, on_runtime(up::run(&paths, output))),
        Command::Ensure { path, output } => (output.json, on_runtime(ensure::run(&path, output))),
        Command::Attach { path, no_start, args } => {
            (false, on_runtime(attach::run(&path, no_start, args)))
        }
        Command::Run { path, no_start, command } => {
            (false, on_runtime(run::run(&path, no_start, command)))
        }
        Command::Ps { output } => (output.json, on_runtime(ps::run(output))),
        Command::Top(args) => (args.output.json, on_runtime(top::run(args))),
        Command::Status { path, history, output } => {
            (output.json, on_runtime(status::run(&path, history, output)))
        }
        Command::Stop { which, output } => (output.json, on_runtime(stop::run(&which, output))),
        Command::Hibernate { which, output } => {
            (output.json, on_runtime(hibernate::run(&which, output)))
        }
        Command::Restart { which, rotate, output } => {
            (output.json, on_runtime(restart::run(&which, rotate, output)))
        }
        Command::Logs { path, follow, lines, daemon, json } => {
            let wanted = logs::Wanted { follow, lines, daemon, json };
            (json, on_runtime(logs::run(&path, wanted)))
        }
        Command::Prompt { args, output } => (output.json, on_runtime(prompt::run(args, output))),
        Command::Sessions(args) => {
            let command = args.command();
            (command.json(), on_runtime(sessions::run(command)))
        }
        Command::Leases { watch, output } => (output.json, on_runtime(leases::run(watch, output))),
        Command::Lease { command } => (command.json(), on_runtime(leases::lease(command))),
        Command::Route { command } => (command.json(), on_runtime(route::run(command))),
        Command::Mutations { limit, output } => {
            (output.json, on_runtime(mutations::run(limit, output)))
        }
        Command::Mcp { wait, no_start } => {
            (false, on_runtime(mcp::run(wait.map(whole_seconds), no_start)))
        }
        Command::Acp { path, no_start } => (false, on_runtime(acp::run(&path, no_start))),
        Command::Adopt { path, output } => (output.json, on_runtime(history::adopt(&path, output))),
        Command::Eject { path, json } => (json, on_runtime(history::eject(&path, json))),
        Command::Audit(args) => (args.json || args.sarif, on_runtime(audit::run(args))),
        Command::Gc { dry_run, output } => (output.json, on_runtime(gc::run(dry_run, output))),
        Command::Shim { command } => (command.json(), shim::run(command)),
        Command::Daemon { standby } => (false, crate::daemon::run(standby)),
        Command::Shutdown { backends, json } => (json, on_runtime(shutdown::run(backends, json))),
        Command::Config { json } => (json, config::run(json)),
        Command::Harden(args) => (args.json, harden::run(&args)),
        Command::Completions { shell } => (false, completions::run(shell)),
        Command::Man { dir } => (false, man::run(dir.as_deref())),
        Command::Openapi => {
            output::line(&crate::api::openapi());
            (false, Ok(exit::OK))
        }
        Command::Routed => (false, routed::run()),
        Command::Web { open, output } => (output.json, on_runtime(web::run(open, output))),
        Command::Version { json } => (json, on_runtime(version::run(json))),
    };
    outcome.unwrap_or_else(|error| {
        output::error(&error, as_json);
        error.code.exit_code()
    })
}

/// A command needs one thread: the work is done in the daemon.
pub(crate) fn on_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("no runtime: {error}")))?
        .block_on(command)
}

/// The client of a command. All that it asks for is one request: the caller's, or one with a new name.
pub(crate) fn client(no_start: bool) -> Result<Client, ApiError> {
    let client = lasting_client(no_start)?;
    Ok(match client.is_named() {
        true => client,
        false => client.request_id(repod_client::random_request()?),
    })
}

/// The client of this process, as long as it lives: its home, its environment, this very binary as the
/// daemon.
pub(crate) fn lasting_client(no_start: bool) -> Result<Client, ApiError> {
    let client = Client::from_env()?;
    let policy = if no_start {
        StartPolicy::Never
    } else {
        let binary = std::env::current_exe().map_err(|error| {
            ApiError::new(
                ErrorCode::DaemonUnavailable,
                format!("can't find my own binary: {error}"),
            )
        })?;
        // After an upgrade in place the running file is unlinked; this link still leads to it.
        StartPolicy::With(if binary.exists() { binary } else { "/proc/self/exe".into() })
    };
    Ok(client.start_policy(policy))
}

/// `[backend] opencode`. Broken settings are said, and must not take the user's own `opencode` away.
pub(crate) fn opencode_setting() -> Option<PathBuf> {
    let settings = client(true).and_then(|client| Settings::load(&client.home().settings()));
    match settings {
        Ok(settings) => settings.backend.opencode,
        Err(error) => {
            output::warn(&error.message);
            None
        }
    }
}

/// What a `PATH` argument means: a path if there is one, else a repo id if it reads as one.
fn target(which: &Which) -> Result<Target, ApiError> {
    if which.all {
        return Ok(Target::All);
    }
    if let Some(id) = repo_id(&which.path) {
        return Ok(Target::Id(id));
    }
    absolute(&which.path).map(Target::Path)
}

fn repo_id(path: &Path) -> Option<RepoId> {
    if path.exists() {
        return None;
    }
    path.to_str()?.parse().ok()
}

fn absolute(path: &Path) -> Result<String, ApiError> {
    let absolute = std::path::absolute(path).map_err(|error| {
        ApiError::new(ErrorCode::PathNotFound, format!("`{}`: {error}", path.display()))
    })?;
    absolute.into_os_string().into_string().map_err(|path| {
        let message =
            format!("`{}` is not UTF-8, and OpenCode can't open such a path", path.display());
        ApiError::new(ErrorCode::PathNotUtf8, message).hint("rename the directory")
    })
}

/// Warnings of a backend, said once to whoever started it.
pub(crate) fn warn_all(endpoint: &repod_proto::Endpoint) {
    for warning in &endpoint.warnings {
        output::warn(&format!("{}: {warning}", endpoint.repo_id));
    }
}

/// A part of a second is waited for as a whole one: 0 would be not at all.
fn whole_seconds(wait: humantime::Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shortened_to_none() {
        for (text, seconds) in [("0s", 0), ("1ms", 1), ("1s", 1), ("1s 1ms", 2), ("5m", 300)] {
            assert_eq!(whole_seconds(text.parse().unwrap()), seconds);
        }
    }
}

//! Under the name `opencode`: the shim. What would start a second runtime is led to the repo's one
//! backend; everything else becomes the real OpenCode, with terminal and exit code intact.
//!
//! | room | holds |
//! |---|---|
//! | `grammar` | from arguments to what is to be done; no I/O |
//! | `serve` | `opencode serve`: the handle an SDK starts and ends |
//! | `real` | becoming the real binary |
//! | `link` | where the shim lies, for `repod shim` and `repod run` |

mod grammar;
pub(crate) mod link;
mod real;
mod serve;

use crate::commands::{self, Outcome};
use crate::output;
use grammar::Plan;
use repod_client::ErrorCode;
use repod_proto::RepoId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What the user agent of a handle begins with: the gateway knows it by this.
pub(crate) const AGENT: &str = "repod-shim/";

/// Whether the binary was called by the shim's name.
pub(crate) fn is_called(program: Option<&OsString>) -> bool {
    program.is_some_and(|name| Path::new(name).file_name() == Some(OsStr::new(link::NAME)))
}

/// Does what `opencode ARGS` means in a world of one backend per repository.
pub(crate) fn run(args: &[OsString]) -> u8 {
    let plan = grammar::plan(args, |dir| Path::new(dir).is_dir());
    let outcome = match plan {
        Plan::PassThrough => real::become_real(args, &[]),
        Plan::Acp { dir, dropped } => {
            for option in dropped {
                output::warn(&format!(
                    "{option} is not used: this is the repository's own backend"
                ));
            }
            let dir = dir.map_or_else(here, PathBuf::from);
            commands::on_runtime(commands::acp(&dir, false))
        }
        Plan::Serve { ignored } => commands::on_runtime(serve::run(&ignored)),
        Plan::Attach { dir, args, dropped } => {
            for option in dropped {
                output::warn(&format!(
                    "{option} is not used: this is a terminal on the repository's own backend"
                ));
            }
            let dir = dir.map_or_else(here, PathBuf::from);
            commands::on_runtime(commands::attach(&dir, false, args))
        }
        Plan::Run { before, dir, args } => {
            let dir = dir.map_or_else(here, PathBuf::from);
            commands::on_runtime(prompt(&dir, before, args))
        }
        Plan::Data => commands::on_runtime(on_the_repo_s_data(args)),
    };
    outcome.unwrap_or_else(|error| {
        output::error(&error, false);
        error.code.exit_code()
    })
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

/// `opencode run`: the real one, attached. The URL with the credential in it never gets into argv.
async fn prompt(dir: &Path, before: Vec<OsString>, args: Vec<OsString>) -> Outcome {
    let endpoint = commands::client(false)?.ensure_running(dir).await?;
    let url = endpoint.url.clone().unwrap_or_default();
    let mut all = before;
    all.extend(["run".into(), "--attach".into(), url.into()]);
    all.extend(["--dir".into(), endpoint.directory.into()]);
    all.extend(args);
    let env: [(&str, OsString); 3] = [
        ("OPENCODE_SERVER_USERNAME", endpoint.username.into()),
        ("OPENCODE_SERVER_PASSWORD", endpoint.password.unwrap_or_default().into()),
        // It opens a database even when attached.
        ("OPENCODE_DB", ":memory:".into()),
    ];
    real::become_real(&all, &env)
}

/// Commands that look into OpenCode's data find what the repo's backend has.
async fn on_the_repo_s_data(args: &[OsString]) -> Outcome {
    let client = commands::client(false)?;
    let home = client.home().clone();
    let state_of = |id: &RepoId| home.repo(id).dir().to_owned();
    let known = match client.status(".").await {
        Ok(status) => Some(state_of(&status.summary.endpoint.repo_id)),
        Err(error) if error.code == ErrorCode::NotRunning => None,
        Err(error) => return Err(error),
    };
    let state = match known {
        // A repo whose first start is still to come has a record but no directories yet.
        Some(state) if state.join("data/opencode").is_dir() => state,
        _ => state_of(&client.ensure_running(".").await?.repo_id),
    };
    let env = repod_opencode::xdg_homes(&state);
    real::become_real(args, &env)
}

//! `repod shim`: an `opencode` in front of the real one. Needs no daemon.

use super::{Outcome, client};
use crate::cli::ShimCommand;
use crate::output;
use crate::shim::link::{self, Found};
use repod_client::{ApiError, ErrorCode, Home};
use repod_opencode::Binary;
use repod_proto::exit;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Status {
    /// Where the shim lies or would lie.
    dir: PathBuf,
    installed: bool,
    /// The repod binary it leads to.
    target: Option<PathBuf>,
    /// Whether `opencode` in this environment is the shim.
    active: bool,
    /// What `opencode` is in this environment.
    first_on_path: Option<PathBuf>,
    /// The real OpenCode behind it.
    opencode: Option<PathBuf>,
    /// The line that puts the shim first.
    profile_line: String,
}

pub(crate) fn run(command: ShimCommand) -> Outcome {
    let client = client(true)?;
    let home = client.home();
    match command {
        ShimCommand::Install { at } => {
            let dir = directory(home, at.dir)?;
            link::install(home, &dir)?;
            let status = look(&dir)?;
            if at.json {
                output::json(&status);
                return Ok(exit::OK);
            }
            output::line(&format!("installed {}", dir.join(link::NAME).display()));
            print_what_to_do(&status);
            Ok(exit::OK)
        }
        ShimCommand::Uninstall { at } => {
            let dir = directory(home, at.dir)?;
            let removed = link::uninstall(&dir)?;
            if at.json {
                output::json(&look(&dir)?);
            } else if removed {
                output::line(&format!("removed {}", dir.join(link::NAME).display()));
                output::note("take its directory out of your shell profile's PATH as well");
            } else {
                output::line(&format!("there is no shim in {}", dir.display()));
            }
            Ok(exit::OK)
        }
        ShimCommand::Status { at } => {
            let status = look(&directory(home, at.dir)?)?;
            if at.json {
                output::json(&status);
            } else {
                print(&status);
            }
            Ok(if status.installed { exit::OK } else { exit::FAILURE })
        }
    }
}

fn directory(home: &Home, dir: Option<PathBuf>) -> Result<PathBuf, ApiError> {
    let dir = dir.unwrap_or_else(|| link::default_dir(home));
    std::path::absolute(&dir).map_err(|error| {
        ApiError::new(ErrorCode::InvalidRequest, format!("`{}`: {error}", dir.display()))
    })
}

fn look(dir: &Path) -> Result<Status, ApiError> {
    let target = match link::look(dir)? {
        Found::Shim { target } => Some(target),
        Found::Nothing | Found::Dangling | Found::Stranger => None,
    };
    let search = std::env::var_os("PATH");
    let first = link::on_path(search.as_deref()).next();
    let same = |path: &PathBuf| {
        path.parent().and_then(|parent| fs_err::canonicalize(parent).ok())
            == fs_err::canonicalize(dir).ok()
    };
    Ok(Status {
        dir: dir.to_owned(),
        installed: target.is_some(),
        active: target.is_some() && first.as_ref().is_some_and(same),
        target,
        first_on_path: first,
        opencode: real(),
        profile_line: profile_line(dir),
    })
}

/// The OpenCode a backend is started with; that there is none is shown, not an error here.
fn real() -> Option<PathBuf> {
    Binary::find(super::opencode_setting().as_deref(), &std::env::vars_os().collect()).ok()
}

fn profile_line(dir: &Path) -> String {
    let dir = dir.display().to_string().replace('\'', "'\\''");
    let shell = std::env::var("SHELL").unwrap_or_default();
    if shell.ends_with("/fish") {
        return format!("fish_add_path --move --prepend '{dir}'");
    }
    format!("export PATH='{dir}':\"$PATH\"")
}

fn print_what_to_do(status: &Status) {
    if status.active {
        output::line("it is first on your PATH");
    } else {
        output::line(
            "to put it first on your PATH, add this line at the end of your shell's profile:",
        );
        output::line(&format!("  {}", status.profile_line));
    }
}

fn print(status: &Status) {
    let row = |name: &str, value: String| output::line(&format!("{name:<14} {value}"));
    let path = |path: &Option<PathBuf>| {
        path.as_ref().map_or_else(output::dash, |path| path.display().to_string())
    };
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    row("directory", status.dir.display().to_string());
    row("installed", yes(status.installed));
    row("leads to", path(&status.target));
    row("first on PATH", yes(status.active));
    row("opencode is", path(&status.first_on_path));
    row("real opencode", path(&status.opencode));
    if !status.installed {
        output::note("`repod shim install` makes it");
    } else if !status.active {
        output::note(&format!("add to your shell's profile: {}", status.profile_line));
    }
}

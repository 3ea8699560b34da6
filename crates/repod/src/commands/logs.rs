//! `repod logs`: what a backend printed. Reads the file itself, so it works without a daemon.

use super::{Outcome, repo_id};
use crate::output;
use crate::repo;
use repod_client::{ApiError, ErrorCode, Home};
use repod_proto::{RepoId, exit};
use repod_supervisor::log_tail::{self, LogFollower};
use serde::Serialize;
use std::path::Path;

/// How far back the last lines are looked for.
const TAIL_MAX: u64 = 4 * 1024 * 1024;

/// How the log is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) follow: bool,
    pub(crate) lines: usize,
    pub(crate) daemon: bool,
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    repo_id: Option<&'a RepoId>,
    line: &'a str,
}

pub(crate) async fn run(path: &Path, wanted: Wanted) -> Outcome {
    let home = Home::from_env(|name| std::env::var_os(name)).ok_or_else(|| {
        ApiError::new(ErrorCode::HomeUnusable, "neither REPOD_HOME nor HOME is an absolute path")
    })?;
    let (id, file) = if wanted.daemon {
        (None, home.log())
    } else {
        let id = match repo_id(path) {
            Some(id) => id,
            None => repo::locate(Path::new(&super::absolute(path)?))?.repo.id,
        };
        let file = home.repo(&id).backend_log();
        (Some(id), file)
    };
    let size = match fs_err::metadata(&file) {
        Ok(meta) => meta.len(),
        Err(_) => return Err(nothing(&file)),
    };
    let failed = |error: std::io::Error| {
        ApiError::new(ErrorCode::StateIo, format!("`{}` can't be read: {error}", file.display()))
    };
    let print = |line: &str| {
        if wanted.json {
            output::ndjson(&Line { repo_id: id.as_ref(), line });
        } else {
            output::line(line);
        }
    };
    let text = log_tail::tail(&file, TAIL_MAX, 0).map_err(failed)?;
    let lines: Vec<_> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(wanted.lines)..] {
        print(line);
    }
    if wanted.follow {
        let mut following = LogFollower::open(&file, size).map_err(failed)?;
        loop {
            print(&following.next_line().await.map_err(failed)?);
        }
    }
    Ok(exit::OK)
}

fn nothing(file: &Path) -> ApiError {
    let message = format!("there is no log yet (`{}`)", file.display());
    ApiError::new(ErrorCode::NotRunning, message).hint("`repod up` starts the backend")
}

//! `git` as a tool: bounded in time and output, and untouched by anybody's configuration.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Longest run: it only ever works on a few files.
const BOUND: Duration = Duration::from_secs(30);
/// Most output, and most input.
pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What is kept of an error's text.
const MAX_ERROR: usize = 4 * 1024;

/// Why git gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("can't run git")]
    Run(#[source] io::Error),
    #[error("git took longer than {} s", BOUND.as_secs())]
    Late,
    #[error("more than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooMuch,
    #[error("git failed: {0}")]
    Failed(String),
}

/// Runs `git` in `dir` with `input`; exit codes other than 0 and `also` are errors.
///
/// With `scrubbed` neither the user's nor the system's configuration is read, and no repository but
/// the one named in `args` is found. Without it the repo's own view is wanted (its attributes).
pub(crate) async fn run(
    dir: &Path,
    args: &[OsString],
    input: &[u8],
    also: i32,
    scrubbed: bool,
) -> Result<Vec<u8>, GitError> {
    if input.len() > MAX_BYTES {
        return Err(GitError::TooMuch);
    }
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    if scrubbed {
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CEILING_DIRECTORIES", "/");
        command.env("HOME", "/nonexistent").env("XDG_CONFIG_HOME", "/nonexistent");
    }
    let mut child = command.spawn().map_err(GitError::Run)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A git that has seen enough closes its end; its exit code says the rest.
            let _ = stdin.write_all(input).await;
        }
    };
    let whole = async {
        let ((), out, err) = tokio::join!(feed, read(stdout, MAX_BYTES), read(stderr, MAX_ERROR));
        let (out, all) = out?;
        if !all {
            return Err(GitError::TooMuch);
        }
        let status = child.wait().await.map_err(GitError::Run)?;
        if status.success() || status.code() == Some(also) {
            return Ok(out);
        }
        Err(GitError::Failed(String::from_utf8_lossy(&err?.0).trim().to_owned()))
    };
    tokio::time::timeout(BOUND, whole).await.map_err(|_| GitError::Late)?
}

/// Reads to the end, or to `most`: then false, and the pipe is closed.
async fn read(
    pipe: Option<impl AsyncRead + Unpin>,
    most: usize,
) -> Result<(Vec<u8>, bool), GitError> {
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else { return Ok((bytes, true)) };
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    pipe.take(limit).read_to_end(&mut bytes).await.map_err(GitError::Run)?;
    let all = bytes.len() <= most;
    bytes.truncate(most);
    Ok((bytes, all))
}

//! `opencode serve` under the shim: what an SDK starts, reads one line of, and ends with SIGTERM.
//!
//! There is no server in this process. The line names the repo's endpoint; the process itself is a
//! handle: while it lives, its open event stream keeps the backend awake. Nothing is started or
//! stopped with it.

use crate::capability;
use crate::commands::{self, Outcome};
use crate::output;
use crate::secret::random_hex;
use repod_client::{ApiError, Client, Endpoint, ErrorCode};
use repod_proto::{REPOD_VERSION, exit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// An SDK gives a server 5 s to say where it is. The endpoint holds requests while its backend
/// starts, so it can be named before that has come up.
const PATIENCE: Duration = Duration::from_secs(2);
const ASK_AGAIN: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const ORPHAN_TICK: Duration = Duration::from_secs(2);
const CONFIG_CONTENT: &str = "OPENCODE_CONFIG_CONTENT";
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

pub(super) async fn run(ignored: &[String]) -> Outcome {
    let stopped = stopped()?;
    tokio::pin!(stopped);
    tokio::select! {
        outcome = serve(ignored) => outcome,
        () = &mut stopped => Ok(exit::OK),
    }
}

async fn serve(ignored: &[String]) -> Outcome {
    let mut env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    // One program's own configuration must not stick to a backend that others use as well.
    let inline = env.remove(CONFIG_CONTENT);
    let client = commands::lasting_client(false)?.env(env);
    if !ignored.is_empty() {
        output::warn(&format!(
            "not used, because this repository is served at its own endpoint: {}",
            ignored.join(" ")
        ));
    }
    if inline.is_some_and(|config| !is_empty_config(&config)) {
        output::warn(&format!(
            "the configuration in {CONFIG_CONTENT} is not used, because other programs share this \
             backend; what it is to know belongs in the repository's opencode.json"
        ));
    }

    let here = Path::new(".");
    let id = random_hex::<16>()?;
    let ensured = client.ensure_running(here);
    tokio::pin!(ensured);
    tokio::select! {
        endpoint = &mut ensured => {
            let given = given(&endpoint?, &id)?;
            // Said when its handle is there: it may be closed at once.
            hold(&given, &id, Some(&given)).await
        }
        endpoint = starting(&client, here) => {
            let given = given(&endpoint, &id)?;
            announce(&given);
            // That it doesn't come up is still this program's business.
            ensured.await?;
            hold(&given, &id, None).await
        }
    }
}

/// The endpoint of a backend that takes long to come up, once it can be talked to.
async fn starting(client: &Client, here: &Path) -> Endpoint {
    sleep(PATIENCE).await;
    loop {
        if let Ok(status) = client.status(here).await
            && status.summary.endpoint.capability_url.is_some()
        {
            return status.summary.endpoint;
        }
        sleep(ASK_AGAIN).await;
    }
}

/// The words an SDK looks for.
fn announce(url: &str) {
    output::line(&format!("opencode server listening on {url}"));
}

/// The URL a program gets.
fn given(endpoint: &Endpoint, id: &str) -> Result<String, ApiError> {
    let Some(url) = &endpoint.capability_url else {
        let message = "this repod daemon offers no URL that carries its own credential, and an SDK \
                       that starts `opencode serve` can't send a password";
        return Err(ApiError::new(ErrorCode::DaemonUnavailable, message).hint(
            "is an older daemon running? `repod shutdown` lets a new one start; or use \
             `repod ensure --json` and its password",
        ));
    };
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    if password.is_some() && password != endpoint.password {
        output::warn(&format!("{PASSWORD} is not used: the endpoint has its own password"));
    }
    commands::warn_all(endpoint);
    Ok(capability::of_handle(&from_here(endpoint, url), id))
}

/// What an SDK sends names no directory, and means the one its server was started in: a linked
/// worktree, or one below the repository's root.
fn from_here(endpoint: &Endpoint, url: &str) -> String {
    let here =
        std::env::current_dir().ok().and_then(|here| here.into_os_string().into_string().ok());
    match here {
        Some(here) if here != endpoint.root => capability::bind(url, &here),
        _ => url.to_owned(),
    }
}

/// Keeps the event stream open, for ever: what the program opens by its URL ends with this stream.
/// A handle that lost it tries again, and starts nothing: what somebody stopped stays stopped.
async fn hold(url: &str, id: &str, mut unsaid: Option<&str>) -> Outcome {
    let url = capability::of_owner(url, id);
    let agent = format!("{}{REPOD_VERSION}", super::AGENT);
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let mut opened = false;
        let on_open = || {
            opened = true;
            unsaid.take().into_iter().for_each(announce);
        };
        let ended = repod_opencode::hold_events(&url, &agent, on_open).await;
        unsaid.take().into_iter().for_each(announce);
        if opened {
            pause = FIRST_PAUSE;
            said.clear();
        } else if let Err(error) = ended {
            let error = error.to_string();
            if error != said {
                output::note(&format!("the endpoint is out of reach: {error}; trying again"));
                said = error;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns when this process is told to end, or nobody is left who could tell it.
fn stopped() -> Result<impl Future<Output = ()>, ApiError> {
    let on = |kind| {
        signal(kind).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("can't listen for signals: {error}"))
        })
    };
    let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = orphaned() => {}
        }
    })
}

/// Returns when both the reader of our line and our parent are gone: a program that was killed can't
/// end its handle, and a backend would stay awake for nobody. `nohup opencode serve >log &` has no
/// such reader, and lives on.
async fn orphaned() {
    let parent = rustix::process::getppid();
    while rustix::process::getppid() == parent || !reader_is_gone() {
        sleep(ORPHAN_TICK).await;
    }
}

/// Asks about errors alone: a pipe that nobody reads has one, a file or a terminal has none.
fn reader_is_gone() -> bool {
    let stdout = std::io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|found| found > 0)
}

fn is_empty_config(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
            .is_ok_and(|config| config.is_empty())
}

#[cfg(test)]
mod tests {
    use super::is_empty_config;

    #[test]
    fn an_sdk_without_a_configuration_says_so_in_json() {
        assert!(is_empty_config("{}") && is_empty_config(" { } ") && is_empty_config(""));
        assert!(!is_empty_config(r#"{"model":"a/b"}"#) && !is_empty_config("{ // no"));
    }
}

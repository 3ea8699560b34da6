//! ensure: `ensureRunning(path) -> endpoint`, the one way a backend comes to be.
//!
//! Warm, it answers from memory. Otherwise the request joins the start in flight: ten callers cause
//! one start, and a caller who leaves cancels nothing.

use crate::backend::{Asked, RepoHandle, View};
use crate::daemon::Daemon;
use crate::repo::Located;
use crate::tally::{Timings, label};
use futures_util::stream::{self, Stream};
use repod_proto::{ApiError, BackendState, Endpoint, EnsureRequest, ErrorCode, StreamItem};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument as _;

label! {
    /// How a caller came to the endpoint.
    Ensured, "outcome":
    /// It was there: answered from memory.
    Warm = "warm";
    /// It was started for this caller.
    Cold = "cold";
    /// It was being started, for another.
    Joined = "joined";
    /// It could not be had.
    Failed = "failed";
    /// The caller did not wait for it.
    Left = "left";
}

/// How long callers have waited for endpoints. Those who only looked, and would have had nothing
/// started, are not among them.
pub(crate) type Ensures = Timings<Ensured>;

/// Progress lines that wait for a slow reader; more are skipped, only the last word counts.
const PROGRESS_QUEUE: usize = 16;
/// How long a caller waits who names no limit: a start, behind many others that wait for their turn.
const ENSURE_LIMIT: Duration = Duration::from_secs(300);
/// How long a caller waits for a backend that lives and does not answer.
const UNRESPONSIVE_LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn ensure(daemon: &Daemon, request: EnsureRequest) -> Result<Endpoint, ApiError> {
    let timing = request.start.then(|| daemon.ensures.begin(Ensured::Left));
    let mut how = Ensured::Warm;
    let ensured = ensure_as(daemon, request, &mut how).await;
    if let Some(timing) = timing {
        timing.end(if ensured.is_ok() { how } else { Ensured::Failed });
    }
    ensured
}

async fn ensure_as(
    daemon: &Daemon,
    request: EnsureRequest,
    how: &mut Ensured,
) -> Result<Endpoint, ApiError> {
    let (located, handle) = find(daemon, &request).await?;
    let view = settle(&handle, request, how).await?;
    Ok(view.endpoint(handle.repo(), &located.directory, located.branch.clone()))
}

/// The same, line by line: progress, and in the end the endpoint or the error.
pub(crate) fn ensure_stream(
    daemon: Arc<Daemon>,
    request: EnsureRequest,
) -> impl Stream<Item = StreamItem> + Send {
    let (lines, received) = mpsc::channel(PROGRESS_QUEUE);
    let narrating = async move {
        let timing = request.start.then(|| daemon.ensures.begin(Ensured::Left));
        let mut how = Ensured::Warm;
        let ensured = narrate(&daemon, request, &lines, &mut how).await;
        if let Some(timing) = timing {
            timing.end(if ensured.is_ok() { how } else { Ensured::Failed });
        }
        let last = match ensured {
            Ok(endpoint) => StreamItem::Ready(Box::new(endpoint)),
            Err(error) => StreamItem::Error(error),
        };
        // A reader that went away only misses the answer.
        let _ = lines.send(last).await;
    };
    // Its log lines stay the request's.
    tokio::spawn(narrating.in_current_span());
    stream::unfold(received, |mut received| async { Some((received.recv().await?, received)) })
}

async fn narrate(
    daemon: &Daemon,
    request: EnsureRequest,
    lines: &mpsc::Sender<StreamItem>,
    how: &mut Ensured,
) -> Result<Endpoint, ApiError> {
    let (located, handle) = find(daemon, &request).await?;
    let mut views = handle.watch();
    let settled = settle(&handle, request, how);
    tokio::pin!(settled);
    let mut said = None;
    loop {
        let now = views.borrow_and_update().progress(&handle.repo().id);
        if now != said {
            said.clone_from(&now);
            if let Some(now) = now {
                let _ = lines.try_send(StreamItem::Progress(now));
            }
        }
        tokio::select! {
            biased;
            view = &mut settled => {
                return Ok(view?.endpoint(handle.repo(), &located.directory, located.branch.clone()));
            }
            changed = views.changed() => {
                if changed.is_err() {
                    return Err(ApiError::new(ErrorCode::ShuttingDown, "the daemon is ending"));
                }
            }
        }
    }
}

async fn find(daemon: &Daemon, request: &EnsureRequest) -> Result<(Located, RepoHandle), ApiError> {
    let located = daemon.locator.locate(&request.path).await?;
    let handle = if request.start {
        daemon.fleet.register(&located.repo).await?
    } else {
        let known = daemon.fleet.known(&located.repo.id).await?;
        known.ok_or_else(|| not_running(&located))?
    };
    handle.check_same(&located.repo)?;
    Ok((located, handle))
}

async fn settle(
    handle: &RepoHandle,
    request: EnsureRequest,
    how: &mut Ensured,
) -> Result<Arc<View>, ApiError> {
    let mut view = handle.view();
    if view.is_adopting() || view.has_just_died() {
        view = handle.settled().await;
    }
    if view.is_ready() {
        handle.touch();
        return Ok(view);
    }
    if !request.start {
        return if view.state.is_live() { Ok(view) } else { Err(stopped(handle)) };
    }
    let limit = request.timeout_seconds.map_or(ENSURE_LIMIT, Duration::from_secs);
    let was_down = !view.state.is_live();
    tracing::info!(repo = %handle.repo().id, state = view.state.as_str(), "a backend is wanted");
    let ensured = handle.ensure(Asked { env: request.env });
    tokio::select! {
        view = ensured => {
            let view = view?;
            let is_mine = was_down && handle.counts().claim(view.generation);
            *how = if is_mine { Ensured::Cold } else { Ensured::Joined };
            Ok(view)
        }
        () = tokio::time::sleep(limit) => Err(late(limit)),
        () = unresponsive_for(handle, UNRESPONSIVE_LIMIT) => Err(unresponsive(handle)),
    }
}

/// Returns when the backend has been without an answer for that long.
async fn unresponsive_for(handle: &RepoHandle, limit: Duration) {
    let mut views = handle.watch();
    let is = |view: &Arc<View>| view.state == BackendState::Unresponsive;
    loop {
        let ended = async {
            let _ = views.wait_for(is).await;
            let _ = tokio::time::timeout(limit, views.wait_for(|view| !is(view))).await;
            is(&views.borrow())
        };
        if ended.await {
            return;
        }
    }
}

fn late(limit: Duration) -> ApiError {
    let message =
        format!("the backend was not ready within {} s; its start goes on", limit.as_secs());
    ApiError::new(ErrorCode::Deadline, message)
        .hint("`repod ps` shows how far it is; ask again to wait on")
}

fn unresponsive(handle: &RepoHandle) -> ApiError {
    let pid = handle.view().process.as_ref().map_or(0, |process| process.identity.pid);
    let message = format!(
        "the backend of `{}` (pid {pid}) is alive but has not answered for {} s",
        handle.repo().root.display(),
        UNRESPONSIVE_LIMIT.as_secs()
    );
    ApiError::new(ErrorCode::BackendUnresponsive, message)
        .hint("it may be busy: a slow backend is never killed; `repod restart` ends it by force")
}

fn stopped(handle: &RepoHandle) -> ApiError {
    let message = format!("no backend is running for `{}`", handle.repo().root.display());
    ApiError::new(ErrorCode::NotRunning, message).hint("leave out `--no-start` to start it")
}

fn not_running(located: &Located) -> ApiError {
    let message = format!("no backend is running for `{}`", located.repo.root.display());
    ApiError::new(ErrorCode::NotRunning, message).hint("leave out `--no-start` to start it")
}

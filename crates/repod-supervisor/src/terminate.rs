//! How a backend and its descendants are ended.
//!
//! The ladder: ask politely, then SIGTERM, then SIGKILL, each step bounded, with a look at the
//! processes before and after each. The first look comes before anything is asked, while the ties are
//! still there: a command whose parent ends is handed to init, and may then be found by nothing.
//!
//! ```text
//! look ─► dispose (bounded) ─► look ─► SIGTERM + SIGCONT ─► wait ≤ term ─► look ─► SIGKILL ─► wait ≤ kill
//!                                                                            ▲                  │
//!                                                                            └── still some? ───┘
//! ```
//!
//! Every signal goes through a pidfd that was verified after it was opened.

use crate::identity::Signal;
use crate::tree::{ProcessTree, TreeError};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How often SIGKILL is tried. Each round catches what was forked while the one before was sent.
const KILL_ROUNDS: u32 = 8;

/// The bounds of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// For the polite phase.
    pub dispose: Duration,
    /// Between SIGTERM and SIGKILL.
    pub term: Duration,
    /// For each round of SIGKILL; more than a moment only for a process stuck in the kernel.
    pub kill: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { dispose: seconds(5), term: seconds(5), kill: seconds(2) }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminated {
    /// How many processes have ended, the killed included.
    pub ended: u32,
    /// How many of them needed SIGKILL.
    pub killed: u32,
    /// Pids that are still there: stuck in the kernel, or not to be signalled by this user.
    pub survivors: Vec<u32>,
}

/// Ends the whole tree. `dispose` is the polite phase (ask the backend to close its sessions); it is
/// bounded by `grace.dispose`, and left out when the leader is gone, since its port may be another's.
///
/// Dropping the future stops between two steps; calling it again starts over.
pub async fn terminate(
    tree: ProcessTree,
    dispose: impl Future<Output = ()>,
    grace: Grace,
) -> Result<Terminated, TreeError> {
    let mut tree = rescan(tree).await?;
    if tree.leader_is_alive() {
        // A polite phase that takes too long is simply over: the next step asks less politely.
        let _ = timeout(grace.dispose, dispose).await;
        tree = rescan(tree).await?;
    }
    for member in tree.alive() {
        // A refused signal shows as a survivor.
        let _ = member.handle().signal(Signal::TERM);
        // A stopped process does not even die of SIGTERM until it goes on.
        let _ = member.handle().signal(Signal::CONT);
    }
    wait_for_all(&tree, grace.term).await?;

    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..KILL_ROUNDS {
        tree = rescan(tree).await?;
        let left: Vec<_> = tree.alive().map(|member| member.handle()).collect();
        if left.is_empty() {
            break;
        }
        for handle in left {
            if matches!(handle.signal(Signal::KILL), Ok(true)) {
                killed.insert(handle.identity().clone());
            }
        }
        wait_for_all(&tree, grace.kill).await?;
    }
    let survivors: Vec<u32> = tree.alive().map(|member| member.handle().pid()).collect();
    killed.retain(|identity| !survivors.contains(&identity.pid));
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Terminated {
        ended: count(tree.members().len() - survivors.len()),
        killed: count(killed.len()),
        survivors,
    })
}

/// Waits until every member has ended, or the time is over.
async fn wait_for_all(tree: &ProcessTree, bound: Duration) -> Result<(), TreeError> {
    let deadline = Instant::now() + bound;
    for member in tree.alive() {
        match timeout_at(deadline, member.handle().exited()).await {
            Ok(result) => result?,
            Err(_) => break,
        }
    }
    Ok(())
}

/// Reads `/proc` on a thread that may block.
async fn rescan(mut tree: ProcessTree) -> Result<ProcessTree, TreeError> {
    let scan = tokio::task::spawn_blocking(move || tree.rescan().map(|()| tree));
    scan.await.map_err(|_| TreeError::Interrupted)?
}

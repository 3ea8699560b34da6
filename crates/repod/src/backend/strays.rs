//! Processes of this home that no backend in the books accounts for: a tool that outlived its
//! backend, a backend whose record was moved away. Only what carries our marker is touched.

use repod_supervisor::terminate::{Grace, terminate};
use repod_supervisor::tree::{ProcessTree, Snapshot, TreeError};
use std::collections::BTreeSet;

/// Ends every process whose marker begins with `prefix` and with none of `keep`, and says how many
/// those were. A dry run only counts.
pub(crate) async fn end(prefix: &str, keep: &[String], dry_run: bool) -> u32 {
    let prefix = prefix.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        Snapshot::take().and_then(|machine| machine.by_marker_prefix(&prefix))
    });
    let found = match looked.await.map_err(|_| TreeError::Interrupted).and_then(|found| found) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "left-over processes can't be looked for");
            return 0;
        }
    };
    let mut ended = 0;
    let mut markers = BTreeSet::new();
    for (_, marker) in found {
        if !keep.iter().any(|kept| marker.starts_with(kept)) {
            ended += 1;
            markers.insert(marker);
        }
    }
    if dry_run {
        return ended;
    }
    let mut processes = 0;
    for marker in markers {
        tracing::info!(%marker, "ending left-over processes");
        let tree = ProcessTree::new(None, marker);
        match terminate(tree, std::future::ready(()), Grace::default()).await {
            Ok(outcome) => processes += outcome.ended,
            Err(error) => tracing::warn!(%error, "left-over processes can't be ended"),
        }
    }
    processes
}

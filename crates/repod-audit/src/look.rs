//! A whole audit: one look, and where it found what may pass by itself, a second one.

use crate::read::{self, Sources};
use crate::{Report, Snapshot, rules};
use repod_proto::LeaseInfo;
use std::time::Duration;

/// How long a doubtful finding is given to turn out to be a passing state.
const SECOND_LOOK: Duration = Duration::from_millis(150);

/// Looks at everything, and judges it. Blocking, but for databases.
///
/// `leases` asks the daemon, where there is one.
pub async fn look(
    sources: &Sources,
    leases: impl AsyncFn() -> Vec<LeaseInfo>,
) -> (Snapshot, Report) {
    let look = async || {
        let mut snapshot = read::snapshot(sources).await;
        snapshot.leases = leases().await;
        snapshot
    };
    let snapshot = look().await;
    let report = rules::judge(&snapshot);
    if !rules::is_doubtful(&report) {
        return (snapshot, report);
    }
    tokio::time::sleep(SECOND_LOOK).await;
    let snapshot = look().await;
    let report = rules::confirmed(&report, rules::judge(&snapshot));
    (snapshot, report)
}

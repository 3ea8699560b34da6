//! activity: what goes on in all repos, out of memory: no disk, no database, nobody is asked. It may
//! be asked every second.

use super::ps::known;
use crate::backend::RepoHandle;
use crate::daemon::Daemon;
use crate::hub::Hub;
use jiff::Timestamp;
use repod_proto::{Activity, ApiError, LeaseInfo, RepoActivity};

/// Sessions told of in each repo.
const SESSIONS_MAX: usize = 32;

pub(crate) async fn activity(daemon: &Daemon) -> Result<Activity, ApiError> {
    let leases = daemon.coordination.leases().await?;
    let all = daemon.fleet.all();
    let mut repos: Vec<_> = all.iter().map(|handle| repo(daemon, handle, &leases)).collect();
    let unusable = daemon.fleet.unusable().into_iter();
    repos.extend(unusable.map(|summary| RepoActivity {
        summary,
        rss_history: Vec::new(),
        active: Vec::new(),
        more: 0,
    }));
    repos.sort_by(|a, b| a.summary.endpoint.repo_id.cmp(&b.summary.endpoint.repo_id));
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    Ok(Activity { at, repos, leases })
}

fn repo(daemon: &Daemon, handle: &RepoHandle, leases: &[LeaseInfo]) -> RepoActivity {
    let mut summary = known(daemon, handle, &handle.view(), Some(leases));
    summary.rss_bytes = summary.memory.as_ref().map(|sample| sample.usage.rss);
    let (id, generation) = (&summary.endpoint.repo_id, summary.endpoint.generation);
    let rss_history = match summary.memory {
        Some(_) => daemon.memory.rss_history(id, generation),
        None => Vec::new(),
    };
    // The log's tail is for whoever asks for this one repo.
    if let Some(error) = &mut summary.error {
        error.details.remove("log_tail");
    }
    let live = summary.endpoint.state.is_live();
    let hub = handle.known_hub().filter(|_| live);
    let (active, more) = hub.map(|hub: &Hub| hub.doing(SESSIONS_MAX)).unwrap_or_default();
    RepoActivity { summary, rss_history, active, more }
}

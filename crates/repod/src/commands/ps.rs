//! `repod ps`: every repo, one line each. Never a secret.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output::{self, Rows};
use repod_proto::exit;

pub(crate) async fn run(output: Output) -> Outcome {
    let repos = client(output.no_start)?.ps().await?;
    if output.json {
        output::json(&repos);
        return Ok(exit::OK);
    }
    if repos.is_empty() {
        output::note("no repos yet: `repod up PATH…` starts the first");
        return Ok(exit::OK);
    }
    let head = [
        "REPO", "STATE", "GEN", "PID", "PORT", "RSS", "SESSIONS", "BUSY", "CLIENTS", "IDLE", "ROOT",
    ];
    let mut rows = Rows::new(&head);
    for repo in &repos {
        let endpoint = &repo.endpoint;
        let backend = endpoint.backend.as_ref();
        rows.push(vec![
            endpoint.repo_id.to_string(),
            output::state(endpoint.state),
            endpoint.generation.to_string(),
            output::number(backend.map(|backend| backend.pid.into())),
            output::number(backend.map(|backend| backend.port.into())),
            output::bytes(repo.rss_bytes),
            output::number(repo.sessions),
            output::number(repo.busy),
            output::number(repo.clients),
            output::seconds(repo.idle_seconds),
            endpoint.root.clone(),
        ]);
    }
    rows.print();
    for repo in &repos {
        if let Some(error) = &repo.error {
            output::warn(&format!("{}: {}", repo.endpoint.repo_id, error.message));
        }
    }
    Ok(exit::OK)
}

//! `repod restart`: stop and start; the way out of `failed`.

use super::{Outcome, client, target};
use crate::cli::{Output, Which};
use crate::output;
use repod_proto::{RestartRequest, exit};

pub(crate) async fn run(which: &Which, rotate: bool, output: Output) -> Outcome {
    let request = RestartRequest { target: target(which)?, env: None, rotate };
    let endpoints = client(output.no_start)?.restart(request).await?;
    if output.json {
        output::json(&endpoints);
    } else {
        for endpoint in &endpoints {
            let url = endpoint.url.as_deref().unwrap_or("-");
            let state = output::state(endpoint.state);
            output::line(&format!("{} {state} {url}", endpoint.repo_id));
            super::warn_all(endpoint);
        }
    }
    Ok(exit::OK)
}

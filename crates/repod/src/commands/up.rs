//! `repod up`: many repos at once, each with a line that says what it is doing.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output::{self, Rows};
use futures_util::future::join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use repod_client::Client;
use repod_proto::{ApiError, Done, Endpoint, EnsureProgress, ErrorBody, exit};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One element of `up --json`: the endpoint, or the path and why not.
#[derive(Serialize)]
#[serde(untagged)]
enum Element<'a> {
    Up(&'a Endpoint),
    Failed {
        path: String,
        #[serde(flatten)]
        error: ErrorBody,
    },
}

pub(crate) async fn run(paths: &[PathBuf], output: Output) -> Outcome {
    let client = client(output.no_start)?;
    let lines = MultiProgress::new();
    let quiet = output.json || !std::io::stderr().is_terminal();
    let each = paths.iter().map(|path| ensure_one(&client, path, &lines, quiet));
    let results = join_all(each).await;
    let _ = lines.clear();

    if output.json {
        let elements: Vec<_> = paths
            .iter()
            .zip(&results)
            .map(|(path, result)| match result {
                Ok(endpoint) => Element::Up(endpoint),
                Err(error) => Element::Failed {
                    path: path.display().to_string(),
                    error: ErrorBody { error: error.clone() },
                },
            })
            .collect();
        output::json(&elements);
    } else {
        print(&results);
    }
    let failed = results.iter().find_map(|result| result.as_ref().err());
    Ok(failed.map_or(exit::OK, |error| error.code.exit_code()))
}

async fn ensure_one(
    client: &Client,
    path: &Path,
    lines: &MultiProgress,
    quiet: bool,
) -> Result<Endpoint, ApiError> {
    if quiet {
        return client.ensure_running(path).await;
    }
    let bar = lines.add(ProgressBar::new_spinner());
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {prefix:.bold}  {msg} {elapsed:.dim}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(path.display().to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    let told = |progress: EnsureProgress| match progress.sessions {
        Some(Done { done, of }) => {
            bar.set_message(format!("{}, {done} of {of}", progress.step.as_str()));
        }
        None => bar.set_message(progress.step.as_str()),
    };
    let result = client.ensure_with_progress(path, told).await;
    match &result {
        Ok(endpoint) => bar.finish_with_message(endpoint.state.as_str()),
        Err(error) => bar.abandon_with_message(error.code.to_string()),
    }
    result
}

fn print(results: &[Result<Endpoint, ApiError>]) {
    let mut rows = Rows::new(&["REPO", "STATE", "GEN", "PID", "URL", "DIRECTORY"]);
    let up: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    for endpoint in &up {
        rows.push(vec![
            endpoint.repo_id.to_string(),
            output::state(endpoint.state),
            endpoint.generation.to_string(),
            output::number(endpoint.backend.as_ref().map(|backend| backend.pid.into())),
            endpoint.url.clone().unwrap_or_else(output::dash),
            endpoint.directory.clone(),
        ]);
    }
    if !up.is_empty() {
        rows.print();
    }
    // The same warning for twelve repos is one warning.
    let mut said = std::collections::BTreeSet::new();
    for warning in up.iter().flat_map(|endpoint| &endpoint.warnings) {
        if said.insert(warning) {
            output::warn(warning);
        }
    }
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        output::error(error, false);
    }
}

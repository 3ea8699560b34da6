//! `repod ensure`: ensureRunning(repoRoot) for scripts.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output;
use repod_proto::exit;
use std::path::Path;

pub(crate) async fn run(path: &Path, output: Output) -> Outcome {
    let endpoint = client(output.no_start)?.ensure_running(path).await?;
    if output.json {
        output::json(&endpoint);
    } else {
        output::line(endpoint.url.as_deref().unwrap_or_default());
    }
    Ok(exit::OK)
}

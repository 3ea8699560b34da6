//! `repod mcp`: the Model Context Protocol on standard input and output.

use super::{Outcome, lasting_client};
use crate::mcp::Server;
use repod_proto::{ApiError, ErrorCode, exit};

pub(crate) async fn run(wait_seconds: Option<u64>, no_start: bool) -> Outcome {
    // Standard output is the protocol's.
    crate::daemon::log_to_stderr("warn");
    let cwd = std::env::current_dir().map_err(|error| {
        ApiError::new(ErrorCode::PathNotFound, format!("no working directory: {error}"))
    })?;
    Server::new(lasting_client(no_start)?, cwd, wait_seconds).serve_stdio().await?;
    Ok(exit::OK)
}

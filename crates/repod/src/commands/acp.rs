//! `repod acp`: the Agent Client Protocol on standard input and output.

use super::{Outcome, absolute, lasting_client};
use crate::acp::Bridge;
use repod_proto::exit;
use std::path::Path;

pub(crate) async fn run(path: &Path, no_start: bool) -> Outcome {
    // Standard output is the protocol's.
    crate::daemon::log_to_stderr("warn");
    let path = absolute(path)?;
    Bridge::new(lasting_client(no_start)?, path.into()).serve_stdio().await?;
    Ok(exit::OK)
}

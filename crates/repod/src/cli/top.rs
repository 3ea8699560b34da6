//! The grammar of `repod top`.

use super::Output;
use crate::commands::TopSort;
use clap::Args;

pub(super) const HELP: &str = "\
Keys: arrows or j k select, Enter shows all of a repo, a attaches OpenCode's interface, l shows the log, h hibernates,
s stops, r restarts (each asks first), / filters, o sorts, ? helps, q quits. It only looks: a daemon that was stopped
is not brought back by it. `--json` prints one document a line each time; see GET /v1/activity in docs/openapi.json.";

/// How it is to be looked at.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// How often to look (`500ms`, `1s`, `1m`)
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub(crate) interval: humantime::Duration,
    /// Print one frame as text, with the sessions and leases of all repositories, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// What to sort by
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: TopSort,
    /// Show only what has these words in its id, path, state or a session's title
    #[arg(long, value_name = "WORDS")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

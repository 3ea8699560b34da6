//! `repod audit`'s part of the grammar.

use clap::Args;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Works with and without a daemon, and starts none. Only your own processes are looked at; with PATHs, those that
work or keep their state below one of them. docs/audit.md explains every finding by its id.
Exit codes: 0 clean, 4 findings.";

/// What to look at, and how to say it.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Look only at what lies below these directories
    pub(crate) paths: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Print a SARIF 2.1.0 log
    #[arg(long, conflicts_with = "json")]
    pub(crate) sarif: bool,
    /// Look again every few seconds, and print when something has changed
    #[arg(long, conflicts_with_all = ["fix", "sarif"])]
    pub(crate) watch: bool,
    /// Put right what can be put right without a doubt, and say what was done
    #[arg(long)]
    pub(crate) fix: bool,
    /// Check databases of any size, which may take minutes
    #[arg(long)]
    pub(crate) deep: bool,
    /// Start nothing; an audit never does
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Where kernel settings are read
    #[arg(long, hide = true, default_value = "/proc/sys")]
    pub(crate) sysctl: PathBuf,
}

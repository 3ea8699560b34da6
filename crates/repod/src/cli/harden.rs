//! The grammar of `repod harden`.

use clap::Args;
use std::path::PathBuf;

/// Below the options.
pub(crate) const HELP: &str = "\
Without --apply it prints what is lacking and the files that would be written, and exits with 4. No value is ever
lowered. Root is needed for --apply and --revert, except below a --root of your own.";

/// What to do.
#[derive(Clone, Debug, Args)]
pub(crate) struct HardenArgs {
    /// Write the files
    #[arg(long, conflicts_with = "revert")]
    pub(crate) apply: bool,
    /// Take back everything it ever wrote: files are as they were
    #[arg(long)]
    pub(crate) revert: bool,
    /// The machine's root directory, `/` by default
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Whose units are to run without a login; who called sudo by default
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

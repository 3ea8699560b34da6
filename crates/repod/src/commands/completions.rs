//! `repod completions SHELL`.

use super::Outcome;
use crate::cli::Cli;
use clap::CommandFactory;
use repod_proto::exit;

pub(crate) fn run(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "repod", &mut script);
    crate::output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(exit::OK)
}

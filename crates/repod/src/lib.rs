//! The `repod` binary: daemon (`daemon/`, `api/`, `ops/`, `backend/`, `gateway/`, `fleet`) and command line
//! (`cli`, `commands/`, `output`). ARCHITECTURE.md has the map.

mod acp;
mod api;
mod audit;
mod backend;
mod capability;
mod cli;
mod commands;
mod coordination;
mod daemon;
mod fault;
mod fleet;
mod gateway;
mod hub;
mod keeper;
mod mcp;
mod memory;
mod metrics;
mod ops;
mod output;
mod registry;
mod repo;
mod router;
mod scope;
mod secret;
mod sessions;
mod settings;
mod shim;
mod tally;
mod web;

use clap::Parser;
use repod_proto::exit;
use std::ffi::OsString;
use std::process::ExitCode;

/// Everything the binary does; `args` begin with the program's own name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    if let Some(code) = repod_supervisor::launcher::launch_main(args.iter().skip(1).cloned()) {
        return code;
    }
    if shim::is_called(args.first()) {
        return ExitCode::from(shim::run(args.get(1..).unwrap_or_default()));
    }
    match cli::Cli::try_parse_from(args) {
        Ok(cli) => ExitCode::from(commands::dispatch(cli)),
        Err(error) => {
            // `--help` and `--version` are "errors" that go to stdout and succeed.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK })
        }
    }
}

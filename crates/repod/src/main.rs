//! The multi-call binary: command line, daemon, and the launcher of backends.

use std::process::ExitCode;

fn main() -> ExitCode {
    repod::main(std::env::args_os().collect())
}

//! The scripted model as a program of its own, for the demo and the benchmark.

use repod_testkit::ModelServer;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: repod-model [--port PORT]";

fn port(args: impl Iterator<Item = String>) -> Option<u16> {
    let args: Vec<String> = args.collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(0),
        ["--port", port] => port.parse().ok(),
        [port] => port.strip_prefix("--port=")?.parse().ok(),
        _ => None,
    }
}

fn main() -> ExitCode {
    let Some(port) = port(std::env::args().skip(1)) else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    match ModelServer::start_on(port) {
        Ok(server) => {
            // The reader may close the pipe after this line; that is no reason to end.
            let mut out = std::io::stdout();
            let _ = writeln!(out, "listening on {}", server.url()).and_then(|()| out.flush());
            server.join();
            ExitCode::SUCCESS
        }
        Err(source) => {
            let _ = writeln!(std::io::stderr(), "error: can't listen on port {port}: {source}");
            ExitCode::FAILURE
        }
    }
}

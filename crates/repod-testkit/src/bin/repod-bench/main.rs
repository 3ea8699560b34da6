//! `./bench`: figures beside their targets. Rounds are interleaved, because the machine is noisy:
//! what disturbs one side disturbs the other. Medians, never means. One file for each part.

#![expect(clippy::print_stdout, reason = "it is a report")]

mod audit;
mod cli;
mod cold;
mod events;
mod figures;
mod gateway;
mod guard;
mod idle;
mod listen;
mod many;
mod memory;
mod metrics;
mod peers;
mod requests;
mod route;
mod sessions;
mod socket;
mod stage;
mod top;
mod translate;
mod wake;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Part = (&'static str, fn(&Path));
const PARTS: [Part; 17] = [
    ("cli", cli::cli),
    ("socket", socket::socket),
    ("cold", cold::cold),
    ("wake", wake::wake),
    ("guard", guard::guard),
    ("route", route::route),
    ("memory", memory::memory),
    ("many", many::many),
    ("gateway", gateway::gateway),
    ("requests", requests::requests),
    ("events", events::events),
    ("idle", idle::idle),
    ("translate", translate::translate),
    ("sessions", sessions::sessions),
    ("audit", audit::audit),
    ("metrics", metrics::metrics),
    ("top", top::top),
];

fn main() -> ExitCode {
    let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
    let mut args = std::env::args_os().skip(1);
    let repod = args.next().map(PathBuf::from);
    let wanted: Vec<_> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let unknown = wanted.iter().any(|name| !names.contains(&name.as_str()));
    let Some(repod) = repod.filter(|_| !unknown) else {
        println!("usage: repod-bench PATH-OF-REPOD [{}]...", names.join("|"));
        return ExitCode::from(2);
    };
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            part(&repod);
        }
    }
    ExitCode::SUCCESS
}

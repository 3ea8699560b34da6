//! Group 2: how ports are had, who can reach them, and who needs a password.

use super::shared;
use crate::finding::{Evidence, Finding};
use crate::snapshot::{Process, Snapshot};

/// The port OpenCode takes first when it isn't told another.
const DEFAULT: u16 = 4096;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for process in snapshot.plain() {
        let fixed = wanted(process).or_else(|| configured(snapshot, process));
        let fixed = fixed.filter(|port| *port != 0);
        for address in &process.listens {
            let port = address.port();
            let evidence =
                || Evidence::pid(process.pid).port(port).maybe_at(process.cwd.as_deref());
            if port == DEFAULT || fixed == Some(port) {
                let message = format!("process {} listens on the fixed port {port}", process.pid);
                findings.push(Finding::of("RP201", message, vec![evidence()]));
            }
            if !address.ip().is_loopback() {
                let message = format!("process {} listens on {address}", process.pid);
                findings.push(Finding::of(
                    "RP202",
                    message,
                    vec![evidence().saying(address.to_string())],
                ));
            }
            if process.variable("OPENCODE_SERVER_PASSWORD").is_none() {
                let message = format!("process {} answers anybody on port {port}", process.pid);
                let evidence = evidence().by("OPENCODE_SERVER_PASSWORD").saying("not set");
                findings.push(Finding::of("RP203", message, vec![evidence]));
            }
        }
    }
    let asked = snapshot.plain().filter_map(|process| {
        let port = wanted(process).filter(|port| *port != 0)?;
        // A container has ports of its own.
        Some(((process.mounts.clone(), port), Evidence::pid(process.pid).port(port)))
    });
    for ((_, port), evidence) in shared(asked) {
        let message = format!("{} processes were told to take port {port}", evidence.len());
        findings.push(Finding::of("RP204", message, evidence));
    }
    for (log, line) in &snapshot.port_failures {
        let message = format!("`{}` tells of a port that somebody else had", log.display());
        let evidence = vec![Evidence::path(log).saying(line)];
        findings.push(Finding::of("RP205", message, evidence));
    }
    for (file, port) in &snapshot.fixed_ports {
        let message = format!("`{}` gives every server port {port}", file.display());
        let evidence = vec![Evidence::path(file).port(*port).by("server.port")];
        findings.push(Finding::of("RP206", message, evidence));
    }
}

/// What its user's configuration says.
fn configured(snapshot: &Snapshot, process: &Process) -> Option<u16> {
    let dir = &process.homes.as_ref().filter(|_| process.mounts.is_none())?.config.0;
    let mut files = snapshot.fixed_ports.iter();
    files.find(|(file, _)| file.parent() == Some(dir)).map(|(_, port)| *port)
}

/// What `--port` says.
fn wanted(process: &Process) -> Option<u16> {
    process.option("--port")?.parse().ok()
}

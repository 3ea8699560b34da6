//! What a user would notice, on the real OpenCode with a scripted model and no network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod acp;
mod audit;
mod cli;
mod contended;
mod crossing;
mod daemon;
mod ensure;
mod faults;
mod gateway;
mod harden;
mod history;
mod hostile;
mod launch;
mod leases;
mod limits;
mod many;
mod mcp;
mod memory;
mod metrics;
mod readers;
mod registry;
mod route_cli;
mod routing;
mod sdk;
mod sessions;
mod shim;
mod sleep;
mod stop;
mod top;
mod tui;
mod unguarded;
mod web;

use repod_client::{Client, StartPolicy};
use repod_proto::{Endpoint, RepoStatus, RepoSummary};
use repod_testkit::world::WorldBuilder;
use repod_testkit::{Oc, World, proc};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More than any single thing here takes on a slow machine.
const BOUND: Duration = Duration::from_mins(2);

/// Held by a test that runs ten backends and more: two of those at once are twice as slow, and more than
/// a turn may take.
static CROWD: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn builder() -> WorldBuilder {
    World::builder(env!("CARGO_BIN_EXE_repod"))
}

fn world() -> World {
    builder().build()
}

fn ensure(world: &World, path: &Path) -> Endpoint {
    world.repod(["ensure", "--json"]).arg(path).json()
}

fn status(world: &World, path: &Path) -> RepoStatus {
    let output = world.repod(["status", "--json"]).arg(path).run();
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn ps(world: &World) -> Vec<RepoSummary> {
    world.repod(["ps", "--json"]).json()
}

fn pid(endpoint: &Endpoint) -> u32 {
    endpoint.backend.as_ref().expect("a backend").pid
}

fn oc(endpoint: &Endpoint) -> Oc {
    Oc::of(endpoint)
}

/// A Rust program's client of this world, with the world's environment: a daemon that it starts, because
/// one has just been killed, gets that as well.
fn client(world: &World) -> Client {
    let env = world.environment().iter();
    let env = env.map(|(k, v)| (k.to_str().unwrap().into(), v.to_str().unwrap().into()));
    Client::new(world.layout()).start_policy(StartPolicy::With(in_world(world))).env(env.collect())
}

/// A program that is repod in the world's environment, whoever starts it.
fn in_world(world: &World) -> PathBuf {
    let path = world.root().join("repod-in-world");
    if path.exists() {
        return path;
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut script =
        "#!/bin/bash\nfor name in $(compgen -e); do unset \"$name\"; done\n".to_owned();
    for (name, value) in world.environment() {
        let (name, value) = (name.to_str().unwrap(), quoted(value.to_str().unwrap()));
        writeln!(script, "export {name}={value}").unwrap();
    }
    writeln!(script, "exec -a repod {} \"$@\"", quoted(env!("CARGO_BIN_EXE_repod"))).unwrap();
    // Put in place whole: several may come at once, and a file that is open for writing can't be run.
    let made = world.root().join(format!("repod-{}", fastrand::u64(..)));
    fs_err::write(&made, script).unwrap();
    fs_err::set_permissions(&made, std::fs::Permissions::from_mode(0o755)).unwrap();
    fs_err::rename(&made, &path).unwrap();
    path
}

/// The daemon's pid, as it says itself.
fn daemon_pid(world: &World) -> u32 {
    let versions: serde_json::Value = world.repod(["version", "--json"]).json();
    u32::try_from(versions["daemon"]["pid"].as_u64().expect("a daemon")).unwrap()
}

/// Processes of this world that are OpenCode servers.
fn backends(world: &World) -> Vec<u32> {
    let serving = |cmdline: &str| cmdline.contains(" serve ") && !cmdline.contains("__launch");
    let all = world.processes();
    let leads = |pid: u32| proc::stat(pid).is_some_and(|stat| stat.session == pid);
    let found = all.iter().filter(|p| serving(&p.cmdline) && leads(p.pid)).map(|p| p.pid);
    let found: Vec<u32> = found.collect();
    // Not what a backend has forked, a tool's session even, and is not yet something else.
    let is_forked = |pid: u32| proc::stat(pid).is_none_or(|stat| found.contains(&stat.ppid));
    found.iter().copied().filter(|pid| !is_forked(*pid)).collect()
}

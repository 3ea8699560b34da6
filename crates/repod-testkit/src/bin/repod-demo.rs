//! `./run demo`: the tour for someone without an account. Real repod, real OpenCode, a scripted
//! model, three sample repositories in a temporary directory; nothing is left behind.

#![expect(clippy::print_stdout, reason = "it is a tour")]

use repod_proto::{Endpoint, RepoSummary};
use repod_testkit::{Oc, Script, World, proc};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(repod) = std::env::args_os().nth(1).map(PathBuf::from) else {
        println!("usage: repod-demo PATH-OF-REPOD");
        return ExitCode::from(2);
    };
    let world = World::builder(repod).build();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(tour(&world)));
    world.finish();
    match outcome {
        Ok(()) => {
            say(
                "Nothing is left: no process, no file. `./run up PATH…` does the same for your own.",
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("the tour broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (on, off) = if bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!("\n{on}{text}{off}");
}

fn show(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

async fn tour(world: &World) -> Result<(), String> {
    say("1. Three repositories, one command: `repod up web api docs`");
    let repos: Vec<_> = ["web", "api", "docs"].iter().map(|name| world.git_repo(name)).collect();
    let begun = Instant::now();
    show(&world.repod(["up"]).args(&repos).ok().stdout);
    println!(
        "    Each has its own OpenCode, port, password and directories ({:.1?}).",
        begun.elapsed()
    );

    say("2. A turn in each, at the same time: the agent writes a file");
    let endpoints: Vec<Endpoint> =
        repos.iter().map(|repo| world.repod(["ensure", "--json"]).arg(repo).json()).collect();
    let begun = Instant::now();
    let mut turns = Vec::new();
    for (repo, endpoint) in repos.iter().zip(&endpoints) {
        let (repo, client) = (repo.clone(), Oc::of(endpoint));
        turns.push(tokio::spawn(async move {
            let file = repo.join("HELLO.md");
            let script = Script::new().write(file, "hello\n").text("I wrote HELLO.md.");
            client.turn(&repo, script.prompt("Say hello in a file.")).await
        }));
    }
    for (repo, turn) in repos.iter().zip(turns) {
        let turn = turn.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?.succeeded();
        let status = world.git(repo, ["status", "--short"]);
        println!("    {:<5} {}  git status: {}", name(repo), turn.text, status.trim());
    }
    println!(
        "    All three in {:.1?}; no database is shared, so none was locked.",
        begun.elapsed()
    );

    say("3. A backend crashes (kill -9)");
    let api = &endpoints[1];
    let pid = api.backend.as_ref().map_or(0, |backend| backend.pid);
    kill(pid)?;
    let begun = Instant::now();
    let again: Endpoint = world.repod(["ensure", "--json"]).arg(&repos[1]).json();
    let new = again.backend.as_ref().map_or(0, |backend| backend.pid);
    println!(
        "    pid {pid} is dead; after {:.1?} pid {new} serves api, generation {}.",
        begun.elapsed(),
        again.generation
    );
    let sessions =
        Oc::of(&again).get("/session", Some(&repos[1])).await.map_err(|e| e.to_string())?;
    println!("    Its sessions are still there: {}.", sessions.as_array().map_or(0, Vec::len));

    say("4. The daemon crashes (kill -9)");
    let version = || world.repod(["version", "--json"]).json::<serde_json::Value>();
    let old = version()["daemon"]["pid"].as_u64().unwrap_or_default();
    let begun = Instant::now();
    kill(u32::try_from(old).map_err(|e| e.to_string())?)?;
    let new = repod_testkit::wait_until("the daemon to be back", BOUND, async || {
        version()["daemon"]["pid"].as_u64().filter(|pid| *pid != old)
    })
    .await;
    println!("    Back after {:.0?} as pid {new}; nobody asked for it.", begun.elapsed());
    let rows: Vec<RepoSummary> = world.repod(["ps", "--json"]).json();
    let kept = rows.iter().filter(|row| row.endpoint.state.is_live()).count();
    println!("    It adopted all {kept} backends: same pids, same passwords, turns go on.");
    show(&world.repod(["ps"]).ok().stdout);

    say("5. `repod shutdown --backends` ends everything");
    show(&world.repod(["shutdown", "--backends"]).ok().stdout);
    Ok(())
}

fn kill(pid: u32) -> Result<(), String> {
    let process = proc::Handle::open(pid).map_err(|error| error.to_string())?;
    process.kill().map_err(|error| error.to_string())?;
    if process.wait_exit(BOUND) { Ok(()) } else { Err(format!("{pid} survived kill -9")) }
}

fn name(repo: &std::path::Path) -> String {
    repo.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

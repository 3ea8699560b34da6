//! Programs with an unmodified SDK, through the shim: they find the one backend of their repository.

use crate::shim::{executable, path_of, shim, user_s_database};
use crate::{BOUND, CROWD, backends, builder, ensure, oc, pid, ps, status};
use repod_proto::BackendState;
use repod_testkit::world::Running;
use repod_testkit::{Oc, Script, World, proc};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const REPLY: &str = "said to a program";

/// `createOpencode()` `count` times at once in `dir`, with turns and events of both generations.
fn programs(world: &World, shim: &Path, dir: &Path, count: usize) -> Running {
    let sdk = std::env::var_os("REPOD_SDK")
        .expect("no SDK to test with: run ./test, which fetches it, or set REPOD_SDK");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/sdk.mjs");
    let path = path_of(&[shim.parent().unwrap()]);
    let cmd = world.command("node").arg(program).arg(sdk).arg(count.to_string());
    cmd.arg(Script::new().text(REPLY).prompt("go")).dir(dir).env("PATH", path).spawn()
}

/// What they say, once all of them have had their turns; their servers are still there.
fn said(running: &Running) -> Vec<Value> {
    running.wait_line("end of their turns", 3 * BOUND, |line| line == "done");
    let output = running.stdout();
    let lines = output.lines().filter(|line| *line != "done");
    let said: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    for program in &said {
        for turn in [&program["v1"], &program["v2"]] {
            assert_eq!(turn["text"], REPLY, "{said:?}");
        }
    }
    said
}

/// They worked in this directory, at this URL: each at its own handle's.
fn assert_worked_in(said: &[Value], url: &str, directory: &Path) {
    let urls: BTreeSet<_> = said.iter().map(|program| program["url"].as_str().unwrap()).collect();
    assert_eq!(urls.len(), said.len(), "{said:?}");
    for program in said {
        assert_eq!(shared_part(program["url"].as_str().unwrap()), url, "{said:?}");
        for turn in [&program["v1"], &program["v2"]] {
            assert_eq!(turn["directory"], directory.to_str().unwrap(), "{said:?}");
        }
    }
}

/// A program's URL without what names its handle.
fn shared_part(url: &str) -> &str {
    let (url, handle) = url.rsplit_once('~').unwrap();
    assert!(handle.len() == 32 && !handle.contains('/'), "{handle}");
    url.trim_end_matches('~')
}

/// Every OpenCode that runs in this world, whoever started it and however it is called.
fn runtimes(world: &World) -> Vec<u32> {
    let binary = world.opencode().canonicalize().unwrap();
    let runs =
        |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary);
    // Not what one has forked and not yet become something else.
    let is_fork = |pid: u32| proc::stat(pid).is_none_or(|stat| runs(stat.ppid));
    let pids = world.processes().into_iter().map(|process| process.pid);
    pids.filter(|pid| runs(*pid) && !is_fork(*pid)).collect()
}

fn capability(world: &World, dir: &Path) -> String {
    ensure(world, dir).capability_url.unwrap()
}

#[test]
fn ten_programs_in_one_repository_share_its_backend() {
    let world = builder().env("OPENCODE_CONFIG_CONTENT", "{}").build();
    let (shim, repo) = (shim(&world), world.git_repo("web"));
    // Cold: the first of them has it started.
    let running = programs(&world, &shim, &repo, 10);
    let said = said(&running);
    assert_eq!(said.len(), 10);
    let endpoint = ensure(&world, &repo);
    assert_worked_in(&said, endpoint.capability_url.as_deref().unwrap(), &repo);
    assert_eq!(runtimes(&world), [pid(&endpoint)], "no runtime of their own");
    assert!(ps(&world)[0].clients >= Some(10), "each handle counts as a client");
    let _ = running.wait(BOUND).ok();
    assert_eq!(runtimes(&world), [pid(&endpoint)], "the backend stays");
    assert_eq!(pid(&ensure(&world, &repo)), pid(&endpoint));
    assert!(!user_s_database(&world));
    world.finish();
}

#[test]
fn ten_programs_in_ten_repositories_have_a_backend_each() {
    let _one_at_a_time = CROWD.blocking_lock();
    let world = builder().env("OPENCODE_CONFIG_CONTENT", "{}").build();
    let shim = shim(&world);
    let repos: Vec<PathBuf> = (0..10).map(|n| world.git_repo(&format!("r{n}"))).collect();
    let running: Vec<_> = repos.iter().map(|repo| programs(&world, &shim, repo, 1)).collect();
    for (program, repo) in running.iter().zip(&repos) {
        assert_worked_in(&said(program), &capability(&world, repo), repo);
    }
    assert_eq!((runtimes(&world).len(), backends(&world).len()), (10, 10));
    for program in running {
        let _ = program.wait(BOUND).ok();
    }
    assert_eq!(runtimes(&world).len(), 10, "the backends stay");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_a_linked_worktree_or_a_subdirectory_works_there() {
    let world = builder().env("OPENCODE_CONFIG_CONTENT", "{}").build();
    let (shim, repo) = (shim(&world), world.git_repo("web"));
    let worktree = world.worktree(&repo, "säde+b");
    let deep = worktree.join("deep er/+x");
    fs_err::create_dir_all(&deep).unwrap();
    let root = ensure(&world, &repo);
    let bound = capability(&world, &worktree);
    assert_ne!(root.capability_url.as_deref(), Some(bound.as_str()));
    for dir in [&worktree, &deep] {
        let running = programs(&world, &shim, dir, 1);
        let said = said(&running);
        let url = shared_part(said[0]["url"].as_str().unwrap()).to_owned();
        assert_worked_in(&said, &url, dir);
        assert_eq!(url == bound, *dir == worktree, "{url}");
        let _ = running.wait(BOUND).ok();
    }
    assert_eq!(runtimes(&world), [pid(&root)]);

    // What names its directory is taken at its word.
    let client = Oc::new(bound);
    let session = client.create_session(&repo).await.unwrap();
    let found = oc(&root).get(&format!("/session/{session}"), None).await.unwrap();
    assert_eq!(found["directory"], repo.to_str().unwrap());
    // A worktree that is gone is said, and no other files are taken instead.
    world.git(&repo, ["worktree", "remove", "--force", worktree.to_str().unwrap()]);
    let reply = client.call("GET", "/session", None, None, BOUND).await.unwrap();
    assert_eq!((reply.status, &reply.body["error"]["code"]), (404, &"path_not_found".into()));
    world.finish();
}

#[test]
fn what_a_shared_backend_can_t_honour_is_said() {
    let world = builder().env("OPENCODE_CONFIG_CONTENT", "{}").build();
    let (shim, repo) = (shim(&world), world.git_repo("web"));
    let endpoint = ensure(&world, &repo);
    let cmd = world.command(&shim).args(["serve", "--hostname=127.0.0.1", "--port=4096"]);
    let cmd = cmd.env("OPENCODE_CONFIG_CONTENT", r#"{"username":"x"}"#);
    let running = cmd.env("OPENCODE_SERVER_PASSWORD", "mine").dir(&repo).spawn();
    let line = running.wait_line("the SDK's line", BOUND, |line| line.contains("listening"));
    let url = line.strip_prefix("opencode server listening on ").unwrap();
    assert_eq!(shared_part(url), endpoint.capability_url.unwrap());
    let said = running.stderr();
    for what in ["--port=4096", "OPENCODE_CONFIG_CONTENT", "OPENCODE_SERVER_PASSWORD"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    running.handle().terminate().unwrap();
    assert_eq!(running.wait(BOUND).code, 0);
    assert_eq!(runtimes(&world).len(), 1, "the backend stays");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_said_before_a_slow_backend_is_up() {
    let world = builder().build();
    let (shim, repo) = (shim(&world), world.git_repo("web"));
    let (slow, gate) = (world.root().join("bin/opencode"), world.root().join("gate"));
    let real = world.opencode().display().to_string();
    let gate_is_shut = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let text = format!("#!/bin/sh\n[ \"$1\" = --version ] || {gate_is_shut}\nexec {real} \"$@\"\n");
    executable(&slow, &text);
    let settings = format!("[backend]\nopencode = {:?}\n", slow.display().to_string());
    fs_err::write(world.repod_home().join("repod.toml"), settings).unwrap();
    let running = world.command(&shim).arg("serve").dir(&repo).spawn();
    let line = running.wait_line("the SDK's line", BOUND, |line| line.contains("listening"));
    let url = line.strip_prefix("opencode server listening on ").unwrap().to_owned();
    let now = status(&world, &repo).summary.endpoint;
    assert_eq!(now.state, BackendState::Starting);
    assert_eq!(now.capability_url.as_deref(), Some(shared_part(&url)));
    // A request waits for the backend.
    let client = Oc::new(url);
    let asked = tokio::spawn(async move { client.get("/session", None).await });
    fs_err::write(&gate, "").unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), serde_json::json!([]));
    running.handle().terminate().unwrap();
    assert_eq!(running.wait(BOUND).code, 0);
    world.finish();
}

//! The guard is gone, broken, or has nobody to ask: nothing writes, and reading works.

use crate::{BOUND, ensure, oc, world};
use repod_testkit::{Script, World, proc, wait_until};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_that_works_nothing_writes_and_reading_works() {
    let world = world();
    let repo = world.git_repo("web");
    let id = ensure(&world, &repo).repo_id;
    let guard = world.layout().repo(&id).dir().join("config/repod/guard.js");
    // OpenCode goes on without a plugin that can't be loaded, and says nothing.
    for broken in [None, Some("export const RepodGuard = async (input) => ({")] {
        match broken {
            None => fs_err::remove_file(&guard).unwrap(),
            Some(text) => fs_err::write(&guard, text).unwrap(),
        }
        let client = oc(&ensure(&world, &repo));
        let session = client.create_session(&repo).await.unwrap();
        let prompt = Script::new().write("a.txt", "x").text("1").prompt("x");
        let error = client.prompt(&session, prompt, BOUND).await.unwrap_err().to_string();
        assert!(error.contains("503") && error.contains("guard_missing"), "{error}");
        assert!(error.contains("repod restart"), "{error}");
        assert!(client.messages(&session).await.unwrap().is_empty());
        assert!(!repo.join("a.txt").exists());
        let read = client.get("/file/content?path=README.md", Some(&repo)).await.unwrap();
        assert!(read.to_string().contains("# web"), "{read}");
        world.repod(["restart"]).arg(&repo).ok();
    }
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let prompt = Script::new().write("a.txt", "x").text("1").prompt("x");
    assert_eq!(client.turn_in(&session, prompt).await.unwrap().succeeded().text, "1");
    world.finish();
}

/// The one that stands by for the daemon, and the daemon.
fn daemons(world: &World) -> Vec<proc::Handle> {
    let mut all = world.processes();
    all.retain(|it| it.cmdline.starts_with("repod daemon"));
    all.sort_by_key(|it| !it.cmdline.ends_with("--standby"));
    all.iter().filter_map(|it| proc::Handle::open(it.pid).ok()).collect()
}

/// A turn that loses its daemon in the middle: it reads, and its write is refused.
async fn loses_its_daemon(world: &World, repo: &Path, name: &str, lose: impl Fn(&proc::Handle)) {
    let client = oc(&ensure(world, repo));
    let session = client.create_session(repo).await.unwrap();
    let file = format!("{name}.txt");
    let script = Script::new()
        .write("first.txt", name)
        .gate(name)
        .read(repo.join("README.md"))
        .write(&file, "x")
        .bash(format!("echo x >{file}"))
        .gate(format!("{name} is over"))
        .text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    wait_until("the turn", BOUND, async || (world.model().waiting_at(name) == 1).then_some(()))
        .await;
    let lost = daemons(world);
    assert_eq!(lost.len(), 2);
    lost.iter().for_each(&lose);
    world.model().open(name);
    let over = format!("{name} is over");
    wait_until("the refusals", 2 * BOUND, async || {
        (world.model().waiting_at(&over) == 1).then_some(())
    })
    .await;
    let requests = world.model().requests_of(&session);
    let said: Vec<_> = requests.last().unwrap().tool_results.iter().map(|it| &it.text).collect();
    assert!(said[1].contains("# web"), "{said:?}");
    for refused in &said[2..4] {
        assert!(refused.contains("repod can't be reached"), "{refused}");
        assert!(refused.contains("Reading still works"), "{refused}");
    }
    assert!(!repo.join(&file).exists());
    for process in &lost {
        // Already, in one of the two cases.
        let _ = process.kill();
    }
    world.model().open(&over);
    // The next daemon has all as it should be.
    let client = oc(&ensure(world, repo));
    client.wait_idle(&session, repo, BOUND).await;
    assert!(!repo.join(&file).exists(), "nor later");
    let prompt = Script::new().write(&file, "now").text("1").prompt("x");
    assert_eq!(client.turn_in(&session, prompt).await.unwrap().succeeded().text, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_daemon_is_gone_or_stopped_nothing_writes_and_reading_works() {
    let world = world();
    let repo = world.git_repo("web");
    loses_its_daemon(&world, &repo, "gone", |it| it.kill().unwrap()).await;
    loses_its_daemon(&world, &repo, "stopped", |it| it.stop().unwrap()).await;
    world.finish();
}

//! A repo whose backend is not to be had takes no part of a write, and the others then don't either.

use super::{hibernate, mutations, settled};
use crate::{BOUND, daemon_pid, ensure, oc, pid, world};
use repod_proto::{Endpoint, MutationOutcome};
use repod_testkit::{PATCH_MODEL, Prompt, Script, World, proc, wait_until};
use serde_json::json;
use std::path::Path;

fn patch_of(repos: [&Path; 2]) -> Script {
    let update = |repo: &Path| {
        format!("*** Update File: {}\n@@\n-old\n+new\n", repo.join("old.txt").display())
    };
    let patch = format!("*** Begin Patch\n{}{}*** End Patch", update(repos[0]), update(repos[1]));
    Script::new().apply_patch(patch).text("done")
}

fn text(repo: &Path) -> String {
    fs_err::read_to_string(repo.join("old.txt")).unwrap()
}

/// What it would keep its data in is a file: no backend of this repo comes up any more.
fn break_home(world: &World, endpoint: &Endpoint) {
    let data = world.layout().repo(&endpoint.repo_id).dir().join("data");
    fs_err::rename(&data, data.with_extension("away")).unwrap();
    fs_err::write(&data, "").unwrap();
}

fn mend_home(world: &World, endpoint: &Endpoint) {
    let data = world.layout().repo(&endpoint.repo_id).dir().join("data");
    fs_err::remove_file(&data).unwrap();
    fs_err::rename(data.with_extension("away"), &data).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_which_one_repo_can_not_be_had_changes_none() {
    let world = world();
    let (a, b, c) = (world.git_repo("a"), world.git_repo("b"), world.git_repo("c"));
    let client = oc(&ensure(&world, &a));
    for repo in [&b, &c] {
        fs_err::write(repo.join("old.txt"), "old\n").unwrap();
    }
    ensure(&world, &b);
    let there = ensure(&world, &c);
    hibernate(&world, &c).await;
    break_home(&world, &there);
    let session = client.create_session(&a).await.unwrap();
    let prompt = Prompt::from(patch_of([&b, &c]).prompt("x")).model(PATCH_MODEL);
    let turn = client.turn_in(&session, prompt).await.unwrap();
    let refused = turn.tools[0].error.as_deref().unwrap();
    let names_it = format!("the backend of `{}`", c.display());
    assert!(refused.contains(&names_it) && refused.contains("nothing has changed"), "{refused}");
    assert_eq!((text(&b).as_str(), text(&c).as_str()), ("old\n", "old\n"));
    let outcomes: Vec<_> = mutations(&world).into_iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [MutationOutcome::Refused; 2], "what is told is what is on record");

    // With one target it is the same; and when it can be had again, so can the write.
    let script = Script::new().write(c.join("old.txt"), "newer\n").text("done");
    let other = client.create_session(&a).await.unwrap();
    let turn = client.turn_in(&other, script.prompt("x")).await.unwrap();
    let refused = turn.tools[0].error.as_deref();
    assert!(refused.is_some_and(|error| error.contains(&names_it)), "{turn:?}");
    assert_eq!(mutations(&world)[0].outcome, MutationOutcome::Refused);
    mend_home(&world, &there);
    world.repod(["restart"]).arg(&c).bound(BOUND).ok();
    let prompt = Prompt::from(patch_of([&b, &c]).prompt("x")).model(PATCH_MODEL);
    let _ = client.turn_in(&session, prompt).await.unwrap().succeeded();
    assert_eq!((text(&b).as_str(), text(&c).as_str()), ("new\n", "new\n"));
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_of_it_before_a_death_is_undone() {
    let world = world();
    let (a, b, c) = (world.git_repo("a"), world.git_repo("b"), world.git_repo("c"));
    let client = oc(&ensure(&world, &a));
    let there = [&b, &c].map(|repo| {
        fs_err::write(repo.join("old.txt"), "old\n").unwrap();
        ensure(&world, repo)
    });
    let session = client.create_session(&a).await.unwrap();
    let daemon = proc::Handle::open(daemon_pid(&world)).unwrap();
    let standby = wait_until("a standby", BOUND, async || {
        world.processes().into_iter().find(|it| it.cmdline.contains("--standby")).map(|it| it.pid)
    })
    .await;
    let standby = proc::Handle::open(standby).unwrap();
    standby.stop().unwrap();
    fs_err::write(world.repod_home().join("fault-part-applied"), "").unwrap();
    let prompt = Prompt::from(patch_of([&b, &c]).prompt("x")).model(PATCH_MODEL);
    client.start_turn(&session, prompt).await.unwrap();
    assert!(daemon.wait_exit(BOUND));
    let open = usize::from(text(&b) == "new\n");
    assert_eq!([text(&b), text(&c)][open], "old\n", "one was applied");
    let backend = proc::Handle::open(pid(&there[open])).unwrap();
    backend.kill().unwrap();
    assert!(backend.wait_exit(BOUND));
    break_home(&world, &there[open]);
    standby.cont().unwrap();

    let turn = settled(&client, &session, "done").await;
    let refused = turn.tools[0].error.as_deref().unwrap();
    assert!(refused.contains("was undone"), "{refused}");
    assert_eq!((text(&b).as_str(), text(&c).as_str()), ("old\n", "old\n"));
    let outcomes: Vec<_> = mutations(&world).into_iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [MutationOutcome::RolledBack; 2]);
    mend_home(&world, &there[open]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_commands_of_one_session_run_there_beside_each_other() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    ensure(&world, &b);
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let bash = |command: &str| {
        let args = json!({ "command": command, "workdir": b, "description": "there" });
        repod_testkit::ToolCall::new("bash", args)
    };
    // The first ends when the second has run, which is let run after the first was long enough at it.
    let script = Script::new()
        .tools([
            bash("until [ -e second ]; do sleep 0.2; done; echo 1 >>ran"),
            bash("touch second; echo 2 >>ran"),
        ])
        .text("done");
    let turn = client.turn_in(&session, script.prompt("x")).await.unwrap().succeeded();
    assert_eq!(turn.text, "done");
    assert_eq!(fs_err::read_to_string(b.join("ran")).unwrap(), "2\n1\n");
    let all: Vec<_> = mutations(&world).into_iter().map(|it| (it.tool, it.outcome)).collect();
    let ran = ("bash".to_owned(), MutationOutcome::Applied);
    assert_eq!(all, [ran.clone(), ran]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_too_many_files_is_refused_as_a_whole() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    ensure(&world, &b);
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    // The last of 257 is in another repo.
    let mut patch = "*** Begin Patch\n".to_owned();
    for n in 0..257 {
        let repo = if n < 256 { &a } else { &b };
        let file = repo.join(format!("{n}.txt"));
        patch.push_str(&format!("*** Add File: {}\n+x\n", file.display()));
    }
    patch.push_str("*** End Patch");
    let script = Script::new().apply_patch(patch).text("done");
    let prompt = Prompt::from(script.prompt("x")).model(PATCH_MODEL);
    let turn = client.turn_in(&session, prompt).await.unwrap();
    let refused = turn.tools[0].error.as_deref().unwrap();
    assert!(refused.contains("256 files at most") && refused.contains("split it"), "{refused}");
    assert!(!a.join("0.txt").exists() && !b.join("256.txt").exists());
    assert_eq!(mutations(&world), []);
    world.finish();
}

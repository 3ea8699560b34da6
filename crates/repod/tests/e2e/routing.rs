//! Writes that leave their repo, seen from outside: two repos, the real OpenCode in both.

mod unreachable;

use crate::{BOUND, builder, ensure, oc, pid, world};
use repod_proto::{MutationInfo, MutationOutcome};
use repod_testkit::{Oc, PATCH_MODEL, Prompt, Script, TurnOutcome, World, proc, wait_until};
use serde_json::json;
use std::path::Path;

pub(crate) fn mutations(world: &World) -> Vec<MutationInfo> {
    world.repod(["mutations", "--json"]).json()
}

/// Puts it to sleep once it is known to be idle.
async fn hibernate(world: &World, repo: &Path) {
    wait_until("asleep", BOUND, async || {
        world.repod(["hibernate"]).arg(repo).run().code.eq(&0).then_some(())
    })
    .await;
}

/// The last turn of a session, once it is over; also through the death of a daemon.
async fn settled(client: &Oc, session: &str, text: &str) -> TurnOutcome {
    wait_until("the turn", BOUND, async || {
        let turn = client.last_turn(session).await.ok()?;
        (turn.text == text).then_some(turn)
    })
    .await
}

/// What git says has changed.
fn status(world: &World, repo: &Path) -> String {
    world.git(repo, ["status", "--porcelain", "-uall"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_an_edit_and_a_patch_of_another_repo_are_done_by_its_backend() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    fs_err::write(b.join("edited.txt"), "one\r\ntwo\r\nthree").unwrap();
    world.git(&b, ["add", "."]);
    world.git(&b, ["commit", "-qm", "more"]);
    ensure(&world, &b);
    hibernate(&world, &b).await;
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let script = Script::new()
        .write(b.join("new/written.txt"), "written\n")
        .edit(b.join("edited.txt"), "two", "TWO")
        .text("done");
    let turn = client.turn_in(&session, script.prompt("change b")).await.unwrap();
    let turn = turn.succeeded();
    assert_eq!(turn.text, "done");
    assert_eq!(fs_err::read_to_string(b.join("new/written.txt")).unwrap(), "written\n");
    assert_eq!(fs_err::read_to_string(b.join("edited.txt")).unwrap(), "one\r\nTWO\r\nthree");
    assert_eq!(status(&world, &b), "M edited.txt\n?? new/written.txt");
    assert_eq!(status(&world, &a), "", "nothing else was touched");
    for tool in &turn.tools {
        let output = tool.output.as_deref().unwrap();
        assert!(output.contains("`main`") && output.contains("/b)"), "{output}");
        assert!(!format!("{tool:?}").contains("/stage/"), "only real paths: {tool:?}");
    }
    assert!(turn.tools[1].output.as_deref().unwrap().contains("+TWO"), "{:?}", turn.tools[1]);
    let all = mutations(&world);
    assert_eq!(all.len(), 2, "{all:?}");
    let tools: Vec<_> = all.iter().map(|it| (it.tool.as_str(), it.outcome)).collect();
    assert_eq!(tools, [("edit", MutationOutcome::Applied), ("write", MutationOutcome::Applied)]);
    assert_eq!(all[0].from.session_id, session);
    assert_eq!(all[0].files, ["edited.txt"]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_path_is_written_it_is_the_other_repo_s() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    fs_err::write(b.join("edited.txt"), "one\ntwo\n").unwrap();
    ensure(&world, &b);
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let script = Script::new()
        .write("../b/relative.txt", "r\n")
        .edit(format!("{}/./x/../../b//edited.txt", a.display()), "two", "TWO")
        .text("done");
    let turn = client.turn_in(&session, script.prompt("x")).await.unwrap();
    assert_eq!(turn.succeeded().text, "done");
    let patch = repod_testkit::patch_update("../b/edited.txt", "one", "ONE");
    let patch = Prompt::new(Script::new().apply_patch(patch).text("done").prompt("x"));
    let turn = client.turn_in(&session, patch.model(PATCH_MODEL)).await.unwrap();
    assert_eq!(turn.succeeded().text, "done");
    assert_eq!(fs_err::read_to_string(b.join("relative.txt")).unwrap(), "r\n");
    assert_eq!(fs_err::read_to_string(b.join("edited.txt")).unwrap(), "ONE\nTWO\n");
    assert_eq!(status(&world, &a), "");
    let all = mutations(&world);
    let tools: Vec<_> = all.iter().map(|it| (it.tool.as_str(), it.outcome)).collect();
    let applied = MutationOutcome::Applied;
    assert_eq!(tools, [("apply_patch", applied), ("edit", applied), ("write", applied)]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_target_see_the_change_as_if_it_were_their_own() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    let mut events = oc(&ensure(&world, &b)).global_events().await.unwrap();
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let file = b.join("new.txt");
    let script = Script::new().write(&file, "x\n").text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    let told = events.next_where("the change", BOUND, |event| event["type"] == "file.edited").await;
    let told = told.unwrap();
    assert_eq!(told["properties"]["file"], file.to_str().unwrap());
    assert_eq!(told["directory"], b.to_str().unwrap());
    let told =
        events.next_where("the change", BOUND, |event| event["type"] == "file.watcher.updated");
    assert_eq!(told.await.unwrap()["properties"]["event"], "add");
    client.wait_idle(&session, &a, BOUND).await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_belongs_to_another_repo_runs_in_its_backend() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    let endpoint = ensure(&world, &b);
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let command = "echo x > made.txt; pwd; exit 3";
    let args = json!({ "command": command, "workdir": b, "description": "there" });
    let script = Script::new()
        .tool("bash", args)
        .bash(format!("echo y >{0}/one.txt; echo z >two.txt", b.display()))
        .text("done");
    let turn = client.turn_in(&session, script.prompt("run it there")).await.unwrap();
    assert_eq!(turn.text, "done");
    let ran = turn.tools[0].output.as_deref().unwrap();
    assert!(ran.contains(&b.display().to_string()), "{ran}");
    assert_eq!(fs_err::read_to_string(b.join("made.txt")).unwrap(), "x\n");
    let refused = turn.tools[1].error.as_deref().unwrap();
    assert!(refused.contains("more than one repo") && refused.contains("workdir"), "{refused}");
    assert!(!b.join("one.txt").exists() && !a.join("two.txt").exists());
    let all = mutations(&world);
    assert_eq!((all[0].tool.as_str(), all[0].outcome), ("bash", MutationOutcome::Applied));
    assert!(all[0].message.as_deref().unwrap().starts_with("exit 3"), "{all:?}");
    drop(endpoint);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_has_ruled_out_stays_so() {
    let world = builder().settings("[policy]\ncross_repo = \"deny\"\n").build();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let script = Script::new()
        .write(b.join("x.txt"), "x")
        .read(b.join("README.md"))
        .write(a.join("own.txt"), "x")
        .text("done");
    let turn = client.turn_in(&session, script.prompt("x")).await.unwrap();
    let error = turn.tools[0].error.as_deref().unwrap();
    assert!(error.contains("ruled out"), "{error}");
    assert!(!b.join("x.txt").exists());
    assert!(turn.tools[1].output.is_some(), "reading is free");
    assert!(a.join("own.txt").exists());
    world.finish();
}

/// Dies at each step of a routed write; the next daemon ends what was begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_in_the_middle_leaves_nothing_half_done() {
    let world = world();
    let (a, b, c) = (world.git_repo("a"), world.git_repo("b"), world.git_repo("c"));
    let client = oc(&ensure(&world, &a));
    for repo in [&b, &c] {
        ensure(&world, repo);
    }
    let session = client.create_session(&a).await.unwrap();
    for (at, point) in ["journalled", "part-applied", "applied"].into_iter().enumerate() {
        let name = format!("f{at}.txt");
        let text = format!("{point}\n");
        fs_err::write(world.repod_home().join(format!("fault-{point}")), "").unwrap();
        let daemon = proc::Handle::open(crate::daemon_pid(&world)).unwrap();
        let script = Script::new().write(b.join(&name), &text).text(&name);
        client.start_turn(&session, script.prompt("x")).await.unwrap();
        assert!(daemon.wait_exit(BOUND), "{point}: it died");
        wait_until("the write", BOUND, async || b.join(&name).exists().then_some(())).await;
        let turn = settled(&client, &session, &name).await;
        assert!(turn.tools[0].output.is_some(), "{point}: {:?}", turn.tools[0]);
        assert_eq!(fs_err::read_to_string(b.join(&name)).unwrap(), text, "{point}");
        let all = mutations(&world);
        assert_eq!(all.len(), at + 1, "{point}: once, {all:?}");
        assert_eq!(all[0].outcome, MutationOutcome::Applied, "{point}");
    }
    world.finish();
}

/// One part is applied when the daemon dies, and before the next one comes the other part has become
/// impossible: the first is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_finished_after_a_death_is_undone() {
    let world = world();
    let (a, b, c) = (world.git_repo("a"), world.git_repo("b"), world.git_repo("c"));
    let client = oc(&ensure(&world, &a));
    for repo in [&b, &c] {
        ensure(&world, repo);
        fs_err::create_dir(repo.join("dir")).unwrap();
        fs_err::write(repo.join("dir/old.txt"), "old\n").unwrap();
    }
    let session = client.create_session(&a).await.unwrap();
    let daemon = proc::Handle::open(crate::daemon_pid(&world)).unwrap();
    let standby = wait_until("a standby", BOUND, async || {
        world.processes().into_iter().find(|it| it.cmdline.contains("--standby")).map(|it| it.pid)
    })
    .await;
    let standby = proc::Handle::open(standby).unwrap();
    standby.stop().unwrap();

    fs_err::write(world.repod_home().join("fault-part-applied"), "").unwrap();
    let update = |repo: &Path| {
        format!("*** Update File: {}\n@@\n-old\n+new\n", repo.join("dir/old.txt").display())
    };
    let patch = format!("*** Begin Patch\n{}{}*** End Patch", update(&b), update(&c));
    let script = Script::new().apply_patch(patch).text("done");
    let prompt = Prompt::from(script.prompt("x")).model(PATCH_MODEL);
    client.start_turn(&session, prompt).await.unwrap();
    assert!(daemon.wait_exit(BOUND));
    let text = |repo: &Path| fs_err::read_to_string(repo.join("dir/old.txt")).unwrap();
    let (done, open) = if text(&b) == "new\n" { (&b, &c) } else { (&c, &b) };
    assert_eq!((text(done).as_str(), text(open).as_str()), ("new\n", "old\n"), "one was applied");
    // Git changes nothing behind a symbolic link.
    fs_err::rename(open.join("dir"), open.join("real")).unwrap();
    std::os::unix::fs::symlink("real", open.join("dir")).unwrap();
    standby.cont().unwrap();

    let turn = settled(&client, &session, "done").await;
    assert!(turn.tools[0].error.is_some(), "{:?}", turn.tools[0]);
    assert_eq!((text(done).as_str(), text(open).as_str()), ("old\n", "old\n"));
    let outcomes: Vec<_> = mutations(&world).into_iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [MutationOutcome::RolledBack; 2]);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_s_backend_may_die_meanwhile() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    let client = oc(&ensure(&world, &a));
    let endpoint = ensure(&world, &b);
    let session = client.create_session(&a).await.unwrap();
    let process = proc::Handle::open(pid(&endpoint)).unwrap();
    process.stop().unwrap();
    let script = Script::new().write(b.join("x.txt"), "x\n").text("done");
    client.start_turn(&session, script.prompt("x")).await.unwrap();
    wait_until("on record", BOUND, async || {
        mutations(&world)
            .first()
            .is_some_and(|it| it.outcome == MutationOutcome::Pending)
            .then_some(())
    })
    .await;
    process.kill().unwrap();
    client.wait_idle(&session, &a, BOUND).await;
    let turn = client.last_turn(&session).await.unwrap();
    assert!(turn.tools[0].output.is_some(), "{:?}", turn.tools[0]);
    assert_eq!(fs_err::read_to_string(b.join("x.txt")).unwrap(), "x\n");
    assert_eq!(mutations(&world).len(), 1);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_parsing_cannot_see_is_recorded_afterwards() {
    let world = world();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    ensure(&world, &b);
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let hidden =
        format!("python3 -c \"open('{}','w').write('x')\"", b.join("sneaked.txt").display());
    let script = Script::new().bash(hidden).bash("make -n || true").text("done");
    let turn = client.turn_in(&session, script.prompt("x")).await.unwrap();
    assert_eq!(turn.succeeded().text, "done");
    wait_until("the record", BOUND, async || {
        let all = mutations(&world);
        let bypass = all.iter().find(|it| it.outcome == MutationOutcome::Bypass)?;
        assert_eq!(bypass.files, ["sneaked.txt"]);
        assert_eq!((bypass.fence, bypass.from.session_id.as_str()), (0, session.as_str()));
        assert!(bypass.message.as_deref().is_some_and(|it| it.contains("python3")), "{bypass:?}");
        Some(())
    })
    .await;
    assert_eq!(mutations(&world).len(), 1, "and nothing else");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_over_several_repos_is_all_or_nothing() {
    let world = world();
    let (a, b, c) = (world.git_repo("a"), world.git_repo("b"), world.git_repo("c"));
    fs_err::write(c.join(".gitattributes"), "*.crlf text eol=crlf\n").unwrap();
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let adding = |files: &[(&Path, &str)]| {
        let sections = files
            .iter()
            .map(|(repo, name)| format!("*** Add File: {}\n+{name}\n", repo.join(name).display()));
        format!("*** Begin Patch\n{}*** End Patch", sections.collect::<String>())
    };
    let files = [(a.as_path(), "home.txt"), (&b, "there.txt"), (&c, "converted.crlf")];
    let script = Script::new().apply_patch(adding(&files)).text("done");
    let prompt = Prompt::from(script.prompt("x")).model(PATCH_MODEL);
    let turn = client.turn_in(&session, prompt).await.unwrap().succeeded();
    let output = turn.tools[0].output.as_deref().unwrap();
    assert!(output.contains("/b)") && output.contains("/c)"), "{output}");
    for (repo, name) in files {
        assert_eq!(fs_err::read_to_string(repo.join(name)).unwrap(), format!("{name}\n"));
    }
    assert_eq!(mutations(&world).len(), 3, "one for each target");

    // One of them can't be changed: none is.
    world.git(&b, ["checkout", "-qb", "other"]);
    fs_err::create_dir(c.join("block")).unwrap();
    fs_err::set_permissions(&c, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs_err::write(c.join("wall"), "a file, where a directory is wanted").unwrap();
    let script =
        Script::new().apply_patch(adding(&[(&b, "two.txt"), (&c, "wall/two.txt")])).text("2");
    let prompt = Prompt::from(script.prompt("x")).model(PATCH_MODEL);
    let turn = client.turn_in(&session, prompt).await.unwrap();
    assert!(turn.tools[0].error.is_some(), "{:?}", turn.tools[0]);
    assert!(!b.join("two.txt").exists());
    assert_eq!(
        fs_err::read_to_string(c.join("wall")).unwrap(),
        "a file, where a directory is wanted"
    );
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_directory_without_git_is_a_repo_too_and_others_are_nobody_s() {
    let world = world();
    let (a, notes) = (world.git_repo("a"), world.plain_dir("notes"));
    let elsewhere = world.plain_dir("elsewhere");
    ensure(&world, &notes);
    let client = oc(&ensure(&world, &a));
    let session = client.create_session(&a).await.unwrap();
    let script = Script::new()
        .write(notes.join("sub/note.txt"), "noted\n")
        .write(elsewhere.join("scratch.txt"), "scratch\n")
        .text("done");
    let turn = client.turn_in(&session, script.prompt("x")).await.unwrap().succeeded();
    let output = turn.tools[0].output.as_deref().unwrap();
    assert!(output.contains("/notes)"), "{output}");
    assert_eq!(fs_err::read_to_string(notes.join("sub/note.txt")).unwrap(), "noted\n");
    assert_eq!(fs_err::read_to_string(elsewhere.join("scratch.txt")).unwrap(), "scratch\n");
    let all = mutations(&world);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].to.branch, format!("dir:{}", notes.display()));
    world.finish();
}

//! `repod route apply` and `repod mutations`: patches that reach a repository from outside.

use crate::sleep::put_to_sleep;
use crate::{backends, client, ensure, status, world};
use repod_proto::{
    BackendState, ErrorBody, MutationInfo, MutationOutcome, RouteFile, RouteReport,
    RouteWriteRequest,
};
use repod_testkit::World;
use repod_testkit::world::Output;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn apply(world: &World, to: &Path, patch: &str, args: &[&str]) -> Output {
    let cmd = world.repod(["route", "apply", "--json", "--to"]).arg(to).args(args);
    cmd.stdin(patch).run()
}

fn mutations(world: &World) -> Vec<MutationInfo> {
    world.repod(["mutations", "--json"]).json()
}

/// A repository, and a clone of it in which things have happened; what happened as a patch.
fn changed(world: &World, name: &str, change: impl FnOnce(&Path)) -> (PathBuf, PathBuf, String) {
    let repo = world.git_repo(name);
    for (file, content) in [
        ("change.txt", &b"one\ntwo\nthree\n"[..]),
        ("delete.txt", b"to go\n"),
        ("old name.txt", b"this file\nis moved\nand\nchanged\na\nlittle\n"),
        ("crlf.txt", b"one\r\ntwo\r\n"),
        ("run.sh", b"#!/bin/sh\n"),
        ("blob", b"\0\x01\x02binary\xff"),
    ] {
        fs_err::write(repo.join(file), content).unwrap();
    }
    world.git(&repo, ["add", "."]);
    world.git(&repo, ["commit", "--quiet", "--message", "files"]);
    let copy = world.repos().join(format!("{name}-copy"));
    let (from, to) = (repo.to_str().unwrap(), copy.to_str().unwrap());
    world.git(&repo, ["clone", "--quiet", from, to]);
    change(&copy);
    world.git(&copy, ["add", "--all"]);
    world.git(&copy, ["commit", "--quiet", "--message", "changed"]);
    let diff = world.command("git").args(["diff", "--binary", "HEAD~1"]).dir(&copy).ok().stdout;
    (repo, copy, diff)
}

/// What lies in the worktree, as git would commit it.
fn tree(world: &World, repo: &Path) -> String {
    world.git(repo, ["add", "--all"]);
    world.git(repo, ["write-tree"])
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_git_can_say_in_a_patch_is_applied_exactly_by_the_target_s_backend() {
    let world = world();
    let (repo, copy, patch) = changed(&world, "web", |copy| {
        let write = |file: &str, content: &[u8]| fs_err::write(copy.join(file), content).unwrap();
        fs_err::create_dir_all(copy.join("deep/er")).unwrap();
        write("deep/er/new ä.txt", b"new\n");
        write("no newline.txt", b"no newline at the end");
        write("change.txt", b"one\n2\nthree");
        fs_err::remove_file(copy.join("delete.txt")).unwrap();
        fs_err::rename(copy.join("old name.txt"), copy.join("new name.txt")).unwrap();
        write("new name.txt", b"this file\nis moved\nand\nchanged\na\nlittle bit\n");
        write("crlf.txt", b"one\r\n2\r\nthree\r\n");
        write("blob", b"\0\x03other\xfe");
        write("new blob", &[0, 1, 2, 255].repeat(500));
        let executable = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(copy.join("run.sh"), executable).unwrap();
    });
    assert!(patch.contains("rename from") && patch.contains("GIT binary patch"), "{patch}");
    ensure(&world, &repo);
    put_to_sleep(&world, &repo).await;
    let report: RouteReport = apply(&world, &repo, &patch, &[]).json();
    assert_eq!(report.outcome, MutationOutcome::Applied);
    let [target] = report.targets.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (target.branch.as_str(), target.directory.as_str()),
        ("main", repo.to_str().unwrap())
    );
    assert!(target.files.contains(&"new name.txt".to_owned()), "{report:?}");
    assert!(target.fence > 0 && report.diff.contains("+2"), "{report:?}");
    assert_eq!(status(&world, &repo).summary.endpoint.state, BackendState::Ready);
    assert_eq!(tree(&world, &repo), world.git(&copy, ["rev-parse", "HEAD^{tree}"]));

    let journal = mutations(&world);
    assert_eq!(journal.len(), 1, "{journal:?}");
    let entry = &journal[0];
    assert_eq!((entry.operation_id.as_str(), entry.fence), (&*report.operation_id, target.fence));
    assert_eq!((entry.tool.as_str(), entry.outcome), ("route", MutationOutcome::Applied));
    assert_eq!((&entry.to.repo_id, &*entry.to.branch), (&target.repo_id, "main"));
    assert_eq!((&entry.from.repo_id, &entry.files), (&None, &target.files));
    let table = world.repod(["mutations"]).ok().stdout;
    assert!(table.contains("applied") && table.contains(&report.operation_id), "{table}");
    world.finish();
}

#[test]
fn a_patch_that_does_not_fit_changes_nothing_and_says_why() {
    let world = world();
    let (repo, _, patch) = changed(&world, "web", |copy| {
        fs_err::write(copy.join("change.txt"), "one\n2\nthree\n").unwrap();
        fs_err::write(copy.join("added.txt"), "added\n").unwrap();
    });
    fs_err::write(repo.join("change.txt"), "quite\nanother\ntext\n").unwrap();
    let before = tree(&world, &repo);
    let output = apply(&world, &repo, &patch, &[]);
    let error = output.json::<ErrorBody>().error;
    assert_eq!(output.code, i32::from(error.code.exit_code()), "{output:?}");
    assert_ne!(output.code, 0);
    assert!(error.message.contains("change.txt") && error.hint.is_some(), "{error:?}");
    assert_eq!(tree(&world, &repo), before);
    // People read the same on stderr.
    let output = world.repod(["route", "apply", "--to"]).arg(&repo).stdin(patch.as_str()).run();
    assert!(output.stdout.is_empty() && output.stderr.contains("hint: "), "{output:?}");
    // A branch that isn't checked out there is none of this worktree's.
    let (_, _, other) =
        changed(&world, "api", |copy| fs_err::write(copy.join("n"), "n\n").unwrap());
    let output = apply(&world, &repo, &other, &["--branch", "release"]);
    assert!(output.json::<ErrorBody>().error.message.contains("release"), "{output:?}");
    assert!(!repo.join("n").exists());
    assert_eq!(apply(&world, &repo, &other, &["--branch", "main"]).code, 0);
    assert_eq!(fs_err::read_to_string(repo.join("n")).unwrap(), "n\n");
    world.finish();
}

#[test]
fn the_same_operation_is_not_done_twice() {
    let world = world();
    let (repo, _, patch) = changed(&world, "web", |copy| {
        fs_err::write(copy.join("added.txt"), "added\n").unwrap();
    });
    let first: RouteReport = apply(&world, &repo, &patch, &["--operation", "release-7"]).json();
    assert_eq!(first.operation_id, "release-7");
    // Somebody goes on from there; the repeated call is answered and does nothing.
    fs_err::remove_file(repo.join("added.txt")).unwrap();
    let again: RouteReport = apply(&world, &repo, &patch, &["--operation", "release-7"]).json();
    assert_eq!(again.targets, first.targets);
    assert!(!repo.join("added.txt").exists());
    assert_eq!(mutations(&world).len(), 1);
    // Under another name it is another write.
    assert_eq!(apply(&world, &repo, &patch, &["--operation", "release-8"]).code, 0);
    assert!(repo.join("added.txt").exists());
    let limited: Vec<MutationInfo> = world.repod(["mutations", "--json", "--limit", "1"]).json();
    assert_eq!(limited.len(), 1);
    assert_eq!(limited[0].operation_id, "release-8", "the newest first");
    world.finish();
}

#[test]
fn what_is_no_patch_or_may_start_nothing_is_refused_before_anything_runs() {
    let world = world();
    let repo = world.git_repo("web");
    assert_eq!(world.repod(["mutations", "--no-start"]).code(), 3);
    assert_eq!(apply(&world, &repo, "x", &["--no-start"]).code, 3);
    let output = apply(&world, &repo, "", &[]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.json::<ErrorBody>().error.hint.is_some());
    assert_eq!(world.repod(["route", "apply"]).stdin("x").code(), 2);
    assert_eq!(world.repod(["mutations", "--limit", "0"]).code(), 2);
    // A person who forgot to redirect anything is told, not left waiting.
    let command = format!("{} route apply --to {}", env!("CARGO_BIN_EXE_repod"), repo.display());
    let screen = world.root().join("screen");
    let output = world.command("script").args(["-qfec", &command]).arg(&screen).run();
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stdout.contains("terminal"), "{output:?}");
    assert!(world.processes().is_empty() && !world.layout().socket().exists());
    // A daemon without a backend there: it isn't woken.
    world.repod(["ps"]).ok();
    assert_eq!(apply(&world, &repo, "x", &["--no-start"]).code, 3);
    assert!(backends(&world).is_empty());
    assert_eq!(world.repod(["mutations", "--json"]).ok().json::<Vec<MutationInfo>>(), []);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_writes_files_of_several_repositories_all_or_none() {
    let world = world();
    let repos = [world.git_repo("web"), world.git_repo("api")];
    let file = |repo: &Path, text: &[u8], expected: Option<&str>| {
        use base64::Engine as _;
        RouteFile {
            path: repo.join("README.md").to_str().unwrap().to_owned(),
            content_base64: Some(base64::engine::general_purpose::STANDARD.encode(text)),
            executable: None,
            expected_sha256: expected.map(str::to_owned),
        }
    };
    let write = |files: Vec<RouteFile>| RouteWriteRequest { files, by: Default::default() };
    let files = vec![file(&repos[0], b"new\n", None), file(&repos[1], b"new\n", Some(""))];
    // The second must not be there, but is.
    let error = client(&world).route_write(write(files)).await.unwrap_err();
    assert!(error.message.contains("README.md"), "{error:?}");
    for repo in &repos {
        assert_eq!(world.git(repo, ["status", "--porcelain"]), "");
    }
    let files = repos.iter().map(|repo| file(repo, b"new\n", None)).collect();
    let report = client(&world).route_write(write(files)).await.unwrap();
    assert_eq!(report.targets.len(), 2, "{report:?}");
    for repo in &repos {
        assert_eq!(fs_err::read_to_string(repo.join("README.md")).unwrap(), "new\n");
    }
    let journal = client(&world).mutations(None).await.unwrap();
    let done = journal.iter().filter(|entry| entry.operation_id == report.operation_id);
    assert_eq!(done.count(), 2, "{journal:?}");
    world.finish();
}

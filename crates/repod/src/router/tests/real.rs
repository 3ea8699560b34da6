//! Through `POST /vcs/apply` of the real OpenCode.
//!
//! Needs `REPOD_OPENCODE`; without it the test fails, it doesn't skip.

use super::{Change, change, differs, every_kind, lay, look, plain};
use crate::router::patch::{Form, make};
use repod_testkit::{Oc, World};
use serde_json::json;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

async fn apply(oc: &Oc, repo: &Path, patch: &str) -> (u16, serde_json::Value) {
    let body = json!({ "patch": patch });
    let reply = oc.call("POST", "/vcs/apply", Some(repo), Some(body), BOUND).await.unwrap();
    (reply.status, reply.body)
}

/// Everything but git's own directory goes.
fn clean(repo: &Path) {
    for entry in fs_err::read_dir(repo).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == ".git" {
            continue;
        }
        if fs_err::symlink_metadata(&path).unwrap().is_dir() {
            fs_err::remove_dir_all(&path).unwrap();
        } else {
            fs_err::remove_file(&path).unwrap();
        }
    }
}

fn together() -> Vec<Change> {
    let mut all = Vec::new();
    for (at, (_, changes)) in every_kind().into_iter().enumerate() {
        let dir = Path::new("case").join(at.to_string());
        all.extend(changes.into_iter().map(|change| Change {
            path: dir.join(change.path),
            renamed_from: change.renamed_from.map(|from| dir.join(from)),
            ..change
        }));
    }
    all
}

async fn routed(oc: &Oc, repo: &Path, changes: &[Change]) -> Result<Vec<String>, String> {
    clean(repo);
    lay(repo, changes);
    let patch = make(changes, Form::Exact).await.unwrap().expect("something changes");
    match apply(oc, repo, &patch).await {
        (200, body) if body["applied"] == true => Ok(differs(repo, changes)),
        (status, body) => Err(format!("{status} {body}\n{patch}")),
    }
}

#[tokio::test]
async fn the_real_backend_applies_every_kind_of_change_exactly() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let server = world.bare(&repo);
    let oc = server.oc();
    // Configuration of the user that changes what a text patch does.
    let settings: &[&[&str]] = &[
        &[],
        &["core.autocrlf", "true"],
        &["core.eol", "crlf"],
        &["apply.whitespace", "fix"],
        &["apply.whitespace", "error"],
        &["core.whitespace", "tab-in-indent,cr-at-eol"],
        &["core.fileMode", "false"],
        &["core.symlinks", "false"],
        &["core.quotePath", "true"],
        &["core.safecrlf", "true"],
    ];
    let mut wrong = Vec::new();
    for setting in settings {
        if let [name, value] = setting {
            world.git(&repo, ["config", name, value]);
        }
        // One by one as it comes; under a setting all in one patch, each in its own directory.
        let cases = if setting.is_empty() { every_kind() } else { vec![("all", together())] };
        for (what, changes) in cases {
            match routed(&oc, &repo, &changes).await {
                Ok(differs) if differs.is_empty() => {}
                Ok(differs) => wrong.push(format!("{setting:?} {what}: {differs:?}")),
                Err(refused) => wrong.push(format!("{setting:?} {what}: refused {refused:.120}")),
            }
        }
        if let [name, _] = setting {
            world.git(&repo, ["config", "--unset", name]);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(server);
    world.finish();
}

#[tokio::test]
async fn the_real_backend_refuses_what_does_not_fit_and_changes_nothing() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let server = world.bare(&repo);
    let oc = server.oc();
    let changes = [change("f", plain("old\n"), plain("new\n")), change("g", None, plain("g\n"))];
    let patch = make(&changes, Form::Exact).await.unwrap().unwrap();

    fs_err::write(repo.join("f"), "theirs\nold\n").unwrap();
    let (status, body) = apply(&oc, &repo, &patch).await;
    assert_eq!((status, &body["data"]["reason"]), (400, &json!("not-clean")), "{body}");
    assert_eq!(look(&repo, Path::new("f")), plain("theirs\nold\n"));
    assert_eq!(look(&repo, Path::new("g")), None);

    // A file that is there already isn't overwritten; a link isn't followed out of the repo.
    fs_err::write(repo.join("f"), "old\n").unwrap();
    fs_err::write(repo.join("g"), "theirs\n").unwrap();
    assert_eq!(apply(&oc, &repo, &patch).await.0, 400);
    assert_eq!(look(&repo, Path::new("f")), plain("old\n"));
    std::os::unix::fs::symlink(world.home(), repo.join("out")).unwrap();
    let beyond = make(&[change("out/f", None, plain("x"))], Form::Exact).await.unwrap().unwrap();
    assert_eq!(apply(&oc, &repo, &beyond).await.0, 400);
    assert_eq!(look(&world.home(), Path::new("f")), None);

    // The same patch again doesn't apply twice.
    fs_err::remove_file(repo.join("g")).unwrap();
    assert_eq!(apply(&oc, &repo, &patch).await.0, 200);
    assert_eq!(apply(&oc, &repo, &patch).await.0, 400);
    assert_eq!(differs(&repo, &changes), Vec::<String>::new());
    drop(server);
    world.finish();
}

/// What isn't as a tool would have left it: to be known, not to be liked.
#[tokio::test]
async fn the_real_backend_makes_a_new_file_of_a_changed_one() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let server = world.bare(&repo);
    let oc = server.oc();
    let file = repo.join("secret");
    fs_err::write(&file, "old\n").unwrap();
    fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    fs_err::hard_link(&file, repo.join("twin")).unwrap();
    let inode = fs_err::metadata(&file).unwrap().ino();
    let patch =
        make(&[change("secret", plain("old\n"), plain("new\n"))], Form::Exact).await.unwrap();
    assert_eq!(apply(&oc, &repo, &patch.unwrap()).await.0, 200);
    let now = fs_err::metadata(&file).unwrap();
    assert_ne!(now.ino(), inode);
    assert_eq!(now.permissions().mode() & 0o777, 0o644, "git knows no other modes");
    assert_eq!(look(&repo, Path::new("twin")), plain("old\n"));

    // Attributes that convert: what is on disk is not what the patch says.
    fs_err::write(repo.join(".gitattributes"), "*.txt text eol=crlf\n").unwrap();
    let changes = [change("new.txt", None, plain("a\nb\n"))];
    let patch = make(&changes, Form::Exact).await.unwrap().unwrap();
    assert_eq!(apply(&oc, &repo, &patch).await.0, 200);
    assert_eq!(look(&repo, Path::new("new.txt")), plain("a\r\nb\r\n"));
    let changes = [change("old.txt", plain("a\r\nb\r\n"), plain("a\r\nB\r\n"))];
    lay(&repo, &changes);
    let patch = make(&changes, Form::Exact).await.unwrap().unwrap();
    assert_eq!(apply(&oc, &repo, &patch).await.0, 400, "its content counts as LF");
    drop(server);
    world.finish();
}

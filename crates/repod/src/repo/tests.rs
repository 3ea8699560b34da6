//! Real repositories, made by the real `git`.

use super::*;
use std::process::Command;

fn git(dir: &Path, args: &[&str]) {
    let status = Command::new("git")
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"])
        .args(args)
        .output()
        .expect("git runs");
    assert!(status.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&status.stderr));
}

fn repo(dir: &Path) -> PathBuf {
    fs_err::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q", "-b", "main"]);
    git(dir, &["commit", "-q", "--allow-empty", "-m", "first"]);
    dir.canonicalize().unwrap()
}

fn code(path: &Path) -> ErrorCode {
    locate(path).unwrap_err().code
}

#[test]
fn every_way_to_a_repository_gives_one_id() {
    let tmp = tempfile::tempdir().unwrap();
    let root = repo(&tmp.path().join("my web"));
    fs_err::create_dir_all(root.join("a/b")).unwrap();
    std::os::unix::fs::symlink(&root, tmp.path().join("link")).unwrap();
    git(&root, &["worktree", "add", "-q", "-b", "topic", "../tree"]);
    let main = locate(&root).unwrap();
    assert!(main.repo.id.as_str().starts_with("my-web-"));
    assert_eq!((main.branch.as_deref(), &main.directory), (Some("main"), &root));
    for way in ["my web/", "my web/a/b", "link", "link/a", "my web/a/..", "my web/.git"] {
        let found = locate(&tmp.path().join(way)).unwrap();
        assert_eq!((&found.repo, &found.directory), (&main.repo, &root), "{way}");
    }
    let linked = locate(&tmp.path().join("tree")).unwrap();
    assert_eq!(linked.repo, main.repo);
    assert_eq!(linked.directory, tmp.path().join("tree").canonicalize().unwrap());
    assert_eq!(linked.branch.as_deref(), Some("topic"));
    git(&root, &["checkout", "-q", "--detach"]);
    assert_eq!(locate(&root).unwrap().branch, None);
}

#[test]
fn two_clones_a_submodule_and_a_bare_repository_are_repos_of_their_own() {
    let tmp = tempfile::tempdir().unwrap();
    let one = repo(&tmp.path().join("one"));
    git(tmp.path(), &["clone", "-q", "one", "two"]);
    git(tmp.path(), &["clone", "-q", "--bare", "one", "three.git"]);
    git(&one, &["submodule", "--quiet", "add", "../two", "libs/two"]);
    let id = |path: &str| locate(&tmp.path().join(path)).unwrap().repo.id;
    let ids = [id("one"), id("two"), id("three.git"), id("one/libs/two")];
    for (i, a) in ids.iter().enumerate() {
        assert!(ids[i + 1..].iter().all(|b| a != b), "{ids:?}");
    }
    assert!(ids[3].as_str().starts_with("two-"));
    let bare = locate(&tmp.path().join("three.git")).unwrap();
    assert_eq!(bare.repo.root, tmp.path().join("three.git").canonicalize().unwrap());
    let sub = locate(&one.join("libs/two")).unwrap();
    assert_eq!(sub.repo.root, one.join("libs/two"));
    git(&one.join("libs/two"), &["worktree", "add", "-q", "-b", "x", "../../../subtree"]);
    let tree = locate(&tmp.path().join("subtree")).unwrap();
    assert_eq!(tree.repo, sub.repo);
}

#[test]
fn worktrees_of_a_bare_repository_share_it() {
    let tmp = tempfile::tempdir().unwrap();
    repo(&tmp.path().join("one"));
    std::fs::create_dir(tmp.path().join("proj")).unwrap();
    git(tmp.path(), &["clone", "-q", "--bare", "one", "proj/.bare"]);
    git(&tmp.path().join("proj/.bare"), &["worktree", "add", "-q", "../wt", "main"]);
    let tree = locate(&tmp.path().join("proj/wt")).unwrap();
    assert_eq!(tree.repo, locate(&tmp.path().join("proj/.bare")).unwrap().repo);
    assert!(tree.repo.id.as_str().starts_with("proj-"));
    assert_eq!(tree.repo.root, tmp.path().join("proj").canonicalize().unwrap());
}

#[test]
fn a_directory_without_git_is_a_repo() {
    let tmp = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(tmp.path().join("p/sub")).unwrap();
    let found = locate(&tmp.path().join("p")).unwrap();
    assert_eq!(found.repo.root, found.directory);
    assert_ne!(found.repo.id, locate(&tmp.path().join("p/sub")).unwrap().repo.id);
    assert!(locate(Path::new("/")).unwrap().repo.id.as_str().starts_with("root-"));
}

#[test]
fn what_cannot_be_used_is_said_clearly() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    fs_err::write(dir.join("file"), "").unwrap();
    assert_eq!(code(Path::new("relative")), ErrorCode::InvalidRequest);
    assert_eq!(code(&dir.join("missing")), ErrorCode::PathNotFound);
    assert_eq!(code(&dir.join("file")), ErrorCode::NotADirectory);
    assert_eq!(code(&dir.join("file/below")), ErrorCode::NotADirectory);
    std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
    assert_eq!(code(&dir.join("loop")), ErrorCode::PathUnreadable);
    let odd = dir.join(std::ffi::OsStr::from_bytes(b"n\xffn"));
    std::fs::create_dir(&odd).unwrap();
    assert_eq!(code(&odd), ErrorCode::PathNotUtf8);
    std::fs::create_dir(dir.join("broken")).unwrap();
    fs_err::write(dir.join("broken/.git"), "gitdir: /nowhere").unwrap();
    assert_eq!(code(&dir.join("broken")), ErrorCode::RepoInvalid);
}

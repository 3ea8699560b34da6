//! Through `git apply`, as OpenCode 1.18.33 calls it.

use super::{change, differs, every_kind, lay, look, plain};
use crate::router::patch::{Form, PatchError, make};
use crate::router::{Change, Content, Kind};
use proptest::prelude::*;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn git(dir: &Path, args: &[&str], input: &str) -> bool {
    let mut git = Command::new("git");
    git.args([
        "-c",
        "core.autocrlf=false",
        "-c",
        "core.symlinks=true",
        "-c",
        "core.quotepath=false",
    ]);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut child = git
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait().unwrap().success()
}

fn repo() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("repod-apply-").tempdir().unwrap();
    assert!(git(dir.path(), &["init", "-q"], ""));
    dir
}

#[test]
fn every_kind_of_change_arrives_exactly() {
    for (what, changes) in every_kind() {
        let dir = repo();
        lay(dir.path(), &changes);
        let patch = block_on(make(&changes, Form::Exact)).unwrap().expect("something changes");
        assert!(patch.is_ascii() || what == "a new link", "{what}: {patch}");
        assert!(git(dir.path(), &["apply", "-"], &patch), "{what}: refused\n{patch}");
        let wrong = differs(dir.path(), &changes);
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
    }
}

#[test]
fn a_file_that_has_changed_meanwhile_is_not_touched() {
    let dir = repo();
    let (old, new) = ("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\n5\n6\n7\nEIGHT\n");
    let changes = [change("f", plain(old), plain(new)), change("g", None, plain("g\n"))];
    let exact = block_on(make(&changes, Form::Exact)).unwrap().unwrap();
    let readable = block_on(make(&changes, Form::Readable)).unwrap().unwrap();
    // Someone has put a line at the top: a text patch would still find its place.
    let theirs = format!("0\n{old}");
    fs_err::write(dir.path().join("f"), &theirs).unwrap();
    assert!(git(dir.path(), &["apply", "--check", "-"], &readable));
    assert!(!git(dir.path(), &["apply", "-"], &exact));
    assert_eq!(look(dir.path(), Path::new("f")), plain(&theirs));
    assert_eq!(look(dir.path(), Path::new("g")), None, "all or nothing");
}

#[test]
fn what_does_not_change_makes_no_patch() {
    assert_eq!(block_on(make(&[], Form::Exact)).unwrap(), None);
    let same = [change("f", plain("x"), plain("x")), change("g", None, None)];
    assert_eq!(block_on(make(&same, Form::Exact)).unwrap(), None);
}

#[test]
fn paths_that_leave_the_repo_are_refused() {
    for path in ["../f", "/f", "a/../f", ".git/config", "sub/.GIT/hooks/x", "", "a//b", "./a", "a/"]
    {
        let made = block_on(make(&[change(path, None, plain("x"))], Form::Exact));
        assert!(matches!(made, Err(PatchError::Path(_))), "{path:?}: {made:?}");
    }
    let twice = [change("f", None, plain("x")), change("f", None, plain("y"))];
    assert!(matches!(block_on(make(&twice, Form::Exact)), Err(PatchError::Twice(_))));
}

#[test]
fn the_readable_form_shows_lines_and_renames() {
    let text = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    let renamed = Change {
        path: "new".into(),
        renamed_from: Some("old".into()),
        before: plain(text),
        after: plain(text.replace('5', "five")),
    };
    let shown = block_on(make(&[renamed], Form::Readable)).unwrap().unwrap();
    for line in ["rename from old", "rename to new", "--- a/old", "+++ b/new", "-5", "+five"] {
        assert!(shown.lines().any(|at| at == line), "{line}\n{shown}");
    }
}

fn content() -> impl Strategy<Value = Option<Content>> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(proptest::sample::select(&b"ab \t\r\n\\+-@"[..]), 0..200),
    ];
    let kind = prop_oneof![Just(Kind::Plain), Just(Kind::Executable)];
    proptest::option::weighted(0.8, (kind, bytes).prop_map(|(kind, bytes)| Content { kind, bytes }))
}

proptest! {
    // Each case runs git three times.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_pair_of_contents_arrives_exactly(
        pairs in proptest::collection::vec(("[a-c]{1,2}[ \"'\\\\\t\n\u{e4}*]{0,3}x", content(), content()), 1..5)
    ) {
        let mut changes: Vec<Change> = Vec::new();
        for (path, before, after) in pairs {
            if !changes.iter().any(|change| change.path == Path::new(&path)) {
                changes.push(change(&path, before, after));
            }
        }
        let dir = repo();
        lay(dir.path(), &changes);
        let Some(patch) = block_on(make(&changes, Form::Exact)).unwrap() else {
            prop_assert!(changes.iter().all(|change| change.before == change.after));
            return Ok(());
        };
        prop_assert!(patch.is_ascii());
        prop_assert!(git(dir.path(), &["apply", "-"], &patch), "{patch}");
        prop_assert_eq!(differs(dir.path(), &changes), Vec::<String>::new());
    }
}

//! Which files a given patch names.

use super::{change, plain};
use crate::router::attributes::converted;
use crate::router::patch::{Form, make};
use crate::router::touched::{Touched, TouchedError, touched};
use crate::router::{Change, Envelope, Hunk};
use std::collections::BTreeSet;
use std::path::PathBuf;

async fn paths(patch: &str) -> Vec<String> {
    let found: BTreeSet<PathBuf> = match touched(patch.as_bytes()).await.unwrap() {
        Touched::Git { paths, .. } | Touched::Envelope { paths, .. } => paths,
    };
    let mut names: Vec<String> =
        found.into_iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_git_patch_names_both_ends_of_a_rename() {
    let renamed = Change {
        path: "to here".into(),
        renamed_from: Some("from\there".into()),
        before: plain("1\n2\n3\n4\n"),
        after: plain("1\n2\n3\n4\n"),
    };
    let changes = [renamed, change("new", None, plain("")), change("gone", plain([0, 1]), None)];
    for form in [Form::Exact, Form::Readable] {
        let patch = make(&changes, form).await.unwrap().unwrap();
        assert_eq!(paths(&patch).await, ["from\there", "gone", "new", "to here"]);
    }
}

#[tokio::test]
async fn plain_diffs_are_read_with_the_names_they_have() {
    let hunk = "@@ -1 +1 @@\n-a\n+b\n";
    assert_eq!(paths(&format!("--- a/x/f\n+++ b/x/f\n{hunk}")).await, ["x/f"]);
    assert_eq!(paths(&format!("--- x/f\n+++ x/f\n{hunk}")).await, ["x/f"], "no such prefix");
    assert_eq!(paths(&format!("--- /r/x/f\n+++ /r/x/f\n{hunk}")).await, ["/r/x/f"], "absolute");
    let no_prefix = format!("diff --git x/f x/f\n--- x/f\n+++ x/f\n{hunk}").replace("x/", "xx/");
    assert_eq!(paths(&no_prefix).await, ["xx/f"]);
    let new = "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+*** Begin Patch\n";
    assert_eq!(paths(new).await, ["n"], "an envelope within a diff is content");
    assert!(matches!(touched(b"nothing of the kind\n").await, Err(TouchedError::Git(_))));
    assert!(touched(b"").await.is_err());
}

#[tokio::test]
async fn an_envelope_names_its_files() {
    let text = "*** Begin Patch\n*** Add File: /o/new.txt\n+*** Delete File: no\n*** Update File: src/a b.rs\n\
        *** Move to: ../o/b.rs\n@@ fn x\n-a\n+b\n*** Delete File: gone\n*** End Patch";
    assert_eq!(paths(text).await, ["../o/b.rs", "/o/new.txt", "gone", "src/a b.rs"]);
    let wrapped = format!("cat <<'EOF'\n{text}\nEOF\n");
    assert_eq!(paths(&wrapped).await, paths(text).await);
    let sloppy = format!("Here you are:\n  {}\nGood luck", text.replace("*** End", " *** End"));
    assert_eq!(paths(&sloppy).await, paths(text).await);
    assert!(matches!(
        touched(b"*** Begin Patch\n*** End Patch").await,
        Err(TouchedError::Envelope)
    ));
    assert!(matches!(
        touched(b"*** Begin Patch\n*** Add File: x").await,
        Err(TouchedError::Envelope)
    ));
}

#[test]
fn an_envelope_is_read_as_opencode_reads_it() {
    // A header must begin its line; a move must follow at once; the first end mark ends.
    let text = "*** Begin Patch\n *** Add File: indented\n*** Update File: a\n@@\n*** Move to: late\n\
        *** Update File: b\n*** Move to:   \n*** Delete File:\n*** End Patch\n*** Add File: after\n*** End Patch";
    let update = |path: &str| Hunk::Update { path: path.into(), moved_to: None };
    assert_eq!(Envelope::parse(text).unwrap().hunks, [update("a"), update("b")]);
}

#[tokio::test]
async fn converting_attributes_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        std::process::Command::new("git").args(args).current_dir(dir.path()).status().unwrap()
    };
    assert!(git(&["init", "-q"]).success());
    fs_err::write(dir.path().join(".gitattributes"), "*.txt eol=crlf\n*.bin filter=lfs -text\n")
        .unwrap();
    let names = ["a.txt", "b.bin", "c.rs", "d\n.txt"].map(PathBuf::from);
    let found = converted(dir.path(), &names).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|it| (it.path.to_str().unwrap(), &*it.attribute, &*it.value)).collect();
    assert_eq!(
        found,
        [("a.txt", "eol", "crlf"), ("b.bin", "filter", "lfs"), ("d\n.txt", "eol", "crlf")]
    );
}

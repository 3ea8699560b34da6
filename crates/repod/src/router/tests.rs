//! Patches through git itself, and through the real OpenCode.

mod apply;
mod reading;
mod real;

use super::{Change, Content, Kind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

fn plain(bytes: impl AsRef<[u8]>) -> Option<Content> {
    Some(Content { kind: Kind::Plain, bytes: bytes.as_ref().to_vec() })
}

fn kind(kind: Kind, bytes: &str) -> Option<Content> {
    Some(Content { kind, bytes: bytes.as_bytes().to_vec() })
}

fn change(path: &str, before: Option<Content>, after: Option<Content>) -> Change {
    Change { path: path.into(), renamed_from: None, before, after }
}

/// Puts a file where `root` wants it.
fn put(root: &Path, path: &Path, content: &Content) {
    let path = root.join(path);
    fs_err::create_dir_all(path.parent().expect("a file has a directory")).unwrap();
    if content.kind == Kind::Link {
        symlink(std::ffi::OsStr::from_bytes(&content.bytes), &path).unwrap();
        return;
    }
    fs_err::write(&path, &content.bytes).unwrap();
    let mode = if content.kind == Kind::Executable { 0o755 } else { 0o644 };
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What is there now.
fn look(root: &Path, path: &Path) -> Option<Content> {
    let path = root.join(path);
    let meta = fs_err::symlink_metadata(&path).ok()?;
    if meta.is_symlink() {
        let bytes = fs_err::read_link(&path).unwrap().as_os_str().as_bytes().to_vec();
        return Some(Content { kind: Kind::Link, bytes });
    }
    if meta.is_dir() {
        return None;
    }
    let executable = meta.permissions().mode() & 0o100 != 0;
    let kind = if executable { Kind::Executable } else { Kind::Plain };
    Some(Content { kind, bytes: fs_err::read(&path).unwrap() })
}

/// Before the change.
fn lay(root: &Path, changes: &[Change]) {
    for change in changes {
        if let Some(before) = &change.before {
            put(root, change.renamed_from.as_ref().unwrap_or(&change.path), before);
        }
    }
}

/// What differs from what was wanted.
fn differs(root: &Path, changes: &[Change]) -> Vec<String> {
    let mut wrong = Vec::new();
    for change in changes {
        let now = look(root, &change.path);
        if now != change.after {
            wrong.push(format!("{}: {now:?} instead of {:?}", change.path.display(), change.after));
        }
        if let Some(from) = change.renamed_from.as_ref().filter(|from| look(root, from).is_some()) {
            wrong.push(format!("{} is still there", from.display()));
        }
    }
    wrong
}

/// Every kind of change there is.
fn every_kind() -> Vec<(&'static str, Vec<Change>)> {
    let renamed = |from: &str, to: &str, before, after| Change {
        path: to.into(),
        renamed_from: Some(from.into()),
        before,
        after,
    };
    vec![
        ("a changed line", vec![change("f", plain("a\nb\nc\n"), plain("a\nB\nc\n"))]),
        ("a new file in new directories", vec![change("x/y/z.txt", None, plain("new\n"))]),
        ("a deletion", vec![change("gone/deep", plain("old\n"), None)]),
        ("a rename", vec![renamed("old", "dir/new", plain("same\n"), plain("same\n"))]),
        (
            "a rename with an edit",
            vec![renamed("old", "new", plain("a\nb\nc\nd\n"), plain("a\nb\nc\nD\n"))],
        ),
        ("binary", vec![change("bin", plain([0, 1, 2, 255]), plain([0, 255, 7, 10, 13, 0]))]),
        ("text that is not UTF-8", vec![change("latin", plain(b"\xe4\n"), plain(b"\xe4\xfc\r\n"))]),
        ("CRLF", vec![change("crlf", plain("a\r\nb\r\n"), plain("a\r\nB\r\n"))]),
        ("CRLF to LF", vec![change("crlf", plain("a\r\nb\r\n"), plain("a\nb\n"))]),
        ("LF to CRLF", vec![change("lf", plain("a\nb\n"), plain("a\r\nb\r\n"))]),
        ("mixed line ends", vec![change("mixed", plain("a\r\nb\nc\r"), plain("a\nb\r\nc\r\r\n"))]),
        ("a final newline less", vec![change("f", plain("a\nb\n"), plain("a\nb"))]),
        ("a final newline more", vec![change("f", plain("a\nb"), plain("a\nb\n"))]),
        ("trailing white space", vec![change("f", plain("a\n"), plain("a  \n\t \n \tb \n\n\n"))]),
        (
            "becomes executable",
            vec![change("run", plain("#!/bin/sh\n"), kind(Kind::Executable, "#!/bin/sh\n"))],
        ),
        (
            "stops being executable",
            vec![change("run", kind(Kind::Executable, "x\n"), plain("y\n"))],
        ),
        ("new and executable", vec![change("run", None, kind(Kind::Executable, "#!/bin/sh\n"))]),
        ("new and empty", vec![change("empty", None, plain(""))]),
        ("becomes empty", vec![change("f", plain("x\n"), plain(""))]),
        ("was empty", vec![change("f", plain(""), plain("x\n"))]),
        ("an empty one deleted", vec![change("f", plain(""), None)]),
        ("a new link", vec![change("link", None, kind(Kind::Link, "../elsewhere/ü"))]),
        ("a link turned", vec![change("link", kind(Kind::Link, "a"), kind(Kind::Link, "b"))]),
        ("a file becomes a link", vec![change("f", plain("x\n"), kind(Kind::Link, "target"))]),
        ("a link becomes a file", vec![change("f", kind(Kind::Link, "target"), plain("x\n"))]),
        (
            "a file becomes a directory",
            vec![change("d", plain("x\n"), None), change("d/f", None, plain("y\n"))],
        ),
        (
            "a directory becomes a file",
            vec![change("d/f", plain("y\n"), None), change("d", None, plain("x\n"))],
        ),
        (
            "odd names",
            [
                "with space",
                "trailing ",
                " leading",
                "quo\"te",
                "back\\slash",
                "tab\there",
                "new\nline",
                "ünïcode-名",
                "a -> b",
                "{x => y}",
                "-dash",
                "b/b",
                "a/x b/x",
                "dev/null",
                "#hash",
                "*?[x]",
                "e\u{301}",
                "\u{7f}",
            ]
            .map(|name| change(name, plain("before\n"), plain("after\n")))
            .to_vec(),
        ),
        (
            "new odd names",
            [
                "with space",
                "trailing ",
                "quo\"te",
                "tab\there",
                "new\nline",
                "ü/名",
                "-d/-f",
                "a b/a b",
            ]
            .map(|name| change(name, None, plain("after\n")))
            .to_vec(),
        ),
        (
            "new odd names, empty",
            ["with space", "trailing ", "a b/c d", "tab\there", "new\nline"]
                .map(|name| change(name, None, plain("")))
                .to_vec(),
        ),
        (
            "a git attributes file",
            vec![
                change(".gitattributes", None, plain("* text eol=crlf diff\n")),
                change("f", None, plain("x\ny\n")),
            ],
        ),
        (
            "an ignored file",
            vec![change(".gitignore", None, plain("*.log\n")), change("x.log", None, plain("x\n"))],
        ),
        (
            "a large file",
            vec![change("large", plain("x".repeat(300_000)), plain("y\n".repeat(200_000)))],
        ),
    ]
}

//! What is said to read is given to bash itself: afterwards the directory must be as it was.
//!
//! Random pieces of shell, so that what the parser and bash understand differently shows.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use proptest::prelude::*;
use repod_shell::{Input, Kind, classify};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writers write beside the files that are there; nothing leads out of the directory.
const PIECES: &[&str] = &[
    "ls",
    "ls",
    "cat a",
    "touch w",
    "echo",
    "echo hi",
    "echo w",
    "> w",
    ">w",
    "2>&1",
    "2>",
    "&> w",
    "<a",
    "<<E\n",
    "<<'E'\n",
    "<<-E\n",
    "\nE\n",
    "\nE",
    "E",
    "<<<",
    "\n",
    "\n",
    " ",
    " ",
    " ",
    ";",
    ";",
    "&&",
    "||",
    "|",
    "|&",
    "&",
    "\"",
    "\"",
    "'",
    "'",
    "\\",
    "\\\n",
    "`",
    "`",
    "$(",
    "(",
    ")",
    ")",
    "{ ",
    "; }",
    "{",
    "}",
    ",",
    "${x",
    ":-",
    "}",
    "$x",
    "x=",
    "x=1",
    "x=touch",
    "$((",
    "))",
    "$[",
    "]",
    "#",
    " # ",
    "!",
    "if ",
    "; then ",
    "; fi",
    "for i in a b; do ",
    "; done",
    "while ",
    "; do ",
    "case a in a) ",
    ";; esac",
    "f() { ",
    "f",
    "[[ ",
    " ]]",
    "[ ",
    " ]",
    "-eq",
    "a[",
    "=",
    "~",
    "*",
    "?",
    "tee w",
    "xargs",
    "xargs touch",
    "find .",
    "-exec touch w ;",
    "-delete",
    "sort a",
    "-o w",
    "sed -n",
    "'w w'",
    "1p",
    "awk '{print}' a",
    "env",
    "time ",
    "bash -c",
    "eval",
    "command",
    "cd sub",
    "w",
    "a",
    "\u{e9}",
    "\t",
    "$'",
    "\\x77",
    "@(",
    "$1",
    "%",
    "1",
    "0",
];

fn soup() -> impl Strategy<Value = String> {
    let free = proptest::collection::vec(proptest::sample::select(PIECES), 1..14);
    let spaced = proptest::collection::vec(proptest::sample::select(PIECES), 1..10);
    prop_oneof![free.prop_map(|parts| parts.concat()), spaced.prop_map(|parts| parts.join(" ")),]
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(at) = stack.pop() {
        for entry in fs_err::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path.clone());
            }
            let bytes = if path.is_file() {
                fs_err::File::open(&path).map(|f| std::io::read_to_string(f).unwrap()).unwrap()
            } else {
                String::new()
            };
            all.insert(path.to_str().unwrap().to_owned(), bytes.into_bytes());
        }
    }
    all
}

#[test]
fn what_is_said_to_read_leaves_everything_as_it_was() {
    let dir = tempfile::Builder::new().prefix("repod-shell-").tempdir().unwrap();
    fs_err::create_dir(dir.path().join("sub")).unwrap();
    for name in ["a", "b", "sub/a"] {
        fs_err::write(dir.path().join(name), "a\ntouch w\n").unwrap();
    }
    let before = files(dir.path());
    let read = std::cell::Cell::new(0_u32);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(6_000);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(command in soup())| {
        let verdict = classify(&Input { home: Some(dir.path()), ..Input::new(&command, dir.path()) });
        if verdict.kind == Kind::Reading {
            read.set(read.get() + 1);
            let mut bash = Command::new("timeout");
            bash.args(["-k1", "2", "bash", "-c", &command]).current_dir(dir.path()).env("HOME", dir.path());
            bash.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            prop_assert_eq!(files(dir.path()), before.clone(), "{}", command);
        }
    });
    // Else the test tests nothing.
    assert!(read.get() > cases / 100, "only {} of {cases} were said to read", read.get());
}

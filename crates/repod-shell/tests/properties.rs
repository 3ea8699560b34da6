//! Whatever the text, there is an answer, soon, and nothing that reads can be made to look so by
//! putting a writer beside it.

use proptest::prelude::*;
use repod_shell::{Input, Kind, classify};
use std::path::Path;

fn kind(command: &str) -> Kind {
    classify(&Input::new(command, Path::new("/r"))).kind
}

/// Pieces of shell, put together at random.
const PIECES: &[&str] = &[
    "ls",
    "rm x",
    "git log",
    "cd /o",
    "echo",
    "\"",
    "'",
    "$(",
    ")",
    "`",
    "${x",
    "}",
    "((",
    "))",
    "|",
    "||",
    "&&",
    ";",
    "&",
    ">",
    ">>",
    "<",
    "<<EOF\n",
    "\nEOF\n",
    "<<<",
    "\n",
    " ",
    "\\",
    "\t",
    "*",
    "~",
    "{a,b}",
    "{",
    "if",
    "then",
    "fi",
    "for x in",
    "do",
    "done",
    "while",
    "case",
    "in",
    "esac",
    "[[",
    "]]",
    "[",
    "]",
    "-eq",
    "!",
    "$x",
    "$1",
    "x=1",
    "x=",
    "f()",
    "function",
    "$((",
    "\u{e9}",
    "\u{a0}",
    "\r",
    "#",
    "-exec",
    "find .",
    "sed -n",
    "'p'",
    "awk",
    "xargs",
    "bash -c",
    "<<-'A B'\n",
    "<<\\E",
    "<<",
    "\nE\n",
    "\u{e0184}",
    "\u{1d58a}",
    "((;;))",
    "?(a|b)",
    "@(",
    "$'",
    "2>&1",
    "&>",
    "@P",
    "a[",
    "=",
    "time",
    "env",
];

fn soup() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..40)
        .prop_map(|parts| parts.concat())
}

const READING: &[&str] = &[
    "ls -la",
    "git status",
    "cat f | head",
    "cd src && ls",
    "echo \"$(date)\"",
    "for f in a; do cat $f; done",
    "find . -name x",
    "sed -n 1p f",
    "awk '{print $1}' f",
    "if true; then ls; fi",
    "cat <<EOF\nx\nEOF",
    "(ls; pwd)",
    "x=1; echo $x",
];

const WRITING: &[&str] = &[
    "rm x",
    "echo x > f",
    "touch y",
    "git add .",
    "python3 z",
    "sed -i s/a/b/ f",
    "$x y",
    "find . -delete",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        kind(&text);
    }

    /// The parser's scanner reads out of bounds for some letters, if it is given them.
    #[test]
    fn letters_of_any_script_get_an_answer(text in "[\\u{80}-\\u{10ffff} a={}$<*?-]{0,60}") {
        kind(&text);
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        kind(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_soup_of_shell_gets_an_answer(text in soup()) {
        kind(&text);
    }

    #[test]
    fn a_writer_is_seen_wherever_it_stands(
        reader in proptest::sample::select(READING),
        writer in proptest::sample::select(WRITING),
        how in 0..9_usize,
    ) {
        prop_assert_eq!(kind(reader), Kind::Reading);
        let both = match how {
            0 => format!("{reader}\n{writer}"),
            1 => format!("{writer}; {reader}"),
            2 => format!("{reader}\n({writer})"),
            3 => format!("({reader}\n) && {writer}"),
            4 => format!("if {writer}; then\n{reader}\nfi"),
            5 => format!("while {{\n{reader}\n}}; do {writer}; done"),
            6 => format!("{reader}\necho \"$({writer})\""),
            7 => format!("f() {{ {writer}; }}\n{reader}\nf"),
            _ => format!("case x in x)\n{reader}\n{writer};; esac"),
        };
        prop_assert_eq!(kind(&both), Kind::Writing, "{}", both);
    }

    /// What is cut, doubled or swapped in a writing command may stop it from writing, but what
    /// still holds a redirection or `rm` as bash parses it must not read. Only the answer counts here.
    #[test]
    fn mutated_commands_get_an_answer(
        reader in proptest::sample::select(READING),
        writer in proptest::sample::select(WRITING),
        at in 0..40_usize,
        piece in proptest::sample::select(PIECES),
    ) {
        let mut text: Vec<char> = format!("{reader}; {writer}").chars().collect();
        let at = at.min(text.len());
        text.splice(at..at, piece.chars());
        kind(&text.into_iter().collect::<String>());
    }
}

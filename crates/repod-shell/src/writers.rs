//! Programs known to write, and what.

use crate::options::{Parsed, Spec, parse};
use crate::state::State;
use crate::verdict::Reason;
use crate::walk::Walk;
use crate::word::Word;

/// Programs whose operands are all written or removed.
const ALL: &[(&[&str], Spec)] = &[
    (
        &[
            "rm", "rmdir", "unlink", "shred", "tee", "mkfifo", "gzip", "gunzip", "bzip2", "xz",
            "zstd",
        ],
        Spec { valued: "", long_valued: &[], glued: "" },
    ),
    (&["touch"], Spec { valued: "drt", long_valued: &["--date", "--reference"], glued: "" }),
    (&["mkdir"], Spec { valued: "m", long_valued: &["--mode"], glued: "" }),
    (&["truncate"], Spec { valued: "sr", long_valued: &["--size", "--reference"], glued: "" }),
    // Sources go away.
    (&["mv"], Spec { valued: "tS", long_valued: &["--target-directory", "--suffix"], glued: "" }),
];

/// Programs that write their last operand, or the directory of `-t`.
const LAST: &[&str] = &["cp", "ln", "install", "rsync", "scp"];

/// Programs with a mode or owner before the files.
const AFTER_FIRST: &[&str] = &["chmod", "chown", "chgrp"];

/// Builders and package managers: they write where they are started.
const BUILDERS: &[&str] = &[
    "make",
    "gmake",
    "ninja",
    "cmake",
    "meson",
    "cargo",
    "rustfmt",
    "npm",
    "pnpm",
    "yarn",
    "bun",
    "npx",
    "bunx",
    "deno",
    "tsc",
    "eslint",
    "prettier",
    "jest",
    "vitest",
    "vite",
    "webpack",
    "go",
    "gofmt",
    "goimports",
    "mvn",
    "gradle",
    "ant",
    "pip",
    "pip3",
    "poetry",
    "uv",
    "pytest",
    "tox",
    "ruff",
    "black",
    "isort",
    "mypy",
    "bundle",
    "rake",
    "gem",
    "composer",
    "just",
    "task",
    "bazel",
    "gcc",
    "g++",
    "cc",
    "clang",
    "rustc",
    "javac",
    "mix",
    "dotnet",
    "swift",
    "pre-commit",
    "turbo",
    "nx",
    "lerna",
];

/// Options of those that move them elsewhere.
const ELSEWHERE: &[&str] =
    &["-C", "--directory", "--prefix", "--cwd", "--dir", "--manifest-path", "--project", "--root"];

pub(crate) fn is_known(name: &str) -> bool {
    ALL.iter().any(|(names, _)| names.contains(&name))
        || LAST.contains(&name)
        || AFTER_FIRST.contains(&name)
        || BUILDERS.contains(&name)
        || matches!(name, "dd" | "patch" | "wget" | "unzip" | "curl" | "tar" | "sed")
}

/// Records what a known writer writes; false when `program` is none.
pub(crate) fn writer(walk: &mut Walk<'_, '_>, program: &str, args: &[Word], state: &State) -> bool {
    if !is_known(program) {
        return false;
    }
    // `tee` alone, or into a sink, keeps nothing.
    let sink = |word: &Word| word.fixed().is_some_and(crate::redirect::is_sink);
    if program == "tee" && args.iter().all(|word| sink(word) || word.fixed() == Some("-a")) {
        return true;
    }
    walk.runs(state, Reason::Writes(program.to_owned()));
    if let Some((_, spec)) = ALL.iter().find(|(names, _)| names.contains(&program)) {
        let parsed = parse(args, *spec);
        let tree = program == "mv" || recursive(&parsed);
        let places = parsed.values(&["-t", "--target-directory"]);
        let extra = if program == "mv" { places } else { Vec::new() };
        parsed.operands.iter().filter(|w| !sink(w)).for_each(|word| walk.writes(word, state, tree));
        extra.into_iter().for_each(|word| walk.writes(word, state, true));
        hidden(walk, parsed.hidden, state);
    } else if LAST.contains(&program) {
        last(walk, program, args, state);
    } else if AFTER_FIRST.contains(&program) {
        let parsed = parse(args, Spec { valued: "", long_valued: &["--reference"], glued: "" });
        let tree = parsed.has(&["-R", "--recursive"]);
        let first = usize::from(!parsed.has(&["--reference"]));
        parsed.operands.iter().skip(first).for_each(|word| walk.writes(word, state, tree));
        hidden(walk, parsed.hidden, state);
    } else if BUILDERS.contains(&program) {
        builder(walk, args, state);
    } else {
        special(walk, program, args, state);
    }
    true
}

fn recursive(parsed: &Parsed<'_>) -> bool {
    parsed.has(&["-r", "-R", "--recursive", "-p", "--parents"])
}

/// A word that may be an option may also name another target.
fn hidden(walk: &mut Walk<'_, '_>, hidden: bool, state: &State) {
    if hidden {
        walk.runs_opaque(state, Reason::Dynamic("an argument".into()));
    }
}

fn last(walk: &mut Walk<'_, '_>, program: &str, args: &[Word], state: &State) {
    let spec = Spec {
        valued: "tSmog",
        long_valued: &["--target-directory", "--suffix", "--mode"],
        glued: "",
    };
    let spec = match program {
        "cp" | "ln" => Spec { valued: "tS", ..spec },
        // Theirs is a flag.
        "rsync" | "scp" => Spec { valued: "", long_valued: &[], glued: "" },
        _ => spec,
    };
    let parsed = parse(args, spec);
    let places = parsed.values(&["-t", "--target-directory"]);
    if !places.is_empty() {
        places.into_iter().for_each(|word| walk.writes(word, state, true));
    } else if program == "install" && parsed.has(&["-d", "--directory"]) {
        parsed.operands.iter().for_each(|word| walk.writes(word, state, true));
    } else if program == "ln" && parsed.operands.len() == 1 {
        state.here().into_iter().for_each(|target| walk.out.writes(target));
    } else if let Some(to) = parsed.operands.last() {
        // It may be a directory.
        walk.writes(to, state, true);
    }
    if program == "rsync" && parsed.has(&["--remove-source-files"]) {
        parsed.operands.iter().for_each(|word| walk.writes(word, state, true));
    }
    hidden(walk, parsed.hidden, state);
}

fn builder(walk: &mut Walk<'_, '_>, args: &[Word], state: &State) {
    let mut moved = None;
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let (name, value) = word.prefix().split_once('=').unwrap_or((word.prefix(), ""));
        if !ELSEWHERE.contains(&name) {
            continue;
        }
        let to = if word.prefix().contains('=') {
            Some(value)
        } else {
            rest.next().and_then(Word::fixed)
        };
        let to = to
            .map(|to| to.strip_suffix("Cargo.toml").unwrap_or(to))
            .filter(|_| word.fixed().is_some());
        moved = Some(state.moved(to.map(|to| if to.is_empty() { "." } else { to })));
    }
    let places = moved.unwrap_or_else(|| state.clone());
    places.here().into_iter().for_each(|target| walk.out.writes(target));
    places.dirs().for_each(|dir| walk.out.runs_in(dir));
}

fn special(walk: &mut Walk<'_, '_>, program: &str, args: &[Word], state: &State) {
    let values = |names: &[&str], spec: Spec| -> Vec<Word> {
        parse(args, spec).values(names).into_iter().cloned().collect()
    };
    let (places, tree): (Vec<Word>, bool) = match program {
        "dd" => {
            let of = args.iter().filter_map(|word| match word {
                Word::Fixed(text) => text.strip_prefix("of=").map(|to| Word::Fixed(to.to_owned())),
                Word::Open { prefix, .. } => prefix.strip_prefix("of=").map(|to| Word::Open {
                    prefix: to.to_owned(),
                    option: false,
                    anywhere: to.is_empty(),
                }),
            });
            return of
                .collect::<Vec<Word>>()
                .iter()
                .for_each(|word| walk.writes(word, state, false));
        }
        "tar" if creates(args) => {
            return args.iter().skip(1).take(1).for_each(|word| walk.writes(word, state, false));
        }
        "patch" => (
            values(
                &["-d", "--directory"],
                Spec { valued: "dpioFYzBVDg", long_valued: &["--directory"], glued: "" },
            ),
            true,
        ),
        "tar" => (
            values(
                &["-C", "--directory"],
                Spec { valued: "fC", long_valued: &["--directory", "--file"], glued: "" },
            ),
            true,
        ),
        "unzip" => (values(&["-d"], Spec { valued: "dx", long_valued: &[], glued: "" }), true),
        "wget" => {
            (values(&["-O", "-P"], Spec { valued: "OPoa", long_valued: &[], glued: "" }), true)
        }
        "curl" => (
            values(
                &["-o", "--output"],
                Spec { valued: "oHAdXuFTmw", long_valued: &["--output"], glued: "" },
            ),
            false,
        ),
        "sed" => return sed(walk, args, state),
        _ => (Vec::new(), true),
    };
    if places.is_empty() {
        state.here().into_iter().for_each(|target| walk.out.writes(target));
    }
    places.iter().for_each(|word| walk.writes(word, state, tree));
    let runs = args.iter().any(|word| {
        let text = word.prefix();
        word.maybe_option()
            || text.starts_with("--to-command")
            || text.starts_with("--checkpoint-action")
            || text.starts_with("-K")
            || text.starts_with("--config")
            || text.starts_with("--use-")
    });
    hidden(walk, runs, state);
}

/// `tar czf FILE …`
fn creates(args: &[Word]) -> bool {
    args.first().and_then(Word::fixed).is_some_and(|first| {
        let letters = first.strip_prefix('-').unwrap_or(first);
        letters.starts_with('c')
            && letters.ends_with('f')
            && letters.chars().all(|c| "cvzjJf".contains(c))
    })
}

/// `sed -i`: the files; any other sed that comes here has a script that may do anything.
fn sed(walk: &mut Walk<'_, '_>, args: &[Word], state: &State) {
    let spec = Spec { valued: "ef", long_valued: &["--expression", "--file"], glued: "i" };
    let parsed = parse(args, spec);
    let given = parsed.values(&["-e", "--expression"]);
    let mut places = parsed.operands.iter();
    let scripts =
        if given.is_empty() { places.next().copied().into_iter().collect() } else { given };
    let scripts: Option<Vec<&str>> = scripts.into_iter().map(Word::fixed).collect();
    let prints = scripts.is_some_and(|parts| crate::sed::only_prints(&parts.join("\n")));
    if !parsed.has(&["-i", "--in-place"])
        || parsed.has(&["-f", "--file"])
        || !prints
        || parsed.hidden
    {
        walk.runs_opaque(state, Reason::Writes("sed".into()));
    }
    places.for_each(|word| walk.writes(word, state, false));
}

//! `git`: which subcommands read, with which options.

use crate::options::words;
use crate::state::State;
use crate::verdict::Reason;
use crate::walk::Walk;
use crate::word::Word;

/// Options that make any reading subcommand write or run something; with their abbreviations.
const NEVER: &[&str] = &[
    "--output",
    "--ext-diff",
    "--open-files-in-pager",
    "--exec",
    "--upload-pack",
    "--textconv",
    "--write",
];

/// Subcommands that read whatever else they are given.
const READERS: &[&str] = &[
    "log",
    "show",
    "diff",
    "status",
    "blame",
    "annotate",
    "shortlog",
    "describe",
    "rev-parse",
    "rev-list",
    "ls-files",
    "ls-tree",
    "cat-file",
    "grep",
    "merge-base",
    "name-rev",
    "for-each-ref",
    "show-ref",
    "diff-tree",
    "diff-index",
    "diff-files",
    "whatchanged",
    "count-objects",
    "var",
    "version",
    "help",
    "cherry",
    "range-diff",
    "check-ignore",
    "check-attr",
    "check-mailmap",
    "check-ref-format",
    "show-branch",
    "verify-commit",
    "verify-tag",
    "patch-id",
    "stripspace",
    "fmt-merge-msg",
    "ls-remote",
    "get-tar-commit-id",
];

/// Judges `git`; false when `program` is another.
pub(crate) fn git(walk: &mut Walk<'_, '_>, program: &str, args: &[Word], state: &State) -> bool {
    if program != "git" {
        return false;
    }
    let mut state = state.clone();
    let mut rest = args.iter();
    let mut elsewhere = Vec::new();
    while let Some(word) = rest.next() {
        match word.fixed() {
            Some("-C") => match rest.next() {
                Some(to) => state = state.moved(to.fixed()),
                None => break,
            },
            Some(
                "--no-pager"
                | "-P"
                | "--no-optional-locks"
                | "--literal-pathspecs"
                | "--no-replace-objects"
                | "--no-lazy-fetch",
            ) => {}
            // Paging goes nowhere without a terminal, but the pager is the user's own.
            Some("-p" | "--paginate") => {}
            Some(
                "--version" | "--help" | "-h" | "-v" | "--html-path" | "--man-path" | "--info-path"
                | "--exec-path",
            ) => {
                return true;
            }
            Some("-c") => {
                let value = rest.next().map_or("", |word| word.fixed().unwrap_or_default());
                if !harmless_setting(value) {
                    walk.option("git", "-c", &state);
                }
            }
            Some("--git-dir" | "--work-tree") => elsewhere.extend(rest.next()),
            Some(text) if text.starts_with("--git-dir=") || text.starts_with("--work-tree=") => {
                // Whose repo that is can't be said from the directory.
                walk.option("git", text, &state);
            }
            Some(text) if text.starts_with('-') => {
                walk.option("git", text, &state);
                return true;
            }
            Some(subcommand) => {
                if !elsewhere.is_empty() {
                    walk.option("git", "--git-dir", &state);
                }
                let args = rest.as_slice();
                if !reads(subcommand, args) {
                    writes(walk, subcommand, args, &state);
                }
                return true;
            }
            None => {
                walk.runs_opaque(&state, Reason::Dynamic("git".into()));
                return true;
            }
        }
    }
    true
}

/// `-c` settings that only change how output looks.
fn harmless_setting(setting: &str) -> bool {
    let name = setting.split_once('=').map_or(setting, |(name, _)| name).to_ascii_lowercase();
    matches!(
        setting,
        "core.pager=cat" | "core.pager=" | "core.quotepath=false" | "core.quotepath=off"
    ) || name.starts_with("color.")
        || matches!(
            name.as_str(),
            "core.abbrev" | "log.date" | "log.decorate" | "advice.detachedhead"
        )
}

fn reads(subcommand: &str, args: &[Word]) -> bool {
    let before_paths: Vec<&Word> =
        args.iter().take_while(|word| word.fixed() != Some("--")).collect();
    let never = before_paths.iter().any(|word| {
        let name = word.prefix().split_once('=').map_or(word.prefix(), |(name, _)| name);
        // Any unambiguous beginning of a long option stands for it. `-O<pager>` is `git grep`'s.
        let long = name.len() > 2 && NEVER.iter().any(|option| option.starts_with(name));
        long || word.maybe_option()
            || (subcommand == "grep" && short_o(name))
            || name.starts_with("--ope")
    });
    if never {
        return false;
    }
    let words = words(args);
    let dashed = |allowed: &[&str]| words.iter().all(|word| allowed.contains(word));
    match subcommand {
        name if READERS.contains(&name) => match name {
            "help" => !words.iter().any(|w| w.starts_with("-w") || w.starts_with("--web")),
            "cat-file" => {
                !words.iter().any(|w| w.starts_with("--filters") || w.starts_with("--textc"))
            }
            "show-ref" => !words.iter().any(|w| w.starts_with("--exclude-existing")),
            // A transport may run a program: `ext::…`.
            "ls-remote" => {
                !words.iter().any(|w| w.contains("::")) && !args.iter().any(|w| w.fixed().is_none())
            }
            _ => true,
        },
        "branch" => {
            words.is_empty()
                || only_lists(
                    &words,
                    &[
                        "-a",
                        "-r",
                        "-v",
                        "-vv",
                        "-l",
                        "--list",
                        "--all",
                        "--remotes",
                        "--show-current",
                        "--verbose",
                        "--no-color",
                        "--color",
                        "--column",
                        "-av",
                        "-avv",
                        "-rv",
                        "-ra",
                    ],
                    &[
                        "--contains",
                        "--no-contains",
                        "--merged",
                        "--no-merged",
                        "--points-at",
                        "--sort",
                        "--format",
                    ],
                )
        }
        "tag" => {
            words.is_empty()
                || only_lists(
                    &words,
                    &["-l", "--list", "-n", "--no-color", "--color", "--column"],
                    &[
                        "--contains",
                        "--no-contains",
                        "--merged",
                        "--no-merged",
                        "--points-at",
                        "--sort",
                        "--format",
                    ],
                )
        }
        "remote" => {
            matches!(words.as_slice(), [] | ["-v" | "--verbose"] | ["get-url", ..] | ["-v", "show"])
                || matches!(words.as_slice(), ["show", "-n", _] | ["show"])
        }
        "stash" => matches!(words.first(), Some(&"list" | &"show")),
        "worktree" => words.first() == Some(&"list"),
        "reflog" => {
            words.is_empty()
                || words.first() == Some(&"show")
                || words.first().is_some_and(|w| w.starts_with('-') || w.starts_with("HEAD"))
        }
        "config" => config(&words),
        "submodule" => matches!(words.as_slice(), [] | ["status" | "summary", ..]),
        "bisect" => matches!(words.as_slice(), ["log" | "view" | "visualize"]),
        "notes" => matches!(words.first(), None | Some(&"list" | &"show")),
        "symbolic-ref" => {
            words.iter().filter(|w| !w.starts_with('-')).count() == 1
                && words
                    .iter()
                    .all(|w| matches!(*w, "-q" | "--quiet" | "--short") || !w.starts_with('-'))
        }
        "sparse-checkout" | "bundle" => {
            words.first() == Some(&"list") || words.first() == Some(&"verify")
        }
        "lfs" => dashed(&["ls-files", "status", "env"]) && words.len() == 1,
        "apply" => {
            words.iter().any(|w| matches!(*w, "--stat" | "--numstat" | "--summary" | "--check"))
                && !words.iter().any(|w| w.starts_with("--ap") || w.starts_with("--build"))
        }
        _ => false,
    }
}

/// `-O` alone or in a cluster.
fn short_o(name: &str) -> bool {
    name.starts_with('-') && !name.starts_with("--") && name.contains('O')
}

/// Options that list, or such with a value, and patterns only where an explicit `--list` says so.
fn only_lists(words: &[&str], flags: &[&str], valued: &[&str]) -> bool {
    let listed = words.iter().any(|word| matches!(*word, "-l" | "--list"));
    let mut wants = false;
    words.iter().all(|word| {
        let name = word.split_once('=').map_or(*word, |(name, _)| name);
        if valued.contains(&name) {
            wants = !word.contains('=');
            return true;
        }
        let value = std::mem::take(&mut wants) && !word.starts_with('-');
        value || flags.contains(&name) || (listed && !word.starts_with('-'))
    })
}

fn config(words: &[&str]) -> bool {
    const READ: &[&str] = &["--get", "--get-all", "--get-regexp", "--get-urlmatch", "--list", "-l"];
    const PLAIN: &[&str] = &[
        "--local",
        "--global",
        "--system",
        "--worktree",
        "--show-origin",
        "--show-scope",
        "--name-only",
        "-z",
        "--null",
        "--bool",
        "--int",
        "--path",
        "--includes",
        "--no-includes",
        "--all",
    ];
    let mut rest = words.iter().filter(|word| !PLAIN.contains(*word));
    match rest.next() {
        Some(&"get" | &"list") => {
            rest.all(|word| !word.starts_with("--file") && !word.starts_with('-'))
        }
        Some(word) if READ.contains(word) => rest.all(|word| !word.starts_with('-')),
        // `git config user.name` reads; a second word would set it.
        Some(word) => !word.starts_with('-') && word.contains('.') && rest.next().is_none(),
        None => false,
    }
}

fn writes(walk: &mut Walk<'_, '_>, subcommand: &str, args: &[Word], state: &State) {
    let known = [
        "add",
        "am",
        "apply",
        "bisect",
        "branch",
        "checkout",
        "cherry-pick",
        "clean",
        "commit",
        "config",
        "fetch",
        "gc",
        "init",
        "merge",
        "mv",
        "notes",
        "pull",
        "push",
        "rebase",
        "reflog",
        "remote",
        "repack",
        "reset",
        "restore",
        "revert",
        "rm",
        "sparse-checkout",
        "stash",
        "submodule",
        "switch",
        "symbolic-ref",
        "tag",
        "update-index",
        "update-ref",
        "worktree",
        "clone",
        "read-tree",
        "write-tree",
        "hash-object",
        "prune",
        "format-patch",
    ];
    let reason = Reason::Writes(format!("git {subcommand}"));
    if !known.contains(&subcommand) {
        // An alias or a program of its own.
        return walk.runs_opaque(state, Reason::Unknown(format!("git {subcommand}")));
    }
    let places: Vec<&Word> = args.iter().filter(|word| !word.prefix().starts_with('-')).collect();
    match (subcommand, places.as_slice()) {
        ("clone", [_, to, ..]) | ("init", [to, ..]) => walk.writes(to, state, true),
        ("worktree", [verb, rest @ ..]) if verb.fixed() != Some("prune") => {
            rest.iter().for_each(|place| walk.writes(place, state, true));
            state.here().into_iter().for_each(|target| walk.out.writes(target));
        }
        _ => state.here().into_iter().for_each(|target| walk.out.writes(target)),
    }
    let global =
        args.iter().any(|w| matches!(w.fixed(), Some("--global" | "--system" | "--file" | "-f")));
    if subcommand == "config" && global {
        walk.out.opaque(reason.clone());
    }
    // `-m "$(cat …)"` is a message, whatever it begins with.
    let told = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| args.get(at)).and_then(Word::fixed);
        matches!(before, Some("-m" | "-am" | "-F" | "--message" | "--file"))
    };
    let runs = args.iter().enumerate().any(|(at, word)| {
        (word.maybe_option() && !told(at)) || word.prefix().starts_with("--exec")
    });
    if runs
        || matches!(
            (subcommand, args.first().and_then(Word::fixed)),
            ("submodule", Some("foreach")) | ("bisect", Some("run"))
        )
    {
        walk.out.opaque(reason.clone());
    }
    // Where it runs matters less than where its repo is; both are `state`.
    walk.runs(state, reason);
}

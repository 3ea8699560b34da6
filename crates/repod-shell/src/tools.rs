//! Programs with a language of their own: `find`, `sed`, `awk`, `tar`, `curl`, package managers.

use crate::options::{Spec, parse, words};
use crate::state::State;
use crate::walk::Walk;
use crate::word::Word;
use crate::{awk, sed};

/// Judges one of these where it only reads; false leaves it to the list of writers.
pub(crate) fn tool(walk: &mut Walk<'_, '_>, program: &str, args: &[Word], state: &State) -> bool {
    match program {
        "find" | "gfind" => {
            find(walk, args, state);
            true
        }
        "sed" | "gsed" => sed_reads(args),
        "awk" | "gawk" | "mawk" | "nawk" => awk_reads(args),
        "tar" => tar_lists(&words(args)),
        "unzip" => matches!(words(args).first(), Some(&"-l" | &"-Z" | &"-lv" | &"-t")),
        "curl" => curl_reads(args),
        "cargo" => cargo_reads(&words(args)),
        "npm" | "pnpm" | "yarn" => {
            matches!(
                words(args).first(),
                Some(
                    &"ls"
                        | &"list"
                        | &"why"
                        | &"explain"
                        | &"outdated"
                        | &"root"
                        | &"prefix"
                        | &"view"
                )
            ) && !args.iter().any(Word::maybe_option)
        }
        "go" => {
            matches!(words(args).as_slice(), ["doc", ..] | ["version"] | ["env"])
                || matches!(words(args).as_slice(), ["env", rest @ ..] if rest.iter().all(|w| !w.starts_with('-')))
        }
        "gh" => gh_reads(&words(args)),
        _ => false,
    }
}

/// `find`: predicates that delete, write or run.
fn find(walk: &mut Walk<'_, '_>, args: &[Word], state: &State) {
    let valued = [
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-wholename",
        "-regex",
        "-iregex",
        "-type",
        "-maxdepth",
        "-mindepth",
        "-newer",
        "-mtime",
        "-mmin",
        "-atime",
        "-ctime",
        "-cmin",
        "-amin",
        "-size",
        "-perm",
        "-user",
        "-group",
        "-printf",
        "-regextype",
        "-lname",
        "-inum",
        "-links",
        "-samefile",
        "-xtype",
        "-uid",
        "-gid",
    ];
    let start = found_in(args);
    let mut at = 0;
    while let Some(word) = args.get(at) {
        at += 1;
        let Some(text) = word.fixed() else {
            if word.maybe_option() {
                walk.option("find", word.prefix(), state);
            }
            continue;
        };
        match text {
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let rest = args.get(at..).unwrap_or_default();
                let end = rest.iter().enumerate().position(|(i, word)| match word.fixed() {
                    Some(";") => true,
                    Some("+") => i > 0 && rest.get(i - 1).and_then(Word::fixed) == Some("{}"),
                    _ => false,
                });
                let command = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                let found = |word: &Word| match word.fixed().and_then(|text| text.find("{}")) {
                    Some(0) => start.clone(),
                    Some(from) => {
                        let prefix = word.prefix().get(..from).unwrap_or_default().to_owned();
                        Word::Open { prefix, option: false, anywhere: false }
                    }
                    None => word.clone(),
                };
                let command: Vec<Word> = command.iter().map(found).collect();
                let place = if text.ends_with("dir") { state.moved(None) } else { state.clone() };
                if command.is_empty() {
                    walk.option("find", text, state);
                }
                drop(walk.simple(&command, place));
                at += end.map_or(rest.len(), |end| end + 1);
            }
            "-delete" | "-fls" | "-fprint" | "-fprint0" | "-fprintf" => {
                walk.option("find", text, state);
            }
            "-files0-from" => at += 1,
            text if valued.contains(&text) => at += 1,
            _ => {}
        }
    }
}

/// What `find` finds begins as the place it looks in does; never with a dash.
fn found_in(args: &[Word]) -> Word {
    let places: Vec<&Word> =
        args.iter().take_while(|word| !word.prefix().starts_with(['-', '(', '!'])).collect();
    let prefix = match places.as_slice() {
        [] => Some("./".to_owned()),
        [Word::Fixed(one)] => Some(format!("{one}/")),
        _ => None,
    };
    let anywhere = prefix.is_none();
    Word::Open { prefix: prefix.unwrap_or_default(), option: false, anywhere }
}

const SED: Spec = Spec { valued: "ef", long_valued: &["--expression", "--file"], glued: "i" };

fn sed_reads(args: &[Word]) -> bool {
    let parsed = parse(args, SED);
    let known = [
        "-n",
        "-E",
        "-r",
        "-e",
        "-s",
        "-u",
        "-z",
        "--quiet",
        "--silent",
        "--regexp-extended",
        "--expression",
        "--separate",
        "--unbuffered",
        "--null-data",
        "--posix",
        "--debug",
        "--sandbox",
    ];
    if parsed.hidden || parsed.options.iter().any(|(name, _)| !known.contains(&name.as_str())) {
        return false;
    }
    let given = parsed.values(&["-e", "--expression"]);
    let missing = parsed
        .options
        .iter()
        .any(|(name, value)| (name == "-e" || name == "--expression") && value.is_none());
    let scripts: Vec<Option<&str>> = if given.is_empty() {
        parsed.operands.first().map(|word| word.fixed()).into_iter().collect()
    } else {
        given.into_iter().map(Word::fixed).collect()
    };
    // Several pieces are one script, joined by line ends.
    let whole: Option<Vec<&str>> = scripts.into_iter().collect();
    !missing && whole.is_some_and(|parts| sed::only_prints(&parts.join("\n")))
}

fn awk_reads(args: &[Word]) -> bool {
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        match word.fixed() {
            Some("-F" | "-v") => drop(rest.next()),
            Some(text) if text.len() > 2 && (text.starts_with("-F") || text.starts_with("-v")) => {}
            Some("--") => return rest.next().and_then(Word::fixed).is_some_and(awk::only_prints),
            Some(text) if text.starts_with('-') => return false,
            Some(program) => return awk::only_prints(program),
            // `-F"$sep"`, `-v x="$y"`: the value of an option that is known.
            None if word.prefix().starts_with("-F") || word.prefix().starts_with("-v") => {}
            None => return false,
        }
    }
    false
}

/// `tar t…`: the letters of the first word, and no option behind that could run something.
fn tar_lists(words: &[&str]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    let letters = first.strip_prefix('-').unwrap_or(first);
    letters.contains('t')
        && letters.chars().all(|c| "tvzjJaf".contains(c))
        && rest.iter().all(|word| !word.starts_with(['-', '\u{fffd}']))
}

/// Fetching to the terminal with nothing but the usual options.
fn curl_reads(args: &[Word]) -> bool {
    let spec = Spec {
        valued: "HAmw",
        long_valued: &[
            "--header",
            "--max-time",
            "--user-agent",
            "--connect-timeout",
            "--write-out",
        ],
        glued: "",
    };
    let parsed = parse(args, spec);
    let known = [
        "-s",
        "-S",
        "-f",
        "-L",
        "-i",
        "-I",
        "-k",
        "-v",
        "-g",
        "-H",
        "-A",
        "-m",
        "-w",
        "-4",
        "-6",
        "--silent",
        "--show-error",
        "--fail",
        "--location",
        "--include",
        "--head",
        "--insecure",
        "--verbose",
        "--header",
        "--max-time",
        "--user-agent",
        "--connect-timeout",
        "--write-out",
        "--compressed",
        "--globoff",
    ];
    let writes_out = parsed.values(&["-w", "--write-out"]);
    !parsed.hidden
        && parsed.options.iter().all(|(name, _)| known.contains(&name.as_str()))
        // `%output{file}`, `@file`
        && writes_out.iter().all(|word| word.fixed().is_some_and(|text| !text.contains("output")))
        && !parsed.operands.is_empty()
        && !parsed.operands.iter().any(|word| word.prefix().contains("/vcs/"))
}

fn cargo_reads(words: &[&str]) -> bool {
    let locked = words.iter().any(|word| matches!(*word, "--locked" | "--frozen" | "--no-deps"));
    let odd = words.iter().any(|word| {
        word.starts_with(['\u{fffd}', '+'])
            || word.starts_with("--config")
            || word.starts_with("-Z")
            || word.starts_with("-C")
    });
    !odd && match words.first() {
        Some(&"metadata" | &"tree" | &"pkgid") => locked,
        Some(&"help" | &"locate-project" | &"--list" | &"search" | &"info" | &"read-manifest") => {
            true
        }
        _ => false,
    }
}

fn gh_reads(words: &[&str]) -> bool {
    let reads = matches!(
        words,
        ["pr" | "issue", "view" | "list" | "status" | "diff" | "checks", ..]
            | ["run" | "release" | "repo" | "workflow", "view" | "list", ..]
    );
    // `--web` starts a browser.
    reads
        && !words
            .iter()
            .any(|word| word.starts_with("--w") || *word == "-w" || word.starts_with('\u{fffd}'))
}

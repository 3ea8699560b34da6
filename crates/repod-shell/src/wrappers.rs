//! Programs that run another one: judged by what they run.

use crate::assign::may_export;
use crate::options::words;
use crate::state::State;
use crate::verdict::Reason;
use crate::walk::Walk;
use crate::word::Word;

/// A wrapper's options: those without a value, and those with one.
struct Wrapper {
    names: &'static [&'static str],
    flags: &'static [&'static str],
    valued: &'static [&'static str],
    /// Operands before the command.
    operands: usize,
}

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["nohup", "setsid", "builtin", "noglob", "nocorrect"],
        flags: &["-w", "-f"],
        valued: &[],
        operands: 0,
    },
    Wrapper { names: &["time"], flags: &["-p", "-v"], valued: &["-f"], operands: 0 },
    Wrapper { names: &["nice"], flags: &[], valued: &["-n", "--adjustment"], operands: 0 },
    Wrapper { names: &["ionice"], flags: &["-t"], valued: &["-c", "-n"], operands: 0 },
    Wrapper { names: &["stdbuf"], flags: &[], valued: &["-i", "-o", "-e"], operands: 0 },
    Wrapper {
        names: &["timeout", "gtimeout"],
        flags: &["--preserve-status", "--foreground", "-v", "--verbose"],
        valued: &["-s", "--signal", "-k", "--kill-after"],
        operands: 1,
    },
    Wrapper {
        names: &["sudo", "doas"],
        flags: &["-n", "-E", "-H", "-S", "-k"],
        valued: &["-u", "-g", "--user"],
        operands: 0,
    },
];

/// Judges a wrapper; false when `program` is none.
pub(crate) fn wrapper(
    walk: &mut Walk<'_, '_>,
    program: &str,
    args: &[Word],
    state: &State,
) -> bool {
    if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&program)) {
        match after_options(args, wrapper) {
            Some([]) | None => walk.runs_opaque(state, Reason::Unknown(program.to_owned())),
            Some(command) => drop(walk.simple(command, state.clone())),
        }
        return true;
    }
    match program {
        "command" => command(walk, args, state),
        "exec" => match args.first().map(Word::prefix) {
            Some(first) if !first.starts_with('-') => drop(walk.simple(args, state.clone())),
            _ => walk.runs_opaque(state, Reason::Unknown("exec".into())),
        },
        "env" => env(walk, args, state),
        "xargs" => xargs(walk, args, state),
        "bash" | "sh" | "zsh" | "dash" | "ksh" => shell(walk, program, args, state),
        _ => return false,
    }
    true
}

/// What follows the wrapper's own options and operands; `None` for an option it isn't known by.
fn after_options<'w>(args: &'w [Word], wrapper: &Wrapper) -> Option<&'w [Word]> {
    let mut at = 0;
    while let Some(word) = args.get(at) {
        let text = word.prefix();
        if !text.starts_with('-') {
            break;
        }
        let text = word.fixed()?;
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let short = text.get(..2).unwrap_or(text);
        at += 1;
        match () {
            () if text == "--" => break,
            () if wrapper.flags.contains(&text) => {}
            () if wrapper.valued.contains(&text) => at += 1,
            () if wrapper.valued.contains(&name) => {}
            () if !text.starts_with("--") && wrapper.valued.contains(&short) => {}
            // `nice -10`
            () if wrapper.names.contains(&"nice")
                && text[1..].bytes().all(|b| b.is_ascii_digit()) => {}
            () => return None,
        }
    }
    args.get(at + wrapper.operands..)
}

fn command(walk: &mut Walk<'_, '_>, args: &[Word], state: &State) {
    match args.first().and_then(Word::fixed) {
        Some("-v" | "-V") => {}
        Some("-p" | "--") => drop(walk.simple(args.get(1..).unwrap_or_default(), state.clone())),
        Some(name) if !name.starts_with('-') => drop(walk.simple(args, state.clone())),
        _ => walk.runs_opaque(state, Reason::Unknown("command".into())),
    }
}

fn env(walk: &mut Walk<'_, '_>, args: &[Word], state: &State) {
    let mut state = state.clone();
    let mut rest = args.iter().enumerate();
    while let Some((at, word)) = rest.next() {
        match word.fixed() {
            Some("-" | "-i" | "--ignore-environment" | "-0" | "--null" | "--") => {}
            Some("-u" | "--unset") => {
                // Without `HOME` or `PATH` programs read other configuration, but none writes for it.
                rest.next();
            }
            Some("-C" | "--chdir") => {
                let to = rest.next().and_then(|(_, word)| word.fixed());
                state = state.moved(to);
            }
            Some(text) if text.starts_with('-') => {
                return walk.runs_opaque(&state, Reason::Unknown(format!("env {text}")));
            }
            _ if word.prefix().contains('=') => {
                let (name, value) = word.prefix().split_once('=').unwrap_or_default();
                if !may_export(name, word.fixed().map(|_| value)) {
                    walk.out.opaque(Reason::Variable(name.to_owned()));
                }
            }
            _ => return drop(walk.simple(args.get(at..).unwrap_or_default(), state)),
        }
    }
}

/// `xargs [options] command`: the command with arguments nobody knows.
fn xargs(walk: &mut Walk<'_, '_>, args: &[Word], state: &State) {
    let mut at = 0;
    let mut replaced: Option<String> = None;
    while let Some(text) = args.get(at).map(Word::prefix).filter(|text| text.starts_with('-')) {
        let valued = [
            "-n",
            "-P",
            "-L",
            "-d",
            "-s",
            "-E",
            "-a",
            "-I",
            "--max-args",
            "--max-procs",
            "--delimiter",
        ];
        let flags =
            ["-0", "-r", "-t", "-x", "-0r", "-r0", "--null", "--no-run-if-empty", "--verbose"];
        at += 1;
        let short = text.get(..2).unwrap_or(text);
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let value = match () {
            () if flags.contains(&text) => continue,
            () if text == "--" => break,
            () if valued.contains(&text) => {
                at += 1;
                args.get(at - 1).map(|word| word.prefix().to_owned())
            }
            () if text.starts_with("--") && valued.contains(&name) => None,
            () if !text.starts_with("--") && valued.contains(&short) => {
                text.get(2..).map(str::to_owned)
            }
            () => return walk.runs_opaque(state, Reason::Unknown(format!("xargs {text}"))),
        };
        if short == "-I" {
            replaced = value;
        }
    }
    let command = args.get(at..).unwrap_or_default();
    if command.is_empty() {
        return;
    }
    let mut all: Vec<Word> = command.to_vec();
    match replaced.filter(|mark| !mark.is_empty()) {
        Some(mark) => {
            for word in &mut all {
                if let Some(at) = word.prefix().find(&mark) {
                    let prefix = word.prefix().get(..at).unwrap_or_default().to_owned();
                    let anywhere = prefix.is_empty();
                    *word = Word::Open { option: anywhere, anywhere, prefix };
                }
            }
        }
        None => all.push(Word::ANY),
    }
    drop(walk.simple(&all, state.clone()));
}

/// `bash -c '…'`; with a script file or standard input nobody knows what runs.
fn shell(walk: &mut Walk<'_, '_>, program: &str, args: &[Word], state: &State) {
    let all = words(args);
    if let ["--version" | "--help"] = all.as_slice() {
        return;
    }
    let mut rest = args.iter().peekable();
    while let Some(text) = rest.next().and_then(Word::fixed) {
        let letters = text.strip_prefix('-').unwrap_or_default();
        let plain = !letters.is_empty() && letters.chars().all(|c| "celux".contains(c));
        if !plain && text != "-o" && text != "pipefail" {
            break;
        }
        if letters.contains('c') {
            // Options may still stand between `-c` and the script.
            return match rest.peek().and_then(|word| word.fixed()) {
                Some(script) if !script.starts_with(['-', '+']) => walk.nested(script, state),
                _ => walk.runs_opaque(state, Reason::Dynamic(program.to_owned())),
            };
        }
    }
    walk.runs_opaque(state, Reason::Unknown(program.to_owned()));
}

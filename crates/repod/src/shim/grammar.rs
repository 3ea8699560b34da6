//! From the arguments of `opencode` to what the shim does with them. No I/O.
//!
//! Only what is known for certain is led to a backend: an option or a command this page doesn't
//! know belongs to the real OpenCode.

use std::ffi::{OsStr, OsString};

/// What `opencode ARGS` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The real binary, untouched.
    PassThrough,
    /// `opencode serve`; the options that can't be honoured.
    Serve { ignored: Vec<String> },
    /// `opencode [dir]`: arguments of `opencode attach`, and options that it doesn't have.
    Attach { dir: Option<OsString>, args: Vec<OsString>, dropped: Vec<String> },
    /// `opencode run`: what stood before and after the command, without `--dir`.
    Run { before: Vec<OsString>, dir: Option<OsString>, args: Vec<OsString> },
    /// `opencode acp`: its directory, and options that can't be honoured.
    Acp { dir: Option<OsString>, dropped: Vec<String> },
    /// A command on the data of the repo.
    Data,
}

/// Commands that read or write what a backend keeps.
const DATA: [&str; 8] = ["session", "export", "import", "stats", "db", "agent", "mcp", "models"];
/// Commands that are the user's own, not a directory's name (1.18.33: `opencode --help`).
const OWN: [&str; 12] = [
    "attach",
    "auth",
    "providers",
    "upgrade",
    "uninstall",
    "completion",
    "web",
    "debug",
    "github",
    "pr",
    "plugin",
    "plug",
];
/// Options of every command and of the bare one that `attach` has too; whether they take a value.
const ATTACH: [(&str, bool); 11] = [
    ("--print-logs", false),
    ("--log-level", true),
    ("--pure", false),
    ("-c", false),
    ("--continue", false),
    ("-s", true),
    ("--session", true),
    ("--fork", false),
    ("--mini", false),
    ("--no-replay", false),
    ("--replay-limit", true),
];
/// Options of the bare command that `attach` doesn't have.
const BARE: [(&str, bool); 10] = [
    ("--port", true),
    ("--hostname", true),
    ("--mdns", false),
    ("--mdns-domain", true),
    ("--cors", true),
    ("-m", true),
    ("--model", true),
    ("--prompt", true),
    ("--agent", true),
    ("--auto", false),
];

/// `is_dir` tells a project directory from a word this page doesn't know.
pub(super) fn plan(args: &[OsString], is_dir: impl Fn(&OsStr) -> bool) -> Plan {
    let own = args.split(|arg| arg == "--").next().unwrap_or_default();
    if own.iter().any(|arg| ["-h", "--help", "-v", "--version"].iter().any(|help| arg == help)) {
        return Plan::PassThrough;
    }
    let mut attach = Plan::Attach { dir: None, args: Vec::new(), dropped: Vec::new() };
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let text = arg.to_string_lossy();
        let Plan::Attach { dir, args: kept, dropped } = &mut attach else { break };
        // 1.18.33 takes its one positional by name, too, and an SDK names it like this.
        if let Some((taken, project)) = project(args, at) {
            *dir = Some(project);
            at += taken;
            continue;
        }
        if text.starts_with('-') {
            let Some((taken, known)) = option(&text) else { return Plan::PassThrough };
            let words = args.get(at..at + taken).unwrap_or(&args[at..]);
            match known {
                Known::Attach => kept.extend_from_slice(words),
                Known::Bare => dropped.push(words.join(OsStr::new(" ")).to_string_lossy().into()),
            }
            at += taken;
            continue;
        }
        if dir.is_none() {
            let (before, rest) = (&args[..at], &args[at + 1..]);
            match text.as_ref() {
                "serve" => return serve(before, rest),
                "run" => return run(before, rest),
                "acp" => return acp(before, rest),
                command if DATA.contains(&command) => return Plan::Data,
                command if OWN.contains(&command) || !is_dir(arg) => return Plan::PassThrough,
                _ => *dir = Some(arg.clone()),
            }
        } else {
            return Plan::PassThrough;
        }
        at += 1;
    }
    attach
}

/// `--project DIR` here: how many words that is, and the directory.
fn project(args: &[OsString], at: usize) -> Option<(usize, OsString)> {
    let text = args.get(at)?.to_str()?;
    match text.strip_prefix("--project") {
        Some("") => Some((2, args.get(at + 1)?.clone())),
        Some(rest) => Some((1, rest.strip_prefix('=')?.into())),
        None => None,
    }
}

enum Known {
    Attach,
    Bare,
}

/// How many words an option is, its value included, and whose it is.
fn option(text: &str) -> Option<(usize, Known)> {
    let (name, has_value) = match text.split_once('=') {
        Some((name, _)) => (name, true),
        None => (text, false),
    };
    let words = |takes: bool| if takes && !has_value { 2 } else { 1 };
    let find = |list: &[(&'static str, bool)]| {
        list.iter().find(|(known, _)| *known == name).map(|(_, takes)| *takes)
    };
    if let Some(takes) = find(&ATTACH) {
        return Some((words(takes), Known::Attach));
    }
    find(&BARE).map(|takes| (words(takes), Known::Bare))
}

fn serve(before: &[OsString], rest: &[OsString]) -> Plan {
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let mut ignored: Vec<String> = before.iter().map(text).collect();
    let mut rest = rest.iter().map(text).peekable();
    while let Some(arg) = rest.next() {
        // The endpoint is on this very address.
        if ["--hostname=127.0.0.1", "--hostname=localhost"].contains(&arg.as_str()) {
            continue;
        }
        let local = rest.peek().is_some_and(|host| host == "127.0.0.1" || host == "localhost");
        if arg == "--hostname" && local {
            rest.next();
            continue;
        }
        ignored.push(arg);
    }
    Plan::Serve { ignored }
}

fn acp(before: &[OsString], rest: &[OsString]) -> Plan {
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let (mut dir, mut dropped) = (None, before.iter().map(text).collect::<Vec<_>>());
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let option = text(word);
        if option == "--cwd" {
            dir = words.next().cloned();
        } else if let Some(named) = option.strip_prefix("--cwd=") {
            dir = Some(named.into());
        } else {
            dropped.push(option);
        }
    }
    Plan::Acp { dir, dropped }
}

fn run(before: &[OsString], rest: &[OsString]) -> Plan {
    let mut plan_dir = None;
    let mut kept: Vec<OsString> = Vec::new();
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            kept.push(word.clone());
            kept.extend(words.cloned());
            break;
        }
        if text == "--attach" || text.starts_with("--attach=") {
            return Plan::PassThrough;
        }
        if text == "--dir" {
            plan_dir = words.next().cloned();
        } else if let Some(dir) = text.strip_prefix("--dir=") {
            plan_dir = Some(dir.into());
        } else {
            kept.push(word.clone());
        }
    }
    Plan::Run { before: before.to_vec(), dir: plan_dir, args: kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Plan {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        plan(&args, |dir| dir == "web" || dir == "run")
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_user_s_own_commands_and_all_that_is_unknown_pass_through() {
        for line in [
            "--version",
            "-v",
            "--help",
            "serve --help",
            "run -h",
            "session --help",
            "attach http://x",
            "auth login",
            "providers list",
            "upgrade",
            "uninstall",
            "completion",
            "web",
            "debug config",
            "github install",
            "pr 7",
            "plugin x",
            "plug x",
            "nonsense",
            "--nonsense",
            "web nonsense",
            "--get-yargs-completions opencode se",
            "nonsense serve",
            "run --attach http://x hi",
            "run --attach=http://x hi",
            "web web",
        ] {
            assert_eq!(of(line), Plan::PassThrough, "{line}");
        }
    }

    #[test]
    fn data_commands_are_found_behind_global_options() {
        for name in DATA {
            assert_eq!(of(name), Plan::Data);
            assert_eq!(of(&format!("--log-level DEBUG --print-logs {name} list")), Plan::Data);
        }
    }

    #[test]
    fn acp_names_its_directory_and_says_what_it_can_t_do() {
        let expected = |dir: Option<&str>, dropped: &[&str]| Plan::Acp {
            dir: dir.map(Into::into),
            dropped: dropped.iter().map(|&word| word.to_owned()).collect(),
        };
        assert_eq!(of("acp"), expected(None, &[]));
        assert_eq!(of("acp --cwd web"), expected(Some("web"), &[]));
        assert_eq!(
            of("--pure acp --cwd=web --port 1"),
            expected(Some("web"), &["--pure", "--port", "1"])
        );
    }

    #[test]
    fn serve_says_what_it_can_t_do() {
        let ignored = |line: &str| match of(line) {
            Plan::Serve { ignored } => ignored.join(" "),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(ignored("serve"), "");
        assert_eq!(ignored("serve --hostname=127.0.0.1 --port=4096"), "--port=4096");
        assert_eq!(ignored("serve --hostname localhost --port 1"), "--port 1");
        assert_eq!(ignored("--pure serve --hostname 0.0.0.0"), "--pure --hostname 0.0.0.0");
    }

    #[test]
    fn run_keeps_its_words_and_names_its_directory() {
        let expected = |before: &str, dir: Option<&str>, args: &str| Plan::Run {
            before: words(before),
            dir: dir.map(Into::into),
            args: words(args),
        };
        assert_eq!(of("run say hi"), expected("", None, "say hi"));
        assert_eq!(of("run --dir web -m a/b hi"), expected("", Some("web"), "-m a/b hi"));
        assert_eq!(of("--pure run --dir=web hi"), expected("--pure", Some("web"), "hi"));
        assert_eq!(of("run hi -- --dir x --attach"), expected("", None, "hi -- --dir x --attach"));
        assert_eq!(of("run -- --help"), expected("", None, "-- --help"));
    }

    #[test]
    fn the_bare_command_attaches() {
        let expected = |dir: Option<&str>, args: &str, dropped: &[&str]| Plan::Attach {
            dir: dir.map(Into::into),
            args: words(args),
            dropped: dropped.iter().map(|&word| word.to_owned()).collect(),
        };
        assert_eq!(of(""), expected(None, "", &[]));
        assert_eq!(of("-c"), expected(None, "-c", &[]));
        assert_eq!(of("--session ses_1 --fork"), expected(None, "--session ses_1 --fork", &[]));
        assert_eq!(of("-m a/b --port=1 -c"), expected(None, "-c", &["-m a/b", "--port=1"]));
        let plan = plan(&words("-s ses_1 src"), |dir| dir == "src");
        assert_eq!(plan, expected(Some("src"), "-s ses_1", &[]));
        for line in ["--project=web -s ses_1", "--project web -s ses_1", "-s ses_1 --project=web"] {
            assert_eq!(of(line), expected(Some("web"), "-s ses_1", &[]), "{line}");
        }
        // A value that is missing is OpenCode's to complain about.
        assert_eq!(of("--project"), Plan::PassThrough);
        assert_eq!(of("--projects=x"), Plan::PassThrough);
        assert_eq!(of("--session"), expected(None, "--session", &[]));
    }
}

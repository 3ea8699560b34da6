//! The rules by name. An id is never given to another rule, and `docs/audit.md` has every one of them.

use crate::finding::Severity::{self, Error, Note, Warning};

/// What stays the same in all findings of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// `RP` and three digits; the first is the group's.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub title: &'static str,
    /// What to do.
    pub fix: &'static str,
}

impl Rule {
    /// The rule of this id.
    pub(crate) fn of(id: &str) -> &'static Self {
        RULES.iter().find(|rule| rule.id == id).expect("a finding names a rule of the catalogue")
    }
}

const UP: &str = "end these processes and start the repositories under repod: `repod up PATH…`";
const HARDEN: &str = "`repod harden` shows how to raise it";
const SHIM: &str = "put the shim first on the PATH of the agents: `repod shim install`";

const fn rule(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    fix: &'static str,
) -> Rule {
    Rule { id, severity, title, fix }
}

/// All of them.
pub const RULES: &[Rule] = &[
    rule("RP101", Error, "OpenCode processes share a data directory", UP),
    rule("RP102", Error, "OpenCode processes have one database open", UP),
    rule("RP103", Warning, "OpenCode processes share a state directory", UP),
    rule("RP104", Note, "OpenCode processes share a configuration directory they write to", UP),
    rule("RP105", Note, "OpenCode processes share a cache directory", UP),
    rule("RP106", Error, "OpenCode ran into a locked database", UP),
    rule("RP201", Warning, "a server has a fixed port, where no second one can start", UP),
    rule(
        "RP202",
        Error,
        "a server listens for other machines",
        "start it with `--hostname 127.0.0.1`, or let repod run it, and forward its port by ssh",
    ),
    rule(
        "RP203",
        Error,
        "a server asks for no password: everybody on this machine can have it run commands",
        "set OPENCODE_SERVER_PASSWORD, or let repod run it: `repod up PATH…`",
    ),
    rule("RP204", Warning, "two OpenCode commands ask for the same port", UP),
    rule("RP205", Warning, "a server found its port taken", UP),
    rule(
        "RP206",
        Warning,
        "the configuration gives every server the same port",
        "take `server.port` out of it; `--port 0` finds a free one, and repod gives each backend its own",
    ),
    rule("RP301", Warning, "an SDK program started a runtime of its own", SHIM),
    rule(
        "RP302",
        Error,
        "an OpenCode that isn't repod's works in a repository that repod manages",
        "end it and use the repository's endpoint: `repod attach PATH`, `repod run PATH -- CMD`",
    ),
    rule(
        "RP401",
        Error,
        "two sessions wrote in one checkout at the same time",
        "let repod run it, where a branch has one writer, or give each session a worktree of its own",
    ),
    rule(
        "RP402",
        Warning,
        "sessions are filed under another clone's project",
        "clones share a project in one database: give each its own backend, `repod up PATH…`",
    ),
    rule(
        "RP403",
        Note,
        "worktrees of one repository are one project",
        "let repod run it, where each branch has one writer: `repod up PATH…`",
    ),
    rule("RP501", Warning, "few open files are allowed", HARDEN),
    rule("RP502", Warning, "few inotify watches are allowed", HARDEN),
    rule("RP503", Warning, "few inotify instances are allowed", HARDEN),
    rule("RP504", Error, "open files are nearly used up", HARDEN),
    rule("RP505", Error, "inotify watches or instances are nearly used up", HARDEN),
    rule("RP506", Error, "the disk of a state directory is nearly full", "make room there"),
    rule(
        "RP507",
        Note,
        "libraries that OpenCode unpacked were left in the temporary directory",
        "`repod audit --fix` removes those that nobody has open",
    ),
    rule(
        "RP508",
        Error,
        "a control group is nearly out of processes",
        "raise `TasksMax=` of that unit, or the container's limit",
    ),
    rule(
        "RP509",
        Error,
        "the machine has too little memory left for another OpenCode",
        "`repod ps` shows what each uses; `limits.memory_budget` in repod.toml puts idle ones to sleep",
    ),
    rule(
        "RP510",
        Warning,
        "the machine's swap is nearly used up",
        "`repod ps` shows what each uses",
    ),
    rule(
        "RP511",
        Warning,
        "a control group's limit of memory leaves too little for the OpenCode processes in it",
        "raise `memory.max` (`MemoryMax=` of that unit, `limits.memory_limit` in repod.toml, or the container's limit)",
    ),
    rule(
        "RP512",
        Note,
        "snapshots or logs of OpenCode take much room",
        "`\"snapshot\": false` in opencode.json keeps no more of them; with the backend stopped the directory may be removed",
    ),
    rule(
        "RP513",
        Warning,
        "the memory of a backend keeps growing",
        "repod recycles it once it is idle; `repod restart PATH` does at once, `repod status --history PATH` shows it",
    ),
    rule(
        "RP514",
        Error,
        "the user is nearly out of processes",
        "raise `nproc` in /etc/security/limits.conf, or `LimitNPROC=` of the unit; threads count as well",
    ),
    rule(
        "RP601",
        Error,
        "an OpenCode outlived whoever started it",
        "end it: `kill PID`; under repod, backends have an owner",
    ),
    rule(
        "RP602",
        Warning,
        "an OpenCode ended, and its parent has not noticed",
        "the parent is at fault; the entry goes when it ends",
    ),
    rule(
        "RP603",
        Warning,
        "a registry entry names a backend that is gone",
        "`repod gc`, or `repod audit --fix` where no daemon runs",
    ),
    rule(
        "RP604",
        Error,
        "files of repod's home are open to other users, or somebody else's",
        "`repod audit --fix` closes those that are yours",
    ),
    rule(
        "RP605",
        Error,
        "a database is damaged",
        "keep a copy of it and its -wal; `sqlite3 FILE .recover` saves what can be read",
    ),
    rule(
        "RP606",
        Error,
        "a registry entry can't be understood",
        "repair it, or move it away; repod keeps it as it is",
    ),
    rule(
        "RP607",
        Note,
        "a process runs an OpenCode that was replaced on disk",
        "restart it: `repod restart PATH` where it is repod's",
    ),
    rule(
        "RP608",
        Error,
        "a lock file of repod's is open in somebody else's process",
        "end that process; lock files are repod's alone",
    ),
    rule(
        "RP609",
        Note,
        "backends run different versions of OpenCode",
        "`repod restart PATH` of the older",
    ),
    rule(
        "RP610",
        Note,
        "a backend is older than the OpenCode that is installed",
        "`repod restart PATH` starts the installed one",
    ),
    rule(
        "RP611",
        Note,
        "logins in the user's database don't reach a repository",
        "log in again there (`repod attach PATH`): a login that was copied would end the other",
    ),
    rule("RP612", Warning, "processes of a backend have outlived it", "`repod gc` ends them"),
    rule(
        "RP701",
        Error,
        "a repository has more than one backend",
        "this is a bug of repod's: `repod restart PATH`, and tell us",
    ),
    rule(
        "RP702",
        Error,
        "a backend of repod's listens for other machines",
        "look for `--hostname` in `[backend] args`, then `repod restart PATH`",
    ),
    rule(
        "RP703",
        Error,
        "a database of a backend is open in another process",
        "end that process: a backend's database is its own",
    ),
    rule(
        "RP704",
        Error,
        "a branch's lock file is held by somebody who isn't repod",
        "end that process: until then no session may write there",
    ),
    rule("RP705", Warning, "a backend of repod's is not on record", "`repod gc` ends it"),
    rule(
        "RP706",
        Error,
        "somebody else listens on the port of a backend",
        "`repod restart PATH` gives the backend another port",
    ),
    rule(
        "RP707",
        Error,
        "a branch is held by somebody who is gone",
        "`repod lease release PATH --branch BRANCH`, and tell us: this is a bug of repod's",
    ),
    rule(
        "RP708",
        Error,
        "repod itself listens for other machines",
        "`repod shutdown`, and tell us: this is a bug of repod's",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_rule_has_an_id_of_its_own_and_stands_in_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md");
        let page = fs_err::read_to_string(path).unwrap();
        let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            let row = format!("| {} | {} | {} |", rule.id, rule.severity.as_str(), rule.title);
            assert!(page.contains(&row), "docs/audit.md lacks the row `{row}`");
        }
    }
}

//! Group 3: runtimes that somebody started beside the one that should serve the repository.

use crate::finding::{Evidence, Finding};
use crate::snapshot::{Process, Record, Role, Snapshot};

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for process in snapshot.plain() {
        if is_sdk(snapshot, process) {
            let message =
                format!("process {} was started by {}", process.pid, starter(snapshot, process));
            let evidence = Evidence::pid(process.pid)
                .maybe_at(process.cwd.as_deref())
                .by("OPENCODE_CONFIG_CONTENT")
                .saying(format!("parent {}", snapshot.head(process).ppid));
            findings.push(Finding::of("RP301", message, vec![evidence]));
        }
        if let Some(record) = snapshot.records.iter().find(|record| works_in(process, record)) {
            let message = format!(
                "process {} works in `{}`, which repod manages as {}",
                process.pid,
                record.root.display(),
                record.repo_id
            );
            let evidence = Evidence::pid(process.pid)
                .maybe_at(process.cwd.as_deref())
                .saying(&*record.repo_id);
            findings.push(Finding::of("RP302", message, vec![evidence]));
        }
    }
}

/// The SDK passes its configuration in the environment, always, and its options as `--name=value`. A
/// variable that the parent has as well was inherited, from a shell's profile say, and proves nothing.
fn is_sdk(snapshot: &Snapshot, process: &Process) -> bool {
    let name = "OPENCODE_CONFIG_CONTENT";
    let Some(passed) = process.variable(name) else {
        return false;
    };
    let starter = snapshot.processes.get(&snapshot.head(process).ppid);
    let inherited = starter.and_then(|starter| starter.variable(name));
    let written = |option: &str| process.args.iter().any(|arg| arg.starts_with(option));
    process.role() == Role::Server
        && inherited != Some(passed)
        && written("--hostname=")
        && written("--port=")
}

fn starter(snapshot: &Snapshot, process: &Process) -> String {
    match snapshot.processes.get(&snapshot.head(process).ppid) {
        Some(parent) => {
            let line: String = parent.args.join(" ").chars().take(120).collect();
            format!("process {} (`{line}`)", parent.pid)
        }
        None => "a program that is gone".to_owned(),
    }
}

/// Whether the process works in any worktree of the record's repository.
fn works_in(process: &Process, record: &Record) -> bool {
    match (&process.checkout, &process.cwd) {
        (Some(checkout), _) => checkout.common == record.identity,
        (None, Some(cwd)) => cwd.starts_with(&record.identity),
        (None, None) => false,
    }
}

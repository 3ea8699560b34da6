//! Processes that outlived their backend, and those that only look like it.

use super::{HOME, MARK, backend, ids, judge, machine, pids};
use crate::rules::{confirmed, is_doubtful};
use crate::snapshot::{Process, Snapshot, Unreadable};
use std::path::PathBuf;

/// Something that a backend with this marker started.
fn child(pid: u32, marker: &str) -> Process {
    let args = ["gopls", "serve"].map(str::to_owned).into();
    let mut process =
        Process { pid, ppid: 1, session: pid, state: 'S', args, ..Process::default() };
    process.comm = "gopls".into();
    process.exe = Some("/usr/bin/gopls".into());
    process.cwd = Some("/src/10".into());
    process.env.insert("REPOD_BACKEND".into(), marker.into());
    process.in_scope = true;
    process
}

/// A backend on record, and these beside it.
fn with(children: impl IntoIterator<Item = Process>) -> Snapshot {
    let (process, record) = backend(10);
    let mut snapshot = machine(children.into_iter().chain([process]));
    snapshot.records.push(record);
    snapshot
}

#[test]
fn what_is_left_of_an_earlier_start_is_named_with_its_repo_and_command() {
    let mut snapshot = with([
        child(20, MARK),
        child(21, "h/web-1/2/x"),
        child(22, "h/web-1/2/x"),
        child(23, "h/gone-9/1/y"),
    ]);
    let report = judge(&snapshot);
    assert_eq!(ids(&report), ["RP612", "RP612"], "one for each backend");
    assert_eq!(pids(&report, "RP612"), [21, 22, 23]);
    let [evidence, _] = report.findings[0].evidence.as_slice() else { panic!("{report:?}") };
    assert_eq!(evidence.detail.as_deref(), Some("web-1: `gopls serve`"));
    assert_eq!(evidence.path, Some("/src/10".into()));
    assert_eq!(evidence.variable.as_deref(), Some("REPOD_BACKEND"));
    // All of them, once their backend has ended or its pid is another's.
    snapshot.processes.get_mut(&10).unwrap().start_ticks += 1;
    assert!(pids(&judge(&snapshot), "RP612").contains(&20));
    snapshot.processes.remove(&10);
    assert!(pids(&judge(&snapshot), "RP612").contains(&20));
    snapshot.records[0].backend = None;
    assert_eq!(pids(&judge(&snapshot), "RP612"), [20, 21, 22, 23]);
}

#[test]
fn what_belongs_to_a_backend_that_lives_is_clean_also_where_its_repo_is_not_audited() {
    let mut snapshot = with([child(20, MARK)]);
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
    let record = snapshot.records.remove(0);
    snapshot.elsewhere.extend(record.backend);
    snapshot.processes.get_mut(&10).unwrap().in_scope = false;
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
}

#[test]
fn what_can_t_be_known_or_is_another_rule_s_is_not_named() {
    let dead = "h/web-1/2/x";
    let mut opencode = child(23, dead);
    opencode.exe = Some("/usr/bin/opencode".into());
    opencode.session = 7;
    for (why, process) in [
        ("another home's", child(20, "other/web-1/2/x")),
        ("no marker of ours", child(20, "h")),
        ("no marker at all", child(20, "")),
        ("out of scope", Process { in_scope: false, ..child(20, dead) }),
        ("a zombie", Process { state: 'Z', ..child(20, dead) }),
        ("repod's own", Process { exe: Some("/usr/bin/repod".into()), ..child(20, dead) }),
        ("an orphaned OpenCode", opencode),
    ] {
        assert_eq!(pids(&judge(&with([process])), "RP612"), [0; 0], "{why}");
    }
    let mut twin = backend(10).0;
    (twin.pid, twin.start_ticks) = (24, 3);
    twin.env.insert("REPOD_BACKEND".into(), dead.into());
    let report = judge(&with([twin]));
    assert_eq!((pids(&report, "RP705"), pids(&report, "RP612")), (vec![24], vec![]));

    let mut broken = with([child(20, dead)]);
    let path = PathBuf::from(HOME).join("repos/web-1/endpoint.json");
    broken.unreadable.push(Unreadable { path, cause: "newer".into() });
    assert_eq!(pids(&judge(&broken), "RP612"), [0; 0], "its entry can't be read");
    let mut closed = with([child(20, dead)]);
    closed.home_mark.clear();
    assert_eq!(pids(&judge(&closed), "RP612"), [0; 0], "the registry can't be read");
}

#[test]
fn what_ends_a_moment_later_was_on_its_way() {
    let first = judge(&with([child(20, "h/web-1/2/x"), child(21, "h/web-1/1/x")]));
    assert!(is_doubtful(&first));
    let second = confirmed(&first, judge(&with([child(21, "h/web-1/1/x")])));
    assert_eq!(pids(&second, "RP612"), [21]);
    let other = confirmed(&first, judge(&with([child(22, "h/web-1/2/x")])));
    assert_eq!(ids(&other), [""; 0]);
}

//! What the reader has found is told by its rule, and by no other; without it there is nothing to tell.

use super::{ids, judge, machine, pids, server};
use crate::Evidence;
use crate::snapshot::{Database, Library, Process, Snapshot, Unreadable};
use std::path::Path;

/// A machine with a server, and this in its snapshot: nothing is found without it.
fn with(change: impl FnOnce(&mut Snapshot)) -> crate::Report {
    let mut snapshot = machine([server(10)]);
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
    change(&mut snapshot);
    judge(&snapshot)
}

#[test]
fn a_locked_database_is_told_with_the_line_that_says_so() {
    let line = || ("/d/log/opencode.log".into(), "database is locked".to_owned());
    let report = with(|snapshot| snapshot.lock_failures.push(line()));
    assert_eq!(ids(&report), ["RP106"]);
    let expected = Evidence::path("/d/log/opencode.log").saying("database is locked");
    assert_eq!(report.findings[0].evidence, [expected]);
}

#[test]
fn a_port_that_was_taken_is_told_with_the_line_that_says_so() {
    let line = || ("/h/repos/web-1/log/backend.log".into(), "ServeError".to_owned());
    let report = with(|snapshot| snapshot.port_failures.push(line()));
    assert_eq!(ids(&report), ["RP205"]);
    let expected = Evidence::path("/h/repos/web-1/log/backend.log").saying("ServeError");
    assert_eq!(report.findings[0].evidence, [expected]);
}

#[test]
fn two_that_ask_for_one_port_are_named_whichever_way_it_is_written() {
    let asks = |pid, args: &[&str]| {
        let args = ["opencode", "serve"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        Process { args, ..server(pid) }
    };
    let report = judge(&machine([
        asks(10, &["--port", "5000"]),
        asks(11, &["--port=5000"]),
        asks(12, &["--port", "5001"]),
        asks(13, &["--port", "0"]),
        asks(14, &["--port", "0"]),
        asks(15, &[]),
    ]));
    assert_eq!((ids(&report), pids(&report, "RP204")), (vec!["RP204"], vec![10, 11]));
    assert_eq!(report.findings[0].evidence[0].port, Some(5000));
    // Each container has ports of its own.
    let inside = |pid, ns: &str| Process { mounts: Some(ns.into()), ..asks(pid, &["--port=5000"]) };
    assert_eq!(ids(&judge(&machine([inside(10, "a"), inside(11, "b")]))), [""; 0]);
}

#[test]
fn a_port_that_the_configuration_gives_is_fixed_unless_the_command_line_says_another() {
    let port = 40010;
    let mut asks_nothing = server(10);
    asks_nothing.args.truncate(2);
    let mut snapshot = machine([asks_nothing]);
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
    let file = Path::new("/u10/config/opencode/opencode.json");
    snapshot.fixed_ports.push((file.into(), port));
    let report = judge(&snapshot);
    assert_eq!((ids(&report), pids(&report, "RP201")), (vec!["RP201", "RP206"], vec![10]));
    let expected = Evidence::path(file).port(port).by("server.port");
    assert_eq!(report.findings[1].evidence, [expected]);
    // `--port 0` has precedence, and another user's configuration has no say.
    let mut told = snapshot.clone();
    told.processes.insert(10, server(10));
    assert_eq!(ids(&judge(&told)), ["RP206"]);
    snapshot.fixed_ports[0].0 = "/u11/config/opencode/opencode.json".into();
    assert_eq!(ids(&judge(&snapshot)), ["RP206"]);
}

#[test]
fn libraries_that_were_left_are_one_finding_with_their_size() {
    let library = |path: &str| Library { path: path.into(), bytes: 5 << 20 };
    let report = with(|it| it.libraries = vec![library("/tmp/.a.so"), library("/tmp/.b.so")]);
    assert_eq!(ids(&report), ["RP507"]);
    assert!(report.findings[0].message.contains("2 unpacked libraries take 10 MiB"), "{report:?}");
    let expected = ["/tmp/.a.so", "/tmp/.b.so"].map(Evidence::path);
    assert_eq!(report.findings[0].evidence, expected);
}

#[test]
fn a_damaged_database_is_told_and_a_whole_one_is_not() {
    let database = |path: &str, damage: Option<&str>| Database {
        path: path.into(),
        damage: damage.map(str::to_owned),
        ..Database::default()
    };
    let report = with(|snapshot| {
        snapshot.databases = vec![database("/d/a.db", None), database("/d/b.db", Some("row 3"))];
    });
    assert_eq!(ids(&report), ["RP605"]);
    assert_eq!(report.findings[0].evidence, [Evidence::path("/d/b.db").saying("row 3")]);
    assert_eq!(ids(&with(|it| it.databases = vec![database("/d/a.db", None)])), [""; 0]);
}

#[test]
fn an_entry_that_can_t_be_understood_is_told_with_the_cause() {
    let path = Path::new("/h/repos/web-1/endpoint.json");
    let cause = "expected value at line 1".to_owned();
    let report = with(|it| it.unreadable.push(Unreadable { path: path.into(), cause }));
    assert_eq!(ids(&report), ["RP606"]);
    assert_eq!(report.findings[0].evidence, [Evidence::path(path)]);
    assert!(report.findings[0].message.contains("expected value"), "{report:?}");
}

#[test]
fn a_user_nearly_out_of_processes_is_found_at_each_opencode_that_is_held_by_it() {
    let held = |pid, threads, nproc| Process { threads, nproc, ..server(pid) };
    let shell = Process { pid: 20, threads: 60, ..Process::default() };
    let look = |limit| {
        let processes = [held(10, 20, Some(limit)), held(11, 10, None), shell.clone()];
        judge(&machine(processes))
    };
    assert_eq!(ids(&look(101)), [""; 0]);
    let report = look(100);
    assert_eq!((ids(&report), pids(&report, "RP514")), (vec!["RP514"], vec![10]));
    assert_eq!(report.findings[0].evidence[0].detail.as_deref(), Some("soft 100, in use 90"));
}

#[test]
fn a_daemon_that_listens_for_other_machines_breaks_its_promise() {
    let daemon = |address: &str, lock: &str| Process {
        pid: 20,
        exe: Some("/usr/bin/repod".into()),
        files: vec![Path::new(super::HOME).join(lock)],
        listens: vec![address.parse().unwrap()],
        ..Process::default()
    };
    let report = judge(&machine([daemon("0.0.0.0:5000", "repod.lock")]));
    assert_eq!((ids(&report), pids(&report, "RP708")), (vec!["RP708"], vec![20]));
    assert_eq!(report.findings[0].evidence[0].port, Some(5000));
    for fine in [daemon("127.0.0.1:5000", "repod.lock"), daemon("0.0.0.0:5000", "other.lock")] {
        assert_eq!(ids(&judge(&machine([fine]))), [""; 0]);
    }
}

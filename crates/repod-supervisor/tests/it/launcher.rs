//! The spawn in two steps.

use crate::backend::{Backend, HELPER, Held, Stranger, within};
use repod_supervisor::log_tail::open_for_append;
use repod_supervisor::{
    ExitReason, HeldChild, HeldSpawn, LaunchError, ProcessIdentity, RunningChild, Signal,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[tokio::test]
async fn what_was_recorded_before_the_release_is_what_runs() {
    let held = Held::new("/bin/sh", &["-c", "echo ready; exec sleep 300"]);
    let recorded = held.child.identity().clone();
    assert_eq!(fs_err::read_to_string(&held.log).unwrap(), "", "nothing has run yet");
    let running = held.child.release().unwrap();
    assert_eq!(running.identity(), &recorded);
    running.handle().signal(Signal::KILL).unwrap();

    let mut backend = Backend::start(
        "echo ready; echo $$; readlink /proc/$$/fd/0; ls /proc/self/fd | tr '\\n' ' '; echo; \
         cut -d' ' -f6 /proc/$$/stat; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; exec sleep 300",
    )
    .await;
    let pid = backend.running.identity().pid.to_string();
    assert_eq!(backend.line().await, pid, "pid");
    assert_eq!(backend.line().await, "/dev/null", "stdin");
    // 3 is the directory that `ls` reads.
    assert_eq!(backend.line().await.trim_end(), "0 1 2 3", "open fds");
    assert_eq!(backend.line().await, pid, "session");
    assert_eq!(backend.line().await, "HELPER PATH PWD REPOD_BACKEND ", "environment");
    let now = ProcessIdentity::of(backend.running.identity().pid).unwrap().unwrap();
    assert_eq!(&now, backend.running.identity(), "after two execs");
}

#[tokio::test]
async fn what_the_daemon_itself_inherited_is_not_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open_for_append(&dir.path().join("log")).unwrap();
    let spawn = HeldSpawn {
        launcher: "/bin/sh".into(),
        launcher_args: ["-c", "exec 9</dev/null; exec \"$0\" \"$@\"", HELPER]
            .map(Into::into)
            .into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "test ! -e /proc/self/fd/9".into()],
        env: BTreeMap::new(),
        cwd: "/".into(),
        log,
    };
    let mut running = HeldChild::spawn(spawn).unwrap().release().unwrap();
    assert_eq!(within(running.wait()).await.unwrap(), ExitReason::Code(0));
}

#[tokio::test]
async fn a_held_child_that_is_given_up_ends_without_having_run() {
    let held = Held::new("/bin/sh", &["-c", "echo ran"]);
    assert_eq!(within(held.child.abandon()).await.unwrap(), ExitReason::Code(0));
    assert_eq!(fs_err::read_to_string(&held.log).unwrap(), "");

    let held = Held::new("/bin/sh", &["-c", "echo ran"]);
    let handle = held.child.identity().verify().unwrap().unwrap();
    drop(held.child);
    within(handle.exited()).await.unwrap();
    assert_eq!(fs_err::read_to_string(&held.log).unwrap(), "");
}

#[tokio::test]
async fn a_daemon_that_dies_before_the_record_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut daemon = Stranger::helper(&["hold-child", log.to_str().unwrap()]);
    let mut line = String::new();
    BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let held: ProcessIdentity = serde_json::from_str(&line).unwrap();
    let handle = held.verify().unwrap().expect("the held child waits");
    daemon.0.kill().unwrap();
    within(handle.exited()).await.unwrap();
    assert_eq!(fs_err::read_to_string(&log).unwrap(), "");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_says_so_in_the_log() {
    let held = Held::new("/no/such/opencode", &[]);
    let mut running = held.child.release().unwrap();
    assert_eq!(within(running.wait()).await.unwrap(), ExitReason::Code(127));
    let log = fs_err::read_to_string(&held.log).unwrap();
    assert!(log.starts_with("repod: cannot run `/no/such/opencode`: No such file"), "{log}");
    assert_eq!(log.lines().count(), 1);
}

#[tokio::test]
async fn how_it_ended_is_told_by_its_parent_alone() {
    for (script, reason) in [("exit 3", ExitReason::Code(3)), ("kill -9 $$", ExitReason::Signal(9))]
    {
        let mut running = Held::new("/bin/sh", &["-c", script]).child.release().unwrap();
        assert_eq!(within(running.wait()).await.unwrap(), reason);
        assert_eq!(within(running.wait()).await.unwrap(), reason, "and again");
        assert_eq!(ProcessIdentity::of(running.identity().pid).unwrap(), None, "reaped");
    }
    let backend = Backend::start("echo ready; exec sleep 300").await;
    let mut adopted = RunningChild::adopted(backend.running.identity().verify().unwrap().unwrap());
    assert!(adopted.is_adopted() && !backend.running.is_adopted());
    adopted.handle().signal(Signal::TERM).unwrap();
    assert_eq!(within(adopted.wait()).await.unwrap(), ExitReason::Unknown);
}

#[tokio::test]
async fn a_launcher_that_was_killed_is_not_taken_for_a_backend() {
    let held = Held::new("/bin/sh", &["-c", "echo ran"]);
    let handle = held.child.identity().verify().unwrap().unwrap();
    handle.signal(Signal::KILL).unwrap();
    within(handle.exited()).await.unwrap();
    match held.child.release() {
        Err(LaunchError::EndedEarly { reason, .. }) => assert_eq!(reason, ExitReason::Signal(9)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_directory_is_an_error_of_the_spawn() {
    let log = tempfile::tempfile().unwrap();
    let spawn = HeldSpawn {
        launcher: HELPER.into(),
        launcher_args: Vec::new(),
        program: "true".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        cwd: "/no/such/repo".into(),
        log,
    };
    let error = HeldChild::spawn(spawn).unwrap_err();
    assert!(error.to_string().contains("in `/no/such/repo`"), "{error}");
}

#[test]
fn the_launcher_by_hand_complains() {
    let mut command = std::process::Command::new(HELPER);
    let output = command.arg("__launch").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&output.stderr).contains("repod's own"));
}

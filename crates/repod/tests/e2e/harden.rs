//! `repod harden` from the command line, always below a scratch root: the machine is left alone.

use crate::{BOUND, world};
use repod_testkit::Terminal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_scratch_root_is_hardened_and_taken_back_by_the_command() {
    let world = world();
    let root = tempfile::tempdir().unwrap();
    let harden = |flags: &[&str]| {
        let command = world.repod(["harden", "--json", "--user", "ada", "--root"]);
        let output = command.arg(root.path()).args(flags).run();
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        (output.code, report)
    };
    let entries = || fs_err::read_dir(root.path()).unwrap().count();
    let (code, report) = harden(&[]);
    assert_eq!(code, 4, "{report}");
    assert!(report["rows"].as_array().unwrap().iter().all(|row| row["ok"] == false), "{report}");
    assert_eq!(entries(), 0, "it only looks");
    let (code, report) = harden(&["--apply"]);
    assert_eq!(code, 0, "{report}");
    assert!(report["rows"].as_array().unwrap().iter().all(|row| row["ok"] == true), "{report}");
    assert_eq!(report["applied"].as_array().unwrap().len(), 6, "{report}");
    assert!(root.path().join("etc/security/limits.d/90-repod.conf").exists());
    let (code, report) = harden(&["--apply"]);
    assert_eq!((code, report["applied"].as_array().unwrap().len()), (0, 0), "{report}");
    let (code, report) = harden(&["--revert"]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["reverted"]["kept"], serde_json::json!([]), "{report}");
    assert_eq!(entries(), 0);
    world.finish();
}

/// The `sudo` here only says what it was asked for: nothing of the machine is changed.
#[test]
fn who_is_not_root_is_asked_before_anything_is_run_as_root() {
    let world = world();
    // Where another user may look.
    let place = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    let (repod, sudo) = (place.path().join("repod"), place.path().join("sudo"));
    fs_err::copy(env!("CARGO_BIN_EXE_repod"), &repod).unwrap();
    fs_err::write(&sudo, "#!/bin/sh\necho \"asked for: $*\"; exit 4\n").unwrap();
    fs_err::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("PATH={}:/usr/bin:/bin", place.path().display());
    let (repod, as_other) = (repod.display().to_string(), "setpriv --reuid=65534 --clear-groups");
    let as_other = if rustix::process::geteuid().is_root() { as_other } else { "" };
    let line = format!("exec env {path} USER=ada {as_other} {repod} harden");

    let command = world.command("sh").args(["-c", &format!("{line} --apply")]).dir("/");
    let output = command.run();
    assert_eq!(output.code, 1, "{output:?}");
    let hint = format!("hint: sudo {repod} harden --apply --user ada");
    assert!(output.stderr.contains(&hint) && output.stdout.is_empty(), "{output:?}");

    for (answer, flag, ended) in
        [("n", "--apply", "ended with 1"), ("y", "--revert", "ended with 4")]
    {
        let shell = format!("cd /; ({line} {flag}); echo ended with $?; exec sleep 600");
        let terminal = Terminal::start(&world, answer, "sh", ["-c", &shell]);
        let question = format!("harden {flag} --user ada`? [y/N]");
        let flat = |text: &str| text.replace('\n', "");
        terminal.wait("the question", BOUND, |screen| flat(&screen.text).contains(&question));
        terminal.enter(answer);
        let screen = terminal.wait("its end", BOUND, |screen| screen.text.contains(ended));
        let was_asked = flat(&screen.text).contains(&format!("asked for: {repod} harden {flag}"));
        assert_eq!(was_asked, answer == "y", "{}", screen.text);
        drop(terminal);
    }
    world.finish();
}

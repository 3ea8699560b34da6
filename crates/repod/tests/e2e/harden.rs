//! `repod harden` from the command line, always below a scratch root: the machine is left alone.

use crate::world;
use serde_json::Value;

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

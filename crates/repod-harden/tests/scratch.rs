//! In a scratch root: applied twice and taken back, everything is as it was; no value is lowered.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use proptest::prelude::*;
use repod_harden::{HardenError, Machine, Plan, Value, apply, plan, revert};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const UNIT: &str = "[Unit]\nDescription=repod\n";

/// Every path below a root with what it is: content, mode, and which file it is.
fn picture(root: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, u32, u64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let is = fs::symlink_metadata(&path).unwrap();
            let content = is.is_file().then(|| fs::read(&path).unwrap());
            if is.is_dir() {
                open.push(path.clone());
            }
            found.insert(path, (content, is.permissions().mode(), is.ino()));
        }
    }
    found
}

fn put(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn look(root: &Path) -> Plan {
    plan(&Machine::at(root), UNIT, Some("ada"))
}

/// A machine somebody has been at before.
fn lived_in() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    put(
        root.path(),
        "etc/security/limits.conf",
        "# <domain>\n* soft nofile 4096\n* hard nofile 9000000\n",
    );
    put(root.path(), "etc/systemd/system.conf", "[Manager]\n#DefaultLimitNOFILE=1\n");
    put(
        root.path(),
        "etc/systemd/user.conf.d/10-ours.conf",
        "[Manager]\nDefaultLimitNOFILE=70000:infinity\n",
    );
    put(root.path(), "etc/sysctl.d/90-repod.conf", "vm.swappiness = 1");
    put(root.path(), "etc/sysctl.d/10-more.conf", "fs.inotify.max_user_watches=5000000\n");
    put(root.path(), "proc/sys/fs/inotify/max_user_instances", "128\n");
    let mine = root.path().join("etc/sysctl.d/90-repod.conf");
    fs::set_permissions(mine, std::fs::Permissions::from_mode(0o640)).unwrap();
    root
}

fn value(root: &Path, id: &str) -> Option<String> {
    look(root).rows.into_iter().find(|row| row.id == id).unwrap().now
}

#[test]
fn applied_twice_and_taken_back_every_file_is_as_it_was() {
    for root in [lived_in(), tempfile::tempdir().unwrap()] {
        let root = root.path();
        let before = picture(root);
        let machine = Machine::at(root);
        let first = apply(&machine, &look(root)).unwrap();
        assert!(first.len() >= 4, "{first:?}");
        let then = picture(root);
        assert!(look(root).is_done(), "{:?}", look(root));
        assert!(apply(&machine, &look(root)).unwrap().is_empty());
        assert_eq!(picture(root), then, "a second time changes nothing");
        let report = revert(&machine).unwrap();
        assert!(report.kept.is_empty(), "{report:?}");
        assert_eq!(picture(root), before);
        assert_eq!(revert(&machine).unwrap().restored.len(), 0);
        assert_eq!(picture(root), before, "taken back twice");
    }
}

#[test]
fn what_is_higher_stays_and_what_others_wrote_in_the_same_file_too() {
    let root = lived_in();
    let root = root.path();
    apply(&Machine::at(root), &look(root)).unwrap();
    assert_eq!(value(root, "limits:nofile:soft").unwrap(), "65535");
    assert_eq!(value(root, "limits:nofile:hard").unwrap(), "9000000");
    assert_eq!(value(root, "systemd:system:nofile").unwrap(), "65535:524288");
    assert_eq!(value(root, "systemd:user:nofile").unwrap(), "70000:infinity");
    assert!(!root.join("etc/systemd/user.conf.d/90-repod.conf").exists());
    let sysctl = fs::read_to_string(root.join("etc/sysctl.d/90-repod.conf")).unwrap();
    assert!(sysctl.starts_with("vm.swappiness = 1\n"), "{sysctl}");
    assert!(!sysctl.contains("max_user_watches"), "{sysctl}");
    assert!(sysctl.contains("max_user_instances = 1024"), "{sysctl}");
    assert!(root.join("var/lib/systemd/linger/ada").exists());
    assert_eq!(fs::read_to_string(root.join("etc/systemd/user/repod.service")).unwrap(), UNIT);
}

#[test]
fn the_hard_limit_a_session_inherits_and_root_s_own_are_not_lowered() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put(
        root,
        "etc/security/limits.d/10-root.conf",
        "root hard nofile 2000000\nroot soft nofile 100000\n",
    );
    apply(&Machine::at(root), &look(root)).unwrap();
    let text = fs::read_to_string(root.join("etc/security/limits.d/90-repod.conf")).unwrap();
    for line in [
        "* soft nofile 65535",
        "* hard nofile 524288",
        "root soft nofile 100000",
        "root hard nofile 2000000",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
}

#[test]
fn what_is_read_later_and_lower_is_named_and_not_called_done() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put(root, "etc/sysctl.d/99-late.conf", "fs.inotify.max_user_watches = 8192\n");
    apply(&Machine::at(root), &look(root)).unwrap();
    let row = look(root).rows.into_iter().find(|row| row.id.ends_with("max_user_watches")).unwrap();
    assert!(!row.ok);
    assert!(row.note.unwrap().contains("/etc/sysctl.d/99-late.conf"));
    assert!(look(root).drops.is_empty(), "it is not written again and again");
}

#[test]
fn a_file_that_was_changed_since_is_left_alone_by_the_revert() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let machine = Machine::at(root);
    apply(&machine, &look(root)).unwrap();
    let file = "etc/systemd/user/repod.service";
    put(root, file, "mine now");
    assert_eq!(revert(&machine).unwrap().kept, [file]);
    assert_eq!(fs::read_to_string(root.join(file)).unwrap(), "mine now");
    assert!(!root.join("etc/sysctl.d").exists());
}

#[test]
fn no_link_below_a_scratch_root_leads_out_of_it() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(root.path().join("etc")).unwrap();
    symlink(outside.path(), root.path().join("etc/systemd")).unwrap();
    let error = apply(&Machine::at(root.path()), &look(root.path())).unwrap_err();
    assert!(matches!(error, HardenError::Link(_)), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_value_is_ever_lowered(
        pam in prop::collection::vec((any::<bool>(), 1_u64..200_000), 0..4),
        manager in prop::collection::vec((1_u64..200_000, 1_u64..2_000_000), 0..3),
        watches in prop::collection::vec(1_u64..3_000_000, 0..3),
    ) {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (n, (soft, value)) in pam.iter().enumerate() {
            let kind = if *soft { "soft" } else { "hard" };
            put(root, &format!("etc/security/limits.d/{n}.conf"), &format!("* {kind} nofile {value}\n"));
        }
        for (n, (soft, hard)) in manager.iter().enumerate() {
            let text = format!("[Manager]\nDefaultLimitNOFILE={soft}:{}\n", hard.max(soft));
            put(root, &format!("etc/systemd/system.conf.d/{n}.conf"), &text);
        }
        for (n, value) in watches.iter().enumerate() {
            put(root, &format!("etc/sysctl.d/{n}.conf"), &format!("fs.inotify.max_user_watches = {value}\n"));
        }
        let before = look(root);
        let files = picture(root);
        apply(&Machine::at(root), &before).unwrap();
        for (old, new) in before.rows.iter().zip(&look(root).rows) {
            prop_assert!(new.ok, "{new:?}");
            let parse = |text: &str| text.split(':').map(|part| Value::parse(part).unwrap()).collect::<Vec<_>>();
            if let Some(was) = old.now.as_deref().filter(|was| *was != "present") {
                let now = parse(new.now.as_deref().unwrap());
                prop_assert!(parse(was).iter().zip(&now).all(|(was, now)| now >= was), "{old:?} {new:?}");
            }
        }
        revert(&Machine::at(root)).unwrap();
        prop_assert_eq!(picture(root), files);
    }
}

//! The rules on directories that stand for groups; and the kernel's own on real ones, where there are any.

use super::*;

const ME: Me = Me { pid: 4711, uid: 0 };

/// A hierarchy of plain files.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A group as the kernel would show it, with these processes.
    fn group(&self, path: &str, controllers: &str, pids: &str) -> PathBuf {
        let dir = self.0.path().join(path);
        fs_err::create_dir_all(&dir).unwrap();
        let files = [
            ("cgroup.type", "domain\n"),
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", ""),
            ("cgroup.procs", pids),
        ];
        for (name, text) in files {
            fs_err::write(dir.join(name), text).unwrap();
        }
        dir
    }

    fn take(&self, path: &str) -> Result<Delegation, Undelegated> {
        let own = Group { mount: self.0.path().to_owned(), dir: self.0.path().join(path) };
        let uid = rustix::process::geteuid().as_raw();
        Delegation::take(&own, Me { uid, ..ME }, &Controller::ALL)
    }

    fn refusal(&self, path: &str) -> String {
        self.take(path).unwrap_err().to_string()
    }
}

fn text(dir: &Path, name: &str) -> String {
    fs_err::read_to_string(dir.join(name)).unwrap_or_default()
}

#[test]
fn the_daemon_moves_into_a_leaf_before_controllers_are_handed_on() {
    let fake = Fake::new();
    let base = fake.group("repod", "cpuset cpu io memory pids\n", "4711\n");
    let taken = fake.take("repod").unwrap();
    assert_eq!((taken.base(), taken.controllers()), (base.as_path(), &Controller::ALL[..]));
    assert_eq!(text(&base.join("daemon"), "cgroup.procs"), "4711");
    assert_eq!(text(&base, "cgroup.subtree_control"), "+memory +pids +cpu");
}

#[test]
fn a_new_daemon_finds_the_same_group_from_its_leaf_and_from_that_of_a_backend() {
    let fake = Fake::new();
    let base = fake.group("repod", "memory pids cpu\n", "");
    fake.group("repod/daemon", "memory pids cpu\n", "4711\n");
    fake.group("repod/backend-web-1", "memory pids cpu\n", "12\n4712\n");
    fs_err::write(base.join("cgroup.subtree_control"), "cpu memory pids\n").unwrap();
    let taken = fake.take("repod/daemon").unwrap();
    assert_eq!(taken.base(), base);
    assert_eq!(text(&base, "cgroup.subtree_control"), "cpu memory pids\n", "left as it was");
    assert_eq!(fake.take("repod/backend-web-1").unwrap(), taken);
    assert_eq!(text(&base.join("daemon"), "cgroup.procs"), "4711\n");
}

#[test]
fn what_is_not_certainly_ours_is_left_alone_and_the_reason_said() {
    let fake = Fake::new();
    fake.group("terminal", "memory pids\n", "4711\n900\n");
    assert!(fake.refusal("terminal").contains("process 900 is in"));
    fake.group("outside", "memory pids\n", "0\n4711\n");
    assert!(fake.refusal("outside").contains("process 0 is in"));
    fake.group("app.scope", "memory pids\n", "4711\n");
    assert!(fake.refusal("app.scope").contains("Delegate=yes"));
    fake.group("bare", "hugetlb\n", "4711\n");
    let bare = fake.refusal("bare");
    assert!(bare.contains("memory controller not delegated") && bare.contains("hugetlb"), "{bare}");
    let root = fake.group("root", "memory\n", "4711\n");
    fs_err::remove_file(root.join("cgroup.type")).unwrap();
    assert!(fake.refusal("root").contains("the machine's"));
    for group in ["terminal", "outside", "app.scope", "bare", "root"] {
        assert!(!fake.0.path().join(group).join("daemon").exists(), "{group}");
        assert_eq!(text(&fake.0.path().join(group), "cgroup.subtree_control"), "", "{group}");
    }
    let own = Group { mount: fake.0.path().into(), dir: fake.group("ours", "memory\n", "4711\n") };
    let stranger = Me { uid: rustix::process::geteuid().as_raw() + 1, ..ME };
    let foreign = Delegation::take(&own, stranger, &Controller::ALL).unwrap_err();
    assert!(matches!(foreign, Undelegated::Foreign(_)), "{foreign}");
}

#[test]
fn a_unit_is_divided_when_systemd_marked_it_and_starts_the_daemon_in_a_leaf() {
    let fake = Fake::new();
    let unit = fake.group("repod.service", "memory pids cpu\n", "");
    let leaf = fake.group("repod.service/daemon", "memory pids cpu\n", "4711\n");
    assert!(matches!(fake.take("repod.service/daemon"), Err(Undelegated::Unmarked(_))));
    let own = |dir: &Path| Group { mount: fake.0.path().into(), dir: dir.into() };
    assert!(check_systemd(&unit, &own(&leaf), |_| true).is_ok());
    assert!(check_systemd(&unit, &own(&leaf), |_| false).is_err());
    let refused = check_systemd(&unit, &own(&unit), |_| true).unwrap_err().to_string();
    assert!(refused.contains("DelegateSubgroup=daemon"), "{refused}");
    let scope = fake.group("run-1.scope", "memory\n", "");
    assert!(check_systemd(&scope, &own(&scope), |_| true).is_ok());
}

#[test]
fn a_leaf_has_the_limits_asked_for_and_says_what_it_lacks() {
    let fake = Fake::new();
    let base = fake.group("repod", "memory cpu\n", "4711\n");
    let taken = fake.take("repod").unwrap();
    let limits = GroupLimits {
        memory_high: Some(300 << 20),
        memory_limit: Some(400 << 20),
        pids_max: Some(64),
        cpu_weight: None,
    };
    let leaf = taken.leaf("web-1", &limits).unwrap();
    assert_eq!(leaf.dir(), base.join("backend-web-1"));
    assert_eq!(limits.beyond(taken.controllers()), ["pids.max"]);
    assert_eq!(limits.beyond(&[]), ["memory.high", "memory.max", "pids.max"]);
    leaf.admit(815).unwrap();
    assert_eq!(text(leaf.dir(), "cgroup.procs"), "815");
    let held = Leaf::limits(leaf.dir());
    assert_eq!(held, GroupLimits { pids_max: None, cpu_weight: Some(100), ..limits });
    // The next start, with other settings, finds none of the old ones.
    let again = taken.leaf("web-1", &GroupLimits::default()).unwrap();
    assert_eq!((again.dir(), Leaf::limits(again.dir()).memory_limit), (leaf.dir(), None));
}

#[test]
fn only_an_empty_leaf_of_a_backend_is_removed() {
    let fake = Fake::new();
    let leaf = fake.0.path().join("backend-web-1");
    assert_eq!(Leaf::remove(&leaf).unwrap(), Removed::Gone, "it never was");
    fs_err::create_dir(&leaf).unwrap();
    assert_eq!(Leaf::remove(&leaf).unwrap(), Removed::Gone);
    assert!(!leaf.exists());
    fs_err::create_dir(fake.0.path().join("daemon")).unwrap();
    assert!(Leaf::remove(&fake.0.path().join("daemon")).is_err());
    assert!(fake.0.path().join("daemon").exists());
}

//! A backend that the kernel ends for lack of memory: the cause is named wherever one looks, and it comes
//! back.
//!
//! The limit is that of a real control group. Of version 2 repod makes one itself where it was given a
//! group to divide; else the test makes one of version 1, as a container or an administrator would.

use crate::{BOUND, builder, ensure, oc, pid, status};
use repod_proto::{Endpoint, EnforcedBy, ExitCause};
use repod_testkit::{Script, World, proc, wait_until};
use std::path::{Path, PathBuf};

const LIMIT: u64 = 600 << 20;

/// A memory group of version 1, with a limit. Removed in the end, when nobody is in it any more.
struct Group(PathBuf);

impl Group {
    fn new(world: &World) -> Self {
        let name = world.root().file_name().unwrap().to_str().unwrap();
        let dir = Path::new("/sys/fs/cgroup/memory").join(format!("repod-test-{name}"));
        if let Err(error) = fs_err::create_dir(&dir) {
            panic!(
                "this test needs a memory control group: run it as root where /sys/fs/cgroup/memory is mounted \
                 (version 1), or in a delegated group of version 2: `systemd-run --user --pty -p Delegate=yes \
                 -p DelegateSubgroup=daemon ./test` ({error})"
            );
        }
        let group = Self(dir);
        group.write("memory.limit_in_bytes", LIMIT);
        group
    }

    fn write(&self, file: &str, value: u64) {
        fs_err::write(self.0.join(file), value.to_string()).unwrap();
    }

    /// Moves the backend with all it has started.
    fn take(&self, leader: u32) {
        let mut tree = vec![leader];
        while let Some(pid) = tree.pop() {
            tree.extend(proc::children(pid));
            let moved = fs_err::write(self.0.join("cgroup.procs"), pid.to_string());
            assert!(moved.is_ok() || !proc::is_running(pid), "{moved:?}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A test that failed leaves processes in it, which the world ends only later; an empty one goes.
        let left = fs_err::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = fs_err::write("/sys/fs/cgroup/memory/cgroup.procs", pid);
        }
        let _ = fs_err::remove_dir(&self.0);
    }
}

/// A repo whose backend eats memory as soon as a file appears: more than the limit, and no more than that.
fn hungry_repo(world: &World) -> (PathBuf, PathBuf) {
    let repo = world.git_repo("hungry");
    let signal = world.root().join("eat");
    let plugin = repo.join("eat.js");
    let text = format!(
        "import {{ existsSync, unlinkSync }} from 'node:fs'\nconst kept = []\n\
         export const Eat = async () => {{\n  const timer = setInterval(() => {{\n    \
         if (!existsSync('{signal}')) return\n    clearInterval(timer)\n    unlinkSync('{signal}')\n    \
         for (let i = 0; i < 1200; i++) kept.push(Buffer.alloc(1 << 20, 1))\n  }}, 50)\n  return {{}}\n}}\n",
        signal = signal.display()
    );
    fs_err::write(&plugin, text).unwrap();
    let config = serde_json::json!({ "plugin": [format!("file://{}", plugin.display())] });
    fs_err::write(repo.join("opencode.json"), config.to_string()).unwrap();
    (repo, signal)
}

/// Whether repod divides a group of version 2 here.
fn has_leaves(world: &World, repo: &Path) -> bool {
    status(world, repo).limits.unwrap().enforced_by == EnforcedBy::CgroupV2
}

/// Puts the backend under a limit, if repod has not done that itself, and waits until repod knows.
async fn confined(world: &World, repo: &Path, endpoint: &Endpoint) -> Option<Group> {
    let group = (!has_leaves(world, repo)).then(|| Group::new(world));
    if let Some(group) = &group {
        group.take(pid(endpoint));
    }
    let limit = wait_until("the group in the status", BOUND, async || {
        let limits = status(world, repo).limits?;
        let of_group =
            group.as_ref().is_none_or(|group| limits.memory_cgroup.as_deref() == group.0.to_str());
        limits.memory_cgroup_limit.filter(|_| of_group)
    })
    .await;
    assert_eq!(limit, LIMIT);
    group
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_held_to_little_memory_dies_of_it_the_cause_is_named_and_it_comes_back() {
    let settings = format!("[limits]\nmemory_limit = \"{}MiB\"\n", LIMIT >> 20);
    let world = builder().settings(&settings).build();
    let (repo, signal) = hungry_repo(&world);
    let before = ensure(&world, &repo);
    let turn = oc(&before).turn(&repo, Script::new().text("ok").prompt("hi")).await.unwrap();
    assert_eq!(turn.succeeded().text, "ok");
    let group = confined(&world, &repo, &before).await;

    let process = proc::Handle::open(pid(&before)).unwrap();
    fs_err::write(&signal, "").unwrap();
    assert!(process.wait_exit(BOUND), "it was to die of its memory");

    // The next request is served by the next generation.
    let turn = oc(&before).turn(&repo, Script::new().text("again").prompt("hi")).await.unwrap();
    assert_eq!(turn.succeeded().text, "again");
    let after = status(&world, &repo);
    assert_eq!(after.summary.endpoint.generation.0, 2, "{after:?}");
    assert_ne!(pid(&after.summary.endpoint), pid(&before));

    let exit = after.last_exit.expect("an exit that nobody asked for");
    println!("{exit:?}");
    assert_eq!((exit.cause, exit.generation.0), (ExitCause::Oom, 1));
    let named = "out of memory: killed by the kernel, limit 600.0 MiB of cgroup `";
    assert!(exit.message.starts_with(named), "{exit:?}");
    if let Some(group) = &group {
        assert!(exit.message.contains(group.0.to_str().unwrap()), "{exit:?}");
    }
    let shown = world.repod(["status"]).arg(&repo).ok().stdout;
    assert!(shown.contains("last exit") && shown.contains(named), "{shown}");
    let log = fs_err::read_to_string(world.layout().log()).unwrap();
    let line = log.lines().find(|line| line.contains("the backend ended: out of memory"));
    println!("{}", line.unwrap_or_else(|| panic!("{log}")));
    let metrics = crate::hostile::metrics(&world);
    let id = after.summary.endpoint.repo_id;
    let counted = format!("repod_backend_deaths_total{{repo_id=\"{id}\",cause=\"oom\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");
    world.finish();
    drop(group);
}

#[test]
fn the_status_says_who_keeps_the_limits_and_why() {
    let settings = "[limits]\nmemory_max = \"2GiB\"\nmemory_limit = \"3GiB\"\npids_max = 4096\n";
    let world = builder().settings(settings).build();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let limits = status(&world, &repo).limits.unwrap();
    println!("{limits:?}\n{:?}", endpoint.warnings);
    let shown = world.repod(["status"]).arg(&repo).ok().stdout;
    assert!(shown.contains(&limits.reason), "{shown}");
    assert_eq!(limits.memory_max, Some(2 << 30));
    let refused = endpoint.warnings.iter().find(|warning| warning.contains("can't be kept"));
    match limits.enforced_by {
        EnforcedBy::CgroupV2 => {
            assert_eq!((limits.memory_limit, limits.pids_max), (Some(3 << 30), Some(4096)));
            let group = limits.cgroup.as_deref();
            assert!(group.is_some_and(|group| group.contains("backend-web-")), "{limits:?}");
            assert_eq!(refused, None);
        }
        EnforcedBy::Measured => {
            assert!(limits.reason.starts_with("cgroup v2"), "{limits:?}");
            assert_eq!((limits.memory_limit, limits.cgroup), (None, None));
            let refused = refused.expect("a limit that nobody keeps is said");
            assert!(refused.contains("`limits.memory_limit`, `limits.pids_max`"), "{refused}");
        }
    }
    world.repod(["stop"]).arg(&repo).ok();
    let next = status(&world, &repo).limits.unwrap();
    assert_eq!((next.enforced_by, next.reason), (limits.enforced_by, limits.reason));
    world.finish();
}

#[test]
fn a_backend_that_somebody_kills_did_not_run_out_of_memory() {
    let world = crate::world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    let process = proc::Handle::open(pid(&before)).unwrap();
    process.kill().unwrap();
    assert!(process.wait_exit(BOUND));
    ensure(&world, &repo);
    let exit = status(&world, &repo).last_exit.unwrap();
    assert_eq!((exit.cause, exit.generation), (ExitCause::Signal, before.generation));
    assert_eq!(exit.message, "killed by SIGKILL");
    // One that is asked to end has no such thing.
    world.repod(["restart"]).arg(&repo).ok();
    assert_eq!(status(&world, &repo).last_exit.unwrap(), exit);
    world.finish();
}

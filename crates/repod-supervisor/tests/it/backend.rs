//! A pretended backend: a shell script behind the launcher, with a marker and a log of its own.

use repod_supervisor::log_tail::{LogFollower, open_for_append};
use repod_supervisor::{HeldChild, HeldSpawn, ProcessTree, RunningChild, Signal};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_repod-supervisor-helper");

/// Waits for an event, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens in time")
}

/// Ended with the test, however the test ends.
pub(crate) struct Backend {
    pub(crate) running: RunningChild,
    pub(crate) marker: String,
    follower: LogFollower,
    tree: ProcessTree,
    _dir: TempDir,
}

impl Backend {
    /// Runs `sh -c script` and goes on when it has printed `ready`.
    pub(crate) async fn start(script: &str) -> Self {
        let held = Held::new("/bin/sh", &["-c", script]);
        let running = held.child.release().unwrap();
        let follower = LogFollower::open(&held.log, 0).unwrap();
        let tree = ProcessTree::new(Some(running.identity().clone()), &held.marker);
        let (marker, dir) = (held.marker, held.dir);
        let mut backend = Self { running, marker, follower, tree, _dir: dir };
        assert_eq!(backend.line().await, "ready");
        backend.tree.rescan().unwrap();
        backend
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> String {
        within(self.follower.next_line()).await.unwrap()
    }

    pub(crate) fn tree(&self) -> ProcessTree {
        ProcessTree::collect(Some(self.running.identity()), &self.marker, []).unwrap()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        for _ in 0..3 {
            let _ = self.tree.rescan();
            for member in self.tree.alive() {
                let _ = member.handle().signal(Signal::KILL);
            }
        }
        // The leader by its own handle too, for the case that it is the scan that is broken.
        let _ = self.running.handle().signal(Signal::KILL);
    }
}

/// A held child and where it will write.
pub(crate) struct Held {
    pub(crate) child: HeldChild,
    pub(crate) marker: String,
    pub(crate) log: PathBuf,
    pub(crate) dir: TempDir,
}

impl Held {
    pub(crate) fn new(program: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let marker = unique_marker();
        let env = [("PATH", "/usr/bin:/bin"), ("REPOD_BACKEND", &marker), ("HELPER", HELPER)];
        let child = HeldChild::spawn(HeldSpawn {
            launcher: HELPER.into(),
            launcher_args: Vec::new(),
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect::<BTreeMap<_, _>>(),
            cwd: dir.path().to_owned(),
            log: open_for_append(&log).unwrap().0,
        });
        Self { child: child.unwrap(), marker, log, dir }
    }
}

pub(crate) fn unique_marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}-", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// An ordinary child of the test, killed and reaped with it.
pub(crate) struct Stranger(pub(crate) Child);

impl Stranger {
    pub(crate) fn sleeping(marker: &str) -> Self {
        let mut command = Command::new("sleep");
        let stranger = Self(command.arg("300").env("REPOD_BACKEND", marker).spawn().unwrap());
        // The kernel lets the parent go on a moment before the child's environment can be read.
        let environ = format!("/proc/{}/environ", stranger.0.id());
        let begun = std::time::Instant::now();
        while fs_err::read(&environ).unwrap().is_empty() {
            assert!(begun.elapsed().as_secs() < 10, "{environ} stays empty");
            std::thread::yield_now();
        }
        stranger
    }

    pub(crate) fn helper(args: &[&str]) -> Self {
        let mut command = Command::new(HELPER);
        Self(command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

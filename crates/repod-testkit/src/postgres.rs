//! A PostgreSQL of the test's own: a new cluster in a directory of its own, reached through a socket there.
//!
//! The server is the child of a shell that ends it when the test lets go of the shell's input, so it goes
//! with its test however that ends. Nothing is synced to disk.

use crate::{proc, wait_until};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where `./test` says the server's programs are.
const BIN: &str = "REPOD_PG_BIN";
/// PostgreSQL refuses to run as root; `nobody` will do.
const NOBODY: u32 = 65534;
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
const KEEPER: &str = r#""$@" & cat >/dev/null; kill -QUIT $!; wait $!"#;

/// See the module.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    directory: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it doesn't come up.
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("repod-pg").tempdir();
        let directory = directory.expect("there is a temporary directory");
        if rustix::process::getuid().is_root() {
            let given = chown(directory.path(), Some(NOBODY), Some(NOBODY));
            given.expect("root gives its own directory away");
        }
        let data = directory.path().join("data");
        let made = command(&bin("initdb"))
            .args([
                "--username=repod",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .expect("initdb can be run");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = fs_err::File::create(directory.path().join("log")).expect("it is our directory");
        let keeper = command(Path::new("/bin/sh"))
            .args(["-c", KEEPER, "sh"])
            .arg(bin("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            // No network; and what a crash would cost is a test's.
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
            .stdin(Stdio::piped())
            .stderr(log.into_parts().0)
            .spawn()
            .expect("a shell can be run");
        let postgres = Self { keeper, directory };
        wait_until("PostgreSQL to accept connections", START, async || {
            let told = fs_err::read_to_string(data.join("postmaster.pid")).ok()?;
            told.lines().nth(7).is_some_and(|state| state.trim() == "ready").then_some(())
        })
        .await;
        postgres
    }

    /// The address of a database. There is one named `postgres`; others are made by SQL.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=repod", self.directory.path().display())
    }

    /// What the server has said so far.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Ok(keeper) = proc::Handle::open(self.keeper.id()) {
            keeper.wait_exit(END);
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[expect(clippy::panic, reason = "a test without what it needs has failed")]
fn bin(program: &str) -> PathBuf {
    let Some(directory) = std::env::var_os(BIN) else {
        panic!(
            "{BIN} doesn't say where PostgreSQL's `{program}` is: run ./test, or install `postgresql` \
             and set it to the directory (Debian: /usr/lib/postgresql/VERSION/bin)"
        );
    };
    Path::new(&directory).join(program)
}

/// A program with nothing of the caller's environment, and not as root.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

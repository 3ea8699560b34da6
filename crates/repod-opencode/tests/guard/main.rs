//! The guard plugin in the real OpenCode, against a daemon of the test's own.
#![expect(clippy::unwrap_used, reason = "these helpers are tests in all but their attribute")]

mod abort;
mod asking;
mod away;
mod daemon;

use daemon::{FakeDaemon, TOKEN};
use repod_testkit::{Bare, Oc, Permissions, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

/// An OpenCode with the guard, and the daemon it asks.
struct Guarded {
    server: Bare,
    oc: Oc,
    repo: PathBuf,
    daemon: FakeDaemon,
    world: World,
    _dir: tempfile::TempDir,
}

impl Guarded {
    fn new() -> Self {
        Self::with(Permissions::Allow, |socket| json!({ "socket": socket, "token": TOKEN }))
    }

    /// With these permissions and this `guard` option.
    fn with(permissions: Permissions, option: impl FnOnce(&Path) -> Value) -> Self {
        let dir = tempfile::Builder::new().prefix("rg-").tempdir().unwrap();
        let daemon = FakeDaemon::start(dir.path());
        let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin/guard.js");
        let plugin = format!("file://{}", plugin.canonicalize().unwrap().display());
        let options = json!({ "env": {}, "guard": option(daemon.socket()) });
        let content = json!({ "plugin": [[plugin, options]] });
        let world = World::bare_builder()
            .permissions(permissions)
            .env("OPENCODE_CONFIG_CONTENT", content.to_string())
            .env("npm_config_offline", "true")
            .build();
        let repo = world.git_repo("web");
        let server = world.bare(&repo);
        let oc = server.oc();
        Self { server, oc, repo, daemon, world, _dir: dir }
    }

    async fn session(&self) -> String {
        self.oc.create_session(&self.repo).await.unwrap()
    }

    fn finish(self) {
        drop(self.server);
        self.world.finish();
    }
}

//! The guard plugin in the real OpenCode, against a daemon of the test's own.
#![expect(clippy::unwrap_used, reason = "these helpers are tests in all but their attribute")]

mod abort;
mod asking;
mod away;
mod commands;
mod copies;
mod daemon;
mod routing;
mod rules;

use copies::Copies;
use daemon::{FakeDaemon, TOKEN};
use repod_testkit::world::WorldBuilder;
use repod_testkit::{Bare, Oc, Permissions, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const BOUND: Duration = Duration::from_secs(60);

/// An OpenCode with the guard, and the daemon it asks.
struct Guarded {
    server: Bare,
    oc: Oc,
    repo: PathBuf,
    daemon: FakeDaemon,
    world: World,
    stage: Option<TempDir>,
    _dir: TempDir,
}

impl Guarded {
    fn new() -> Self {
        Self::with(Permissions::Allow, |socket| json!({ "socket": socket, "token": TOKEN }))
    }

    /// With these permissions and this `guard` option.
    fn with(permissions: Permissions, option: impl FnOnce(&Path) -> Value) -> Self {
        let builder = World::bare_builder().permissions(permissions);
        Self::build(builder, |world, _| world.git_repo("web"), option)
    }

    /// With these permissions, beside a registered repository `lib`.
    fn beside_lib(permission: &Value) -> Self {
        Self::beside_lib_with(&json!({ "permission": permission }), |_| "/nowhere/repod".into())
    }

    /// With this configuration and this `repod`.
    fn beside_lib_with(config: &Value, program: impl FnOnce(&Path) -> PathBuf) -> Self {
        let builder =
            World::bare_builder().permissions(Permissions::Defaults).config(config.clone());
        let stage = tempfile::Builder::new().prefix("rs-").tempdir().unwrap();
        let path = stage.path().to_owned();
        let repos = |world: &World, daemon: &FakeDaemon| {
            let repo = world.git_repo("web");
            let lib = world.git_repo("lib");
            daemon.route(Copies::new(&repo, &path, vec![lib]));
            repo
        };
        let option = |socket: &Path| {
            let program = program(socket.parent().unwrap());
            json!({ "socket": socket, "token": TOKEN, "stage": &path, "program": program })
        };
        let mut guarded = Self::build(builder, repos, option);
        guarded.stage = Some(stage);
        guarded
    }

    fn build(
        builder: WorldBuilder,
        repos: impl FnOnce(&World, &FakeDaemon) -> PathBuf,
        option: impl FnOnce(&Path) -> Value,
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("rg-").tempdir().unwrap();
        let daemon = FakeDaemon::start(dir.path());
        let plugin = dir.path().join("guard.js");
        fs_err::write(&plugin, repod_opencode::v1_18::GUARD).unwrap();
        let plugin = format!("file://{}", plugin.display());
        let options = json!({ "env": {}, "guard": option(daemon.socket()) });
        let content = json!({ "plugin": [[plugin, options]] });
        let world = builder
            .env("OPENCODE_CONFIG_CONTENT", content.to_string())
            .env("npm_config_offline", "true")
            .build();
        let repo = repos(&world, &daemon);
        let server = world.bare(&repo);
        let oc = server.oc();
        Self { server, oc, repo, daemon, world, stage: None, _dir: dir }
    }

    fn lib(&self) -> PathBuf {
        self.world.repos().join("lib")
    }

    async fn session(&self) -> String {
        self.oc.create_session(&self.repo).await.unwrap()
    }

    fn finish(self) {
        drop(self.server);
        self.world.finish();
    }
}

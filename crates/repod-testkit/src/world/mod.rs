//! A world of its own for one end-to-end test: homes, repos, a model, and nobody left behind.
//!
//! Everything lies in one directory with a unique name. Every process of the world has that name
//! in its environment (HOME, XDG_*, REPOD_HOME, TMPDIR), which is how the end of the test finds
//! what was left behind, however it was daemonised.
#![expect(clippy::panic, reason = "a fixture that can't be built fails the test that wants it")]

mod command;
mod git;
mod leaks;

pub use command::{Cmd, Output, Running};
pub use leaks::WorldProcess;

use crate::bare::Bare;
use crate::config::{Permissions, provider_config_with};
use crate::model::ModelServer;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Longest root that leaves room for a Unix socket below it.
const ROOT_MAX: usize = 40;

/// Builds a [`World`] that differs from the usual one.
#[derive(Debug)]
pub struct WorldBuilder {
    repod: Option<PathBuf>,
    permissions: Permissions,
    config: Option<Value>,
    settings: Option<String>,
    env: Vec<(OsString, OsString)>,
}

impl WorldBuilder {
    /// What the user's configuration says about permissions; by default all is allowed.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Merged over the user's `opencode.json`, objects key by key.
    pub fn config(mut self, config: Value) -> Self {
        self.config = Some(config);
        self
    }

    /// The text of `repod.toml`.
    pub fn settings(mut self, toml: impl Into<String>) -> Self {
        self.settings = Some(toml.into());
        self
    }

    /// A variable for every command of the world.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// When `REPOD_OPENCODE` is unset, or the directories can't be made.
    pub fn build(self) -> World {
        World::new(self)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct World {
    repod: Option<PathBuf>,
    opencode: PathBuf,
    env: Vec<(OsString, OsString)>,
    root: PathBuf,
    model: ModelServer,
    closed: bool,
    /// Dropped last: the directory goes when nobody works in it any more.
    _dir: TempDir,
}

impl World {
    /// A world for this repod binary: `env!("CARGO_BIN_EXE_repod")`.
    pub fn builder(repod: impl Into<PathBuf>) -> WorldBuilder {
        WorldBuilder { repod: Some(repod.into()), ..Self::bare_builder() }
    }

    /// A world without repod, for OpenCode as it comes.
    pub fn bare_builder() -> WorldBuilder {
        WorldBuilder {
            repod: None,
            permissions: Permissions::Allow,
            config: None,
            settings: None,
            env: Vec::new(),
        }
    }

    fn new(builder: WorldBuilder) -> Self {
        let opencode = opencode_binary();
        let dir = short_temp_dir();
        let root = dir.path().canonicalize().expect("the directory was just made");
        let model = ModelServer::start().expect("a loopback port can be had");
        let world = Self {
            env: environment(&root, &opencode, search_path(builder.repod.is_none()), builder.env),
            repod: builder.repod,
            opencode,
            root,
            model,
            closed: false,
            _dir: dir,
        };
        let config_dir = world.home().join(".config/opencode");
        for dir in [&config_dir, &world.repod_home(), &world.repos(), &world.root.join("t")] {
            make_dir(dir);
        }
        let mut config = provider_config_with(world.model.url(), builder.permissions);
        if let Some(more) = &builder.config {
            merge(&mut config, more);
        }
        write(config_dir.join("opencode.json"), &format!("{config:#}\n"));
        write(world.home().join(".gitconfig"), git::CONFIG);
        if let Some(settings) = &builder.settings {
            write(world.repod_home().join("repod.toml"), settings);
        }
        // repod's home must be its owner's alone, and a umask would make it more.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs_err::set_permissions(world.repod_home(), private).expect("the directory is ours");
        world
    }

    /// The directory that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The user's home. The XDG directories are at their default places below it.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// repod's home.
    pub fn repod_home(&self) -> PathBuf {
        self.root.join("r")
    }

    /// The paths below repod's home.
    pub fn layout(&self) -> repod_proto::Home {
        repod_proto::Home::at(self.repod_home())
    }

    /// Where the repos are made.
    pub fn repos(&self) -> PathBuf {
        self.root.join("src")
    }

    /// The user's own OpenCode configuration file.
    pub fn user_config(&self) -> PathBuf {
        self.home().join(".config/opencode/opencode.json")
    }

    /// The model.
    pub fn model(&self) -> &ModelServer {
        &self.model
    }

    /// The OpenCode binary.
    pub fn opencode(&self) -> &Path {
        &self.opencode
    }

    /// The whole environment of the world's commands.
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// The repod binary with these arguments.
    ///
    /// # Panics
    /// In a world without repod.
    pub fn repod<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Cmd {
        let Some(repod) = &self.repod else { panic!("this world was made without repod") };
        self.command(repod).args(args)
    }

    /// Any program, in the world's environment and with the user's home as directory.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Cmd {
        Cmd::new(self.std_command(program))
    }

    pub(crate) fn std_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.iter().cloned()).current_dir(self.home());
        command
    }

    /// A bare `opencode serve` in `directory`, as a user without repod would start it.
    pub fn bare(&self, directory: &Path) -> Bare {
        Bare::start(self, directory)
    }

    /// Processes of this world that are there now.
    pub fn processes(&self) -> Vec<WorldProcess> {
        leaks::processes(&self.root)
    }

    /// Files the process has open.
    pub fn open_files(&self, pid: u32) -> Vec<PathBuf> {
        crate::proc::open_files(pid)
    }

    /// Ends the world: stops repod and its backends, and makes sure that no process is left.
    ///
    /// # Panics
    /// When one was left. It has been ended by then.
    pub fn finish(mut self) {
        self.close();
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let panicking = std::thread::panicking();
        if panicking {
            leaks::print_logs(&self.layout());
        }
        if let Some(repod) = self.repod.clone() {
            leaks::shutdown(self.std_command(repod));
        }
        let left = leaks::clear(&self.root);
        if left.is_empty() {
            return;
        }
        let list: String = left.iter().map(|process| format!("\n  {process}")).collect();
        let message = format!("the test left processes behind (ended now):{list}");
        if panicking {
            leaks::print(&message);
        } else {
            leaks::print_logs(&self.layout());
            panic!("{message}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.close();
    }
}

/// The OpenCode binary the tests run against.
///
/// # Panics
/// When `REPOD_OPENCODE` doesn't name a file.
fn opencode_binary() -> PathBuf {
    let Some(path) = std::env::var_os("REPOD_OPENCODE").map(PathBuf::from) else {
        panic!(
            "no OpenCode binary to test with: run ./test, which installs it, or set REPOD_OPENCODE"
        );
    };
    assert!(path.is_file(), "REPOD_OPENCODE names no file: {}", path.display());
    path.canonicalize().unwrap_or(path)
}

fn short_temp_dir() -> TempDir {
    let preferred = std::env::temp_dir();
    let parent = match preferred.as_os_str().len() + "/rw-123456".len() <= ROOT_MAX {
        true => preferred,
        false => PathBuf::from("/tmp"),
    };
    let made = tempfile::Builder::new().prefix("rw-").rand_bytes(6).tempdir_in(&parent);
    made.unwrap_or_else(|source| panic!("can't make a directory in {}: {source}", parent.display()))
}

/// The search path. repod finds a fetched ripgrep itself; an OpenCode without it has to be led there.
fn search_path(bare: bool) -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    let ripgrep = std::env::var_os("REPOD_RG").filter(|_| bare);
    if let Some(dir) = ripgrep.as_deref().and_then(|rg| Path::new(rg).parent()) {
        path.push(":");
        path.push(dir);
    }
    path
}

/// What the world's commands inherit: the search path and nothing else.
fn environment(
    root: &Path,
    opencode: &Path,
    path: OsString,
    more: Vec<(OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let home = root.join("home");
    let pairs: [(&str, OsString); 18] = [
        ("PATH", path),
        ("LANG", "C.UTF-8".into()),
        ("TERM", "dumb".into()),
        ("NO_COLOR", "1".into()),
        ("HOME", home.clone().into()),
        ("TMPDIR", root.join("t").into()),
        ("XDG_CONFIG_HOME", home.join(".config").into()),
        ("XDG_DATA_HOME", home.join(".local/share").into()),
        ("XDG_STATE_HOME", home.join(".local/state").into()),
        ("XDG_CACHE_HOME", home.join(".cache").into()),
        ("REPOD_HOME", root.join("r").into()),
        ("REPOD_OPENCODE", opencode.into()),
        ("GIT_CONFIG_GLOBAL", home.join(".gitconfig").into()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_AUTHOR_NAME", "Test".into()),
        ("GIT_AUTHOR_EMAIL", "test@localhost".into()),
        ("GIT_COMMITTER_NAME", "Test".into()),
        ("GIT_COMMITTER_EMAIL", "test@localhost".into()),
    ];
    pairs.into_iter().map(|(name, value)| (name.into(), value)).chain(more).collect()
}

fn make_dir(path: &Path) {
    fs_err::create_dir_all(path).unwrap_or_else(|source| panic!("{source}"));
}

fn write(path: PathBuf, text: &str) {
    fs_err::write(path, text).unwrap_or_else(|source| panic!("{source}"));
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

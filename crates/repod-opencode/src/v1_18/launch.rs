//! The launch recipe: everything that must lie on disk and in the environment before a backend is
//! started. It is repeated before every start, so it heals what was cut short.
//!
//! ```text
//! <state_dir>/                      repos/<repo_id>
//!   data/opencode/auth.json         -> the user's own (likewise mcp-auth.json)
//!   config/opencode/                links to the user's entries, and an npm stub
//!   config/repod/guard.js  npmrc    not loaded by OpenCode of itself
//!   cache/opencode/                 seeded from the user's
//!   state/
//! ```

use super::environment::{CONFIG_CONTENT, Environment};
use super::npm::Network;
use super::plugin::GUARD;
use super::user::{User, XDG_HOMES};
use super::{auth, cache, content, npm, overlay};
use crate::{Binary, files};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What a backend is to be started with.
#[derive(Clone)]
pub struct LaunchSpec {
    /// The OpenCode to run.
    pub binary: Binary,
    /// The repo's own directory (`repos/<repo_id>`); exists, open to this user alone.
    pub state_dir: PathBuf,
    /// The repo's root, the backend's working directory.
    pub root: PathBuf,
    /// repod's home.
    pub home: PathBuf,
    /// The loopback port to listen on.
    pub port: u16,
    /// The backend's password.
    pub password: String,
    /// Value of [`MARKER`](super::MARKER), inherited by all that descends from the backend.
    pub marker: String,
    /// How its guards reach repod; without it they guard nothing.
    pub guard: Option<Guard>,
    /// The user's environment.
    pub user_env: BTreeMap<OsString, OsString>,
    /// `[backend] env` of repod.toml.
    pub extra_env: BTreeMap<String, String>,
    /// `[backend] args` of repod.toml.
    pub extra_args: Vec<String>,
}

/// How the guards of a backend reach repod.
#[derive(Clone)]
pub struct Guard {
    /// repod's socket.
    pub socket: PathBuf,
    /// Who they are. A secret.
    pub token: String,
    /// Where repod puts copies of other repositories' files for them.
    pub stage: PathBuf,
    /// repod itself, for commands that another repository's backend runs.
    pub program: PathBuf,
}

impl fmt::Debug for LaunchSpec {
    // Without the password and without environments, which hold the user's keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchSpec")
            .field("binary", &self.binary)
            .field("state_dir", &self.state_dir)
            .field("root", &self.root)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A backend's command, ready to be spawned. Holds secrets: don't print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// The executable.
    pub program: OsString,
    /// Its arguments; no secret is among them.
    pub args: Vec<OsString>,
    /// The complete environment; nothing else is to be inherited.
    pub env: BTreeMap<OsString, OsString>,
    /// The working directory.
    pub cwd: PathBuf,
    /// What the user should know, one sentence each. Never a secret.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("cwd", &self.cwd)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Why a backend can't be launched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// OpenCode replaces the bytes that are not UTF-8 and then works in a directory that isn't
    /// there (1.18.33: it starts, and every command of the agent fails).
    #[error("the path `{}` is not UTF-8, which OpenCode can't work in", .0.display())]
    NotUtf8(PathBuf),
    /// There is no telling where the user's configuration lies.
    #[error("HOME is not an absolute path in the environment the backend is to get")]
    NoHome,
    /// `OPENCODE_CONFIG_CONTENT` can't be merged with what repod needs.
    #[error("OPENCODE_CONFIG_CONTENT can't be used: {0}")]
    ConfigContent(String),
    /// Reading the user's configuration or writing the backend's directories failed.
    #[error("the backend's directories can't be prepared: {0}")]
    Io(#[from] std::io::Error),
}

impl LaunchError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NotUtf8(_) => "rename the directory",
            Self::NoHome => "set HOME",
            Self::ConfigContent(_) => {
                "it must be one JSON object without comments and trailing commas; correct it, or unset it"
            }
            Self::Io(_) => "is the disk full, or a directory not yours?",
        }
        .to_owned()
    }
}

impl Launch {
    /// Brings the backend's directories in order and says how to start it.
    ///
    /// Blocks on the file system. May be repeated, and cut short, at any time; of one `state_dir`
    /// only one call may run at a time. Never writes into the repo. Of the user's own, it makes the
    /// data directory if that is missing, and in `~/.opencode`, if that is repod's home, an npm stub.
    ///
    /// # Errors
    /// See [`LaunchError`]. Nothing that only costs comfort is an error: it is among the warnings.
    pub fn prepare(spec: &LaunchSpec) -> Result<Self, LaunchError> {
        for path in [&spec.root, &spec.state_dir] {
            if path.to_str().is_none() {
                return Err(LaunchError::NotUtf8(path.clone()));
            }
        }
        let user = User::of(&spec.user_env, &spec.home).ok_or(LaunchError::NoHome)?;
        let mut warnings = Vec::new();
        let own = |dir: &str| spec.state_dir.join(dir);
        for (_, _, dir) in XDG_HOMES {
            files::private_dir(&own(dir))?;
            files::private_dir(&own(dir).join("opencode"))?;
        }
        auth::share(&own("data/opencode"), &user, &mut warnings)?;
        overlay::lay(&own("config/opencode"), &user.config, &spec.binary.version, &mut warnings)?;
        cache::seed(&own("cache/opencode"), &user, &spec.user_env, &mut warnings)?;

        let (guard, npmrc) = (own("config/repod/guard.js"), own("config/repod/npmrc"));
        files::private_dir(&own("config/repod"))?;
        files::write_if_different(&guard, GUARD.as_bytes())?;
        let network = Network::needed(&spec.root, &user.home, &mut warnings);
        npm::configure(&npmrc, &own("cache/opencode/packages"), network, &spec.user_env)?;
        if spec.home == user.home.join(".opencode") {
            npm::write_home_stub(&spec.home, &spec.binary.version)?;
        }

        let environment = Environment::of(spec, &npmrc, &mut warnings);
        let options = content::options(&environment.tools, spec.guard.as_ref());
        let content = content::merged(environment.content.as_deref(), &guard, &options)
            .map_err(LaunchError::ConfigContent)?;
        let mut env = environment.backend;
        env.insert(CONFIG_CONTENT.into(), content.into());

        let port = spec.port.to_string();
        let mut args: Vec<OsString> = Vec::new();
        args.extend(["serve", "--hostname", "127.0.0.1", "--port", &port].map(OsString::from));
        args.extend(spec.extra_args.iter().map(OsString::from));
        let program = spec.binary.path.clone().into_os_string();
        Ok(Self { program, args, env, cwd: spec.root.clone(), warnings })
    }
}

#[cfg(test)]
mod tests;

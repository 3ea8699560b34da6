//! Where things lie below repod's home. Paths only; nothing here touches the disk.

use crate::ids::RepoId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Longest path a Unix socket address can carry (`sun_path` is 108 bytes, one for the final NUL).
pub const SOCKET_PATH_MAX: usize = 107;

/// The layout of one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// `$REPOD_HOME`, or `.opencode` in the user's home directory. `lookup` reads the environment.
    ///
    /// `None` when neither says anything, or when it is not an absolute path.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name: &str| lookup(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = set("REPOD_HOME").or_else(|| set("HOME").map(|home| home.join(".opencode")))?;
        dir.is_absolute().then_some(Self { dir })
    }

    /// The home at `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("repod.sock")
    }

    /// Locked by the daemon for as long as it lives. Never unlinked.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("repod.lock")
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("repod.log")
    }

    /// The settings, all optional.
    pub fn settings(&self) -> PathBuf {
        self.dir.join("repod.toml")
    }

    /// What opens the port of the metrics, where one is configured.
    pub fn metrics_token(&self) -> PathBuf {
        self.dir.join("metrics.token")
    }

    /// The port of the dashboard, one decimal number.
    pub fn web_port(&self) -> PathBuf {
        self.dir.join("web.port")
    }

    /// A page that leads a browser to the dashboard without an argument that others could read.
    pub fn web_page(&self) -> PathBuf {
        self.dir.join("web.html")
    }

    /// The parent of every repo's directory.
    pub fn repos(&self) -> PathBuf {
        self.dir.join("repos")
    }

    /// What belongs to one repo.
    pub fn repo(&self, id: &RepoId) -> RepoDir {
        RepoDir { dir: self.repos().join(id.as_str()) }
    }
}

/// The layout of one repo's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoDir {
    dir: PathBuf,
}

impl RepoDir {
    /// The directory itself; the four XDG homes of the backend lie directly in it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The registry entry.
    pub fn endpoint(&self) -> PathBuf {
        self.dir.join("endpoint.json")
    }

    /// The endpoint's port, one decimal number.
    pub fn port(&self) -> PathBuf {
        self.dir.join("port")
    }

    /// Locked while a daemon manages this repo. Never unlinked.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// What is remembered of the repo: the journal of writes that crossed repos.
    pub fn database(&self) -> PathBuf {
        self.dir.join("repod.db")
    }

    /// Copies of other repos' files that calls of this one work on, until they are done.
    pub fn stage(&self) -> PathBuf {
        self.dir.join("stage")
    }

    /// What the backend used, measured every few seconds: one JSON object a line.
    pub fn memory_log(&self) -> PathBuf {
        self.dir.join("memory.jsonl")
    }

    /// Output of the backend.
    pub fn backend_log(&self) -> PathBuf {
        self.dir.join("log").join("backend.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_the_one_named_or_the_default() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| OsString::from(v))
        };
        let home = |pairs| Home::from_env(env(pairs)).map(|h| h.dir().to_owned());
        assert_eq!(home(&[("HOME", "/u")]), Some("/u/.opencode".into()));
        assert_eq!(home(&[("HOME", "/u"), ("REPOD_HOME", "/r")]), Some("/r".into()));
        assert_eq!(home(&[("HOME", "/u"), ("REPOD_HOME", "")]), Some("/u/.opencode".into()));
        assert_eq!(home(&[("REPOD_HOME", "relative")]), None);
        assert_eq!(home(&[]), None);
    }
}

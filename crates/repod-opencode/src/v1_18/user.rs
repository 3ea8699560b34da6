//! Whose environment it is: the user's own directories, seen from the variables a caller sent.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The four XDG homes and where they are by default, below `HOME`.
pub(super) const XDG_HOMES: [(&str, &str, &str); 4] = [
    ("XDG_DATA_HOME", ".local/share", "data"),
    ("XDG_CONFIG_HOME", ".config", "config"),
    ("XDG_CACHE_HOME", ".cache", "cache"),
    ("XDG_STATE_HOME", ".local/state", "state"),
];

/// The XDG homes of a backend whose own directory (`repos/<repo_id>`) this is: with them in its
/// environment, a command of OpenCode reads and writes what that backend keeps.
pub fn xdg_homes(state_dir: &Path) -> [(&'static str, OsString); 4] {
    XDG_HOMES.map(|(name, _, dir)| (name, state_dir.join(dir).into()))
}

/// The user's own database and data directory, as OpenCode outside repod has them in this environment. `None`
/// when `HOME` is no absolute path.
pub fn user_history(
    env: &BTreeMap<OsString, OsString>,
    repod_home: &Path,
) -> Option<(PathBuf, PathBuf)> {
    let data = User::of(env, repod_home)?.data;
    let named = env.get(OsStr::new("OPENCODE_DB")).filter(|name| !name.is_empty());
    // A database in memory is that of a client, which keeps nothing: the user's lies where it always does.
    let named = named.filter(|name| *name != ":memory:");
    Some((data.join(named.map_or(OsStr::new("opencode.db"), OsString::as_os_str)), data))
}

/// The user's own OpenCode directories.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) home: PathBuf,
    pub(super) data: PathBuf,
    pub(super) config: PathBuf,
    pub(super) cache: PathBuf,
}

impl User {
    /// `None` when `HOME` is no absolute path. Directories below `repod_home` are a backend's own,
    /// not the user's (the caller runs inside one): the defaults are taken for them.
    pub(super) fn of(env: &BTreeMap<OsString, OsString>, repod_home: &Path) -> Option<Self> {
        let home = absolute(env, "HOME")?;
        let dir = |name, default| {
            own_xdg(env, repod_home, name).unwrap_or_else(|| home.join(default)).join("opencode")
        };
        let [data, config, cache, _] = XDG_HOMES.map(|(name, default, _)| dir(name, default));
        Some(Self { home, data, config, cache })
    }
}

/// The value of an XDG variable, if it is the user's own and one the specification lets count.
pub(super) fn own_xdg(
    env: &BTreeMap<OsString, OsString>,
    repod_home: &Path,
    name: &str,
) -> Option<PathBuf> {
    absolute(env, name).filter(|dir| !dir.starts_with(repod_home.join("repos")))
}

fn absolute(env: &BTreeMap<OsString, OsString>, name: &str) -> Option<PathBuf> {
    env.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backends_own_directories_are_not_taken_for_the_users() {
        let env = |pairs: &[(&str, &str)]| -> BTreeMap<OsString, OsString> {
            pairs.iter().map(|(k, v)| (k.into(), v.into())).collect()
        };
        let home = Path::new("/u/.opencode");
        let user = User::of(
            &env(&[
                ("HOME", "/u"),
                ("XDG_DATA_HOME", "/u/.opencode/repos/a/data"),
                ("XDG_CONFIG_HOME", "/etc/mine"),
                ("XDG_CACHE_HOME", "relative"),
            ]),
            home,
        )
        .unwrap();
        assert_eq!(user.data, Path::new("/u/.local/share/opencode"));
        assert_eq!(user.config, Path::new("/etc/mine/opencode"));
        assert_eq!(user.cache, Path::new("/u/.cache/opencode"));
        assert!(User::of(&env(&[]), home).is_none());
        let database = |more: &[(&str, &str)]| {
            let all: Vec<_> = [("HOME", "/u")].iter().chain(more).copied().collect();
            user_history(&env(&all), home).unwrap().0
        };
        assert_eq!(database(&[]), Path::new("/u/.local/share/opencode/opencode.db"));
        assert_eq!(database(&[("OPENCODE_DB", ":memory:")]), database(&[]));
        assert_eq!(database(&[("OPENCODE_DB", "/x/y.db")]), Path::new("/x/y.db"));
        assert_eq!(database(&[("OPENCODE_DB", "z.db")]).parent(), database(&[]).parent());
    }
}

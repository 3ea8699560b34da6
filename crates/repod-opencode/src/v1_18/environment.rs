//! The backend's environment: the user's, with repod's isolation laid over it; and what of that
//! the agent's tools must not feel.

use super::launch::LaunchSpec;
use super::user::{XDG_HOMES, own_xdg};
use super::{MARKER, USERNAME, npm};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;

pub(super) const CONFIG_CONTENT: &str = "OPENCODE_CONFIG_CONTENT";
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";
const SERVER_USERNAME: &str = "OPENCODE_SERVER_USERNAME";

/// Dropped without a word: set by OpenCode for its children, by repod, or about a TUI or server
/// that is not this one.
const DROPPED_SILENTLY: [&str; 9] = [
    "OPENCODE",
    "OPENCODE_PID",
    "OPENCODE_CLIENT",
    "OPENCODE_ROUTE",
    "OPENCODE_BIN_PATH",
    "OPENCODE_DB",
    "OPENCODE_DISABLE_AUTOUPDATE",
    "OPENCODE_WORKSPACE_ID",
    CONFIG_CONTENT,
];

/// Handed down by systemd to the daemon, and meant for it alone; and the caller's directory.
const NOT_INHERITED: [&str; 8] = [
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "AGENT",
    "OLDPWD",
];

/// `[backend] env` can't set these: they are the isolation itself, or would turn the guard off.
const RESERVED: [&str; 6] =
    [PASSWORD, SERVER_USERNAME, MARKER, "OPENCODE_DB", "OPENCODE_PURE", npm::GLOBAL_CONFIG];

/// A backend's environment in the making.
pub(super) struct Environment {
    /// Complete but for [`CONFIG_CONTENT`].
    pub(super) backend: BTreeMap<OsString, OsString>,
    /// What tools and terminals get instead; empty means unset.
    pub(super) tools: BTreeMap<String, String>,
    /// The value to merge into [`CONFIG_CONTENT`].
    pub(super) content: Option<OsString>,
}

impl Environment {
    pub(super) fn of(spec: &LaunchSpec, npmrc: &Path, warnings: &mut Vec<String>) -> Self {
        let user = &spec.user_env;
        let mut backend = inherited(user, warnings);
        let mut tools = Tools { user, values: BTreeMap::new(), unreadable: BTreeSet::new() };

        // OpenCode's own `git status` must not take the index lock of the user's repo.
        backend.insert("GIT_OPTIONAL_LOCKS".into(), "0".into());
        // The agent's own `git status` keeps it too: it loses nothing but a refreshed index, and the
        // user's `git commit` beside it never finds an `index.lock`.
        tools.give_back("GIT_OPTIONAL_LOCKS", "0");
        backend.insert("OPENCODE_DISABLE_AUTOUPDATE".into(), "1".into());
        tools.give_back("OPENCODE_DISABLE_AUTOUPDATE", "");
        if user.contains_key(OsStr::new("REPOD_HOME")) {
            // A `repod` the agent calls means the user's home.
            tools.give_back("REPOD_HOME", "");
        }
        // What OpenCode takes for its directory is $PWD where that is set.
        backend.insert("PWD".into(), spec.root.clone().into());

        for (name, value) in &spec.extra_env {
            if RESERVED.contains(&name.as_str()) || XDG_HOMES.iter().any(|(xdg, ..)| xdg == name) {
                warnings.push(format!("`{name}` in `[backend] env` is ignored: repod sets it"));
                continue;
            }
            // What is configured for the backend is meant for its tools too.
            tools.values.remove(name);
            backend.insert(name.into(), value.into());
        }

        for (name, _, dir) in XDG_HOMES {
            backend.insert(name.into(), spec.state_dir.join(dir).into());
            if own_xdg(user, &spec.home, name).is_some() {
                tools.give_back(name, "");
            } else {
                tools.values.insert(name.to_owned(), String::new());
            }
        }
        for name in npm::global_config_names(user) {
            backend.remove(name);
            if let Some(name) = name.to_str() {
                tools.give_back(name, "");
            }
        }
        backend.insert(npm::GLOBAL_CONFIG.into(), npmrc.into());
        tools.give_back(npm::GLOBAL_CONFIG, "");
        for (name, value) in [
            (PASSWORD, spec.password.as_str()),
            (SERVER_USERNAME, USERNAME),
            (MARKER, &spec.marker),
        ] {
            backend.insert(name.into(), value.into());
        }
        for secret in [PASSWORD, SERVER_USERNAME, CONFIG_CONTENT] {
            tools.values.insert(secret.to_owned(), String::new());
        }

        let content = backend
            .remove(OsStr::new(CONFIG_CONTENT))
            .or_else(|| user.get(OsStr::new(CONFIG_CONTENT)).cloned());
        for name in tools.unreadable {
            warnings.push(format!("tools don't get `{name}` back: its value is not UTF-8"));
        }
        Self { backend, tools: tools.values, content }
    }
}

/// The user's environment without what belongs to another OpenCode or to repod.
fn inherited(
    user: &BTreeMap<OsString, OsString>,
    warnings: &mut Vec<String>,
) -> BTreeMap<OsString, OsString> {
    let mut dropped = Vec::new();
    let kept = user.iter().filter(|(name, _)| {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"OPENCODE_") || bytes == b"OPENCODE" {
            let text = name.to_string_lossy();
            let silently = DROPPED_SILENTLY.contains(&&*text)
                || text.starts_with("OPENCODE_SERVER_")
                || text.starts_with("OPENCODE_TUI_");
            if !silently {
                dropped.push(text.into_owned());
            }
            return false;
        }
        !bytes.starts_with(b"REPOD_")
            && !NOT_INHERITED.iter().any(|other| OsStr::new(other) == *name)
    });
    let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !dropped.is_empty() {
        // Never the values: OPENCODE_AUTH_CONTENT is one of them.
        warnings.push(format!(
            "not passed on from your environment: {}; what every backend is to have belongs in \
             `[backend] env` of repod.toml",
            dropped.join(", ")
        ));
    }
    kept
}

struct Tools<'a> {
    user: &'a BTreeMap<OsString, OsString>,
    values: BTreeMap<String, String>,
    unreadable: BTreeSet<String>,
}

impl Tools<'_> {
    /// Tools get the user's value, or `unset` where there was none.
    fn give_back(&mut self, name: &str, unset: &str) {
        let value = match self.user.get(OsStr::new(name)).map(|value| value.to_str()) {
            Some(Some(value)) => value,
            Some(None) => {
                self.unreadable.insert(name.to_owned());
                unset
            }
            None => unset,
        };
        self.values.insert(name.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
mod tests;

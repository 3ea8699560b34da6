//! Keeps npm off the way: no start and no first request waits for the network unasked.
//!
//! OpenCode 1.18 npm-installs `@opencode-ai/plugin` into every config directory (its own, each
//! `.opencode` of a project, `~/.opencode`), and as soon as any plugin is loaded, which the guard
//! is, the first request waits for that: 3.6 s online, 70 s behind a dead registry. It installs
//! into a writable directory when there is no `node_modules`, or when `package.json` (plus that
//! package) names one that the root entry of `package-lock.json` doesn't.
//!
//! It reads npm's configuration for each install afresh, with npm's own precedence (environment >
//! project `.npmrc` > user > global). So `offline` is set in the weakest layer, a global npmrc of
//! repod's, and taken back by a project `.npmrc` in `cache/opencode/packages`, where plugins,
//! providers and language servers are installed: what the user's config names by itself is still
//! fetched. `npm_config_offline` in the environment would have stopped that too.

use super::PLUGIN_PACKAGE;
use crate::files;
use semver::Version;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// The variable that names npm's weakest layer.
pub(super) const GLOBAL_CONFIG: &str = "npm_config_globalconfig";
/// Says in a `package.json` that it may be rewritten.
const STUB_MARK: &str = "a stub of repod's: keeps OpenCode from installing packages here";
/// More of a source file is not searched for imports.
const SOURCE_MAX: usize = 256 * 1024;

/// Whether config directories may be npm-installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// Never: nothing in them needs a package.
    Off,
    /// When something is missing, from npm's cache first, and not for long.
    WhenMissing,
}

impl Network {
    /// What the project and `~/.opencode` need. A project that asks for packages is left to npm even
    /// if they are installed in `root`: its other worktrees have no `node_modules`.
    pub(super) fn needed(root: &Path, user_home: &Path, warnings: &mut Vec<String>) -> Self {
        let mut needed = Self::Off;
        for dir in [root.join(".opencode"), user_home.join(".opencode")] {
            let asked = asked(&dir);
            if asked.is_empty() {
                continue;
            }
            needed = Self::WhenMissing;
            let missing = missing(&dir, &asked);
            if !missing.is_empty() {
                warnings.push(format!(
                    "`{}` needs {}, not installed there: the first request waits while OpenCode \
                     asks npm for it (10 s at most without network); `npm install` there once \
                     avoids that",
                    dir.display(),
                    listed(&missing)
                ));
            }
        }
        needed
    }

    /// The text of the global npmrc. A global npmrc the user's environment names keeps its say.
    fn npmrc(self, users: &str) -> String {
        let ours = match self {
            Self::Off => "offline=true\n",
            Self::WhenMissing => "prefer-offline=true\n",
        };
        // One try, 10 s: npm's own defaults add up to minutes.
        format!("{users}\nfetch-retries=0\nfetch-timeout=10000\n{ours}")
    }
}

/// Writes the global npmrc and the project npmrc of `packages`.
pub(super) fn configure(
    npmrc: &Path,
    packages: &Path,
    network: Network,
    env: &BTreeMap<OsString, OsString>,
) -> io::Result<()> {
    let users: String = global_config_names(env)
        .filter_map(|name| fs_err::read_to_string(env.get(name)?).ok())
        .collect();
    files::write_if_different(npmrc, network.npmrc(&users).as_bytes())?;
    // npm takes the nearest directory with a `package.json` for the project.
    files::write_if_different(&packages.join("package.json"), b"{}\n")?;
    files::write_if_different(&packages.join(".npmrc"), b"offline=false\n")
}

/// The user's spellings of [`GLOBAL_CONFIG`]: npm takes any.
pub(super) fn global_config_names(
    env: &BTreeMap<OsString, OsString>,
) -> impl Iterator<Item = &OsString> {
    env.keys().filter(|name| name.eq_ignore_ascii_case(GLOBAL_CONFIG))
}

/// Makes a config directory look installed, with nothing in it.
pub(super) fn write_stub(dir: &Path, version: &Version) -> io::Result<()> {
    let dependencies = json!({ PLUGIN_PACKAGE: version.to_string() });
    let lock = json!({
        "name": "opencode",
        "lockfileVersion": 3,
        "requires": true,
        "packages": { "": { "dependencies": dependencies } },
    });
    let package = json!({ "description": STUB_MARK, "dependencies": dependencies });
    // The mark goes first: a stub that was cut short is known as one, and completed.
    files::write_if_different(&dir.join("package.json"), format!("{package}\n").as_bytes())?;
    files::write_if_different(&dir.join("package-lock.json"), format!("{lock}\n").as_bytes())?;
    files::new_dir(&dir.join("node_modules"))
}

/// The stub for `~/.opencode`, which is a config directory of OpenCode's as well as repod's default
/// home. Only where the user has nothing that npm or an import could look for.
pub(super) fn write_home_stub(dir: &Path, version: &Version) -> io::Result<()> {
    let package = read_json(&dir.join("package.json"));
    let ours = package.as_ref().and_then(|p| p.get("description")) == Some(&json!(STUB_MARK));
    let untouched = ["package.json", "package-lock.json", "node_modules"]
        .iter()
        .chain(&SOURCE_DIRS)
        .all(|name| fs_err::symlink_metadata(dir.join(name)).is_err());
    if ours || untouched { write_stub(dir, version) } else { Ok(()) }
}

/// The user's plugins and tools resolve packages beside their real files, where nothing is
/// installed for them when OpenCode itself never ran there.
pub(super) fn warn_of_missing_packages(dir: &Path, version: &Version, warnings: &mut Vec<String>) {
    let asked = asked(dir);
    let missing = missing(dir, &asked);
    if missing.is_empty() {
        return;
    }
    let mut command = format!("npm install --prefix {}", dir.display());
    if missing.iter().any(|name| *name == PLUGIN_PACKAGE) {
        command.push_str(&format!(" {PLUGIN_PACKAGE}@{version}"));
    }
    warnings.push(format!(
        "`{}` needs {}, not installed there: its plugins and tools that import it fail; run \
         `{command}`",
        dir.display(),
        listed(&missing)
    ));
}

/// Where plugins and tools lie in a config directory.
const SOURCE_DIRS: [&str; 4] = ["plugin", "plugins", "tool", "tools"];

/// The packages a config directory asks for: by its `package.json`, and `@opencode-ai/plugin` when
/// a plugin or tool imports more than types from it.
fn asked(dir: &Path) -> BTreeSet<String> {
    let package = read_json(&dir.join("package.json")).unwrap_or_default();
    let mut asked: BTreeSet<String> =
        ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"]
            .iter()
            .filter_map(|kind| package.get(kind)?.as_object())
            .flat_map(|packages| packages.keys().cloned())
            .filter(|name| name != PLUGIN_PACKAGE)
            .collect();
    let imported = SOURCE_DIRS.iter().any(|name| {
        // A directory that can't be read is OpenCode's to complain about.
        let sources = files::entries(&dir.join(name)).unwrap_or_default();
        sources.iter().any(|source| imports_plugin_package(source))
    });
    if imported {
        asked.insert(PLUGIN_PACKAGE.to_owned());
    }
    asked
}

fn imports_plugin_package(source: &Path) -> bool {
    let script = source.extension().is_some_and(|kind| kind == OsStr::new("ts") || kind == "js");
    let Some(text) = script.then(|| fs_err::read(source).ok()).flatten() else {
        return false;
    };
    let text = String::from_utf8_lossy(text.get(..SOURCE_MAX).unwrap_or(&text)).into_owned();
    text.lines().map(str::trim_start).any(|line| {
        line.contains(PLUGIN_PACKAGE) && !line.starts_with("import type") && !line.starts_with("//")
    })
}

fn missing<'a>(dir: &Path, asked: &'a BTreeSet<String>) -> Vec<&'a String> {
    let modules = dir.join("node_modules");
    asked.iter().filter(|name| !modules.join(name).exists()).collect()
}

fn listed(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests;

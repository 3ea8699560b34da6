//! Which `opencode` is run: found once, resolved to the executable itself, its version known
//! without running it where that is possible.

mod version;

use semver::Version;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// An OpenCode executable of a version repod supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The executable: canonical, and the platform's own binary where an npm wrapper was found.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
}

/// Why there is no usable `opencode`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// None was found.
    #[error("{}", missing(.setting.as_deref()))]
    Missing {
        /// What was asked for by name or path; `None` when the `PATH` was searched.
        setting: Option<PathBuf>,
    },
    /// What was named is repod's own shim, which would start repod again.
    #[error("`{}` is repod itself, not OpenCode", .path.display())]
    IsRepod {
        /// The path that was named.
        path: PathBuf,
    },
    /// It is too old, or of a generation repod doesn't know.
    #[error("`{}` is OpenCode {version}, which repod doesn't support", .path.display())]
    Unsupported {
        /// The executable.
        path: PathBuf,
        /// What it says it is.
        version: Version,
    },
    /// Its version could not be learned.
    #[error("`{}` did not tell its version: {reason}", .path.display())]
    Unreadable {
        /// The executable.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
}

fn missing(setting: Option<&Path>) -> String {
    match setting {
        Some(path) => format!("no executable `{}`", path.display()),
        None => "no `opencode` on the PATH".to_owned(),
    }
}

impl BinaryError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { setting: None } => {
                "install OpenCode 1.18 or newer 1.x, or name it: REPOD_OPENCODE, or `[backend] opencode` in repod.toml"
            }
            Self::Missing { .. } => {
                "name an executable in `[backend] opencode` of repod.toml or in REPOD_OPENCODE, or unset both to search the PATH"
            }
            Self::IsRepod { .. } => {
                "name the real OpenCode in `[backend] opencode` of repod.toml or in REPOD_OPENCODE"
            }
            Self::Unsupported { .. } => "repod needs OpenCode 1.18 or newer 1.x",
            Self::Unreadable { .. } => "does `opencode --version` work in a terminal?",
        }
        .to_owned()
    }
}

/// Whether repod supports this version of OpenCode (`1.18.33`): 1.18.0 or newer, and 1.x.
pub fn is_supported(version: &str) -> bool {
    Version::parse(version.trim()).is_ok_and(|version| supports(&version))
}

fn supports(version: &Version) -> bool {
    // A pre-release of 1.18.0 sorts below it and is refused; one of 2.0.0 has major 2.
    version.major == 1 && *version >= Version::new(1, 18, 0)
}

impl Binary {
    /// Finds the `opencode` to run: the one set in repod.toml, else `REPOD_OPENCODE` of `env`, else
    /// the first on the `PATH` of `env` that is not repod's own shim.
    ///
    /// Blocks: it reads files, and where there is no npm package it runs `opencode --version`
    /// (0.6 s, 10 s at most), once per file and process.
    ///
    /// # Errors
    /// None there, or none of a version repod supports.
    pub fn locate(
        setting: Option<&Path>,
        env: &BTreeMap<OsString, OsString>,
    ) -> Result<Self, BinaryError> {
        let path = Self::find(setting, env)?;
        let search = env.get(OsStr::new("PATH"));
        let version = version::of(&path, search)
            .map_err(|reason| BinaryError::Unreadable { path: path.clone(), reason })?;
        if !supports(&version) {
            return Err(BinaryError::Unsupported { path, version });
        }
        Ok(Self { path, version })
    }

    /// The version of the executable at this canonical path, where its package tells. Runs nothing.
    pub fn told_version(path: &Path) -> Option<Version> {
        version::told(path)
    }

    /// Like [`locate`](Self::locate), but any version will do, and none is asked for: for what is
    /// handed on to the user's own `opencode` as it is. Runs nothing.
    ///
    /// # Errors
    /// None there, or only repod's own shim.
    pub fn find(
        setting: Option<&Path>,
        env: &BTreeMap<OsString, OsString>,
    ) -> Result<PathBuf, BinaryError> {
        let named = setting.map(Path::as_os_str).or_else(|| {
            env.get(OsStr::new("REPOD_OPENCODE")).map(OsString::as_os_str).filter(|v| !v.is_empty())
        });
        let search = env.get(OsStr::new("PATH"));
        let found = match named {
            Some(name) => {
                let found = candidates(name, search).next();
                let missing = || BinaryError::Missing { setting: Some(name.into()) };
                let path = found.ok_or_else(missing)?;
                if is_repod(&path) {
                    return Err(BinaryError::IsRepod { path: name.into() });
                }
                path
            }
            None => candidates(OsStr::new("opencode"), search)
                .find(|path| !is_repod(path))
                .ok_or(BinaryError::Missing { setting: None })?,
        };
        Ok(version::platform_binary(found))
    }
}

/// Executables of this name or path, canonical, in the order of the search path.
fn candidates(name: &OsStr, search: Option<&OsString>) -> impl Iterator<Item = PathBuf> {
    // A relative path has no meaning in a daemon: it is resolved against the root.
    which::which_in_all(name, search, "/")
        .into_iter()
        .flatten()
        .filter_map(|path| fs_err::canonicalize(path).ok())
}

/// Whether this canonical path is the repod binary: the shim is a link to it, under the name
/// `opencode`.
pub fn is_repod(canonical: &Path) -> bool {
    canonical.file_name() == Some(OsStr::new("repod"))
        || std::env::current_exe().and_then(fs_err::canonicalize).is_ok_and(|own| own == canonical)
}

#[cfg(test)]
mod tests;

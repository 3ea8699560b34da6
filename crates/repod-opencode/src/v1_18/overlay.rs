//! The backend's own config directory: the user's entries by link, beside a stub that keeps
//! OpenCode from npm-installing into it.

use super::npm;
use crate::files::{self, Linked};
use semver::Version;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// What npm and OpenCode write into a config directory; never the user's.
const NOT_LINKED: [&str; 6] =
    ["package.json", "package-lock.json", "bun.lock", "bun.lockb", "node_modules", ".gitignore"];

/// Brings `own` (the backend's `config/opencode`) in line with `user` (`~/.config/opencode`).
///
/// Plugins there that import packages of the user's own `node_modules` work: OpenCode's runtime
/// resolves imports from a file's real path.
pub(super) fn lay(
    own: &Path,
    user: &Path,
    version: &Version,
    warnings: &mut Vec<String>,
) -> io::Result<()> {
    files::private_dir(own)?;
    npm::write_stub(own, version)?;
    let wanted: BTreeSet<_> = files::entries(user)?
        .iter()
        .filter_map(|entry| entry.file_name())
        .filter(|name| !NOT_LINKED.iter().any(|other| OsStr::new(other) == *name))
        .map(OsStr::to_owned)
        .collect();
    files::clear_temporary(own)?;
    for entry in files::entries(own)? {
        let Some(name) = entry.file_name() else {
            continue;
        };
        if !wanted.contains(name) && fs_err::symlink_metadata(&entry)?.is_symlink() {
            fs_err::remove_file(&entry)?;
        }
    }
    for name in wanted {
        let (link, target) = (own.join(&name), user.join(&name));
        if files::link(&link, &target)? == Linked::Occupied {
            // `PATCH /global/config` writes such a file while the user has none of that name.
            warnings.push(format!(
                "`{}` hides your own `{}`: it was written in this backend; move what you need of \
                 it to yours and remove it",
                link.display(),
                target.display()
            ));
        }
    }
    npm::warn_of_missing_packages(user, version, warnings);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version::new(1, 18, 33);

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = files::entries(dir)
            .unwrap()
            .iter()
            .map(|e| e.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_users_entries_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (own, user) = (dir.path().join("own"), dir.path().join("user"));
        fs_err::create_dir_all(user.join("agents")).unwrap();
        fs_err::create_dir_all(user.join("node_modules")).unwrap();
        for name in ["opencode.json", "package.json", ".gitignore", "AGENTS.md"] {
            fs_err::write(user.join(name), "{}").unwrap();
        }
        let mut warnings = Vec::new();
        lay(&own, &user, &VERSION, &mut warnings).unwrap();
        let stub = ["node_modules", "opencode.json", "package-lock.json", "package.json"];
        let expected: Vec<&str> = ["AGENTS.md", "agents"].into_iter().chain(stub).collect();
        assert_eq!(names(&own), expected);
        assert!(fs_err::read_to_string(own.join("package.json")).unwrap().contains("1.18.33"));
        assert!(files::entries(&own.join("node_modules")).unwrap().is_empty());

        fs_err::remove_file(user.join("AGENTS.md")).unwrap();
        fs_err::write(user.join("opencode.jsonc"), "{}").unwrap();
        fs_err::write(own.join("tui.json"), "written by the backend").unwrap();
        fs_err::write(user.join("tui.json"), "written by the user").unwrap();
        fs_err::create_dir(own.join(".repod-tmp-crashed")).unwrap();
        lay(&own, &user, &VERSION, &mut warnings).unwrap();
        let names = names(&own);
        assert!(!names.contains(&"AGENTS.md".to_owned()), "{names:?}");
        assert!(names.contains(&"opencode.jsonc".to_owned()), "{names:?}");
        assert!(!names.contains(&".repod-tmp-crashed".to_owned()), "{names:?}");
        assert_eq!(fs_err::read_to_string(own.join("tui.json")).unwrap(), "written by the backend");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("tui.json"));
    }

    #[test]
    fn no_config_of_the_users_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        lay(&own, &dir.path().join("none"), &VERSION, &mut Vec::new()).unwrap();
        assert_eq!(names(&own), ["node_modules", "package-lock.json", "package.json"]);
    }
}

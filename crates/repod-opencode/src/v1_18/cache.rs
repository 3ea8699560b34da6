//! What would otherwise be downloaded once per repo comes from the user's own cache: the model
//! catalogue, npm packages of plugins and providers, ripgrep.

use super::user::User;
use crate::files::{self, Linked};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// Fills `cache` (the backend's own `cache/opencode`) with what it doesn't have yet.
pub(super) fn seed(
    cache: &Path,
    user: &User,
    env: &BTreeMap<OsString, OsString>,
    warnings: &mut Vec<String>,
) -> io::Result<()> {
    files::private_dir(&cache.join("bin"))?;
    files::private_dir(&cache.join("packages"))?;
    // A seed that fails costs a download, not the start.
    if let Err(error) = seed_models(cache, user) {
        warnings.push(format!("the model catalogue could not be taken over: {error}"));
    }
    if let Err(error) = seed_packages(&user.cache.join("packages"), &cache.join("packages")) {
        warnings.push(format!("npm packages could not be taken over from your cache: {error}"));
    }
    provide_ripgrep(&cache.join("bin/rg"), user, env, warnings)
}

fn seed_models(cache: &Path, user: &User) -> io::Result<()> {
    let (from, to) = (user.cache.join("models.json"), cache.join("models.json"));
    if to.exists() || !from.exists() {
        return Ok(());
    }
    files::write_if_different(&to, &fs_err::read(from)?)
}

/// Packages lie in `packages/<spec>` or `packages/@scope/<spec>`.
fn seed_packages(from: &Path, to: &Path) -> io::Result<()> {
    files::clear_temporary(to)?;
    for package in files::entries(from)? {
        let Some(name) = package.file_name() else {
            continue;
        };
        let to = to.join(name);
        if name.as_encoded_bytes().starts_with(b"@") {
            files::clear_temporary(&to)?;
            for scoped in files::entries(&package)? {
                let Some(name) = scoped.file_name() else {
                    continue;
                };
                seed_package(&scoped, &to, name)?;
            }
        } else if let Some(dir) = to.parent() {
            seed_package(&package, dir, name)?;
        }
    }
    Ok(())
}

fn seed_package(from: &Path, dir: &Path, name: &OsStr) -> io::Result<()> {
    let to = dir.join(name);
    // An install that failed leaves an empty directory behind.
    if !from.join("node_modules").is_dir() || to.join("node_modules").exists() {
        return Ok(());
    }
    files::private_dir(dir)?;
    // Complete first, then visible: a crash leaves no half package for OpenCode to trust.
    let holder = tempfile::Builder::new().prefix(files::TEMPORARY).tempdir_in(dir)?;
    let fresh = holder.path().join("package");
    clone_tree(from, &fresh)?;
    match fs_err::rename(&fresh, &to) {
        // Not empty: OpenCode is at it itself.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done,
    }
}

/// Hard links where that is possible: npm replaces files, it doesn't write into them.
fn clone_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::create_dir(to)?;
    for entry in files::entries(from)? {
        let Some(name) = entry.file_name() else {
            continue;
        };
        let copy = to.join(name);
        let kind = fs_err::symlink_metadata(&entry)?.file_type();
        if kind.is_dir() {
            clone_tree(&entry, &copy)?;
        } else if kind.is_symlink() {
            fs_err::os::unix::fs::symlink(fs_err::read_link(&entry)?, &copy)?;
        } else if kind.is_file() && fs_err::hard_link(&entry, &copy).is_err() {
            fs_err::copy(&entry, &copy)?;
        }
    }
    Ok(())
}

/// OpenCode looks on the PATH, then at `cache/opencode/bin/rg`, then it downloads.
fn provide_ripgrep(
    at: &Path,
    user: &User,
    env: &BTreeMap<OsString, OsString>,
    warnings: &mut Vec<String>,
) -> io::Result<()> {
    let search = env.get(OsStr::new("PATH"));
    if which::which_in("rg", search, "/").is_ok() {
        return Ok(());
    }
    let given = env.get(OsStr::new("REPOD_RG")).map(PathBuf::from);
    let own =
        [Some(user.cache.join("bin/rg")), given].into_iter().flatten().find(|rg| rg.is_file());
    match own {
        Some(rg) => {
            // Occupied: OpenCode downloaded one, which serves as well.
            let (Linked::Done | Linked::Occupied) = files::link(at, &rg)?;
        }
        None if at.is_file() => {}
        None => warnings.push(
            "no `rg` (ripgrep) was found: each backend will download its own, and offline the \
             grep and glob tools fail; install ripgrep or set REPOD_RG to its path"
                .to_owned(),
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn user(root: &Path) -> User {
        let dir = |name: &str| root.join(name);
        User { home: dir("h"), data: dir("d"), config: dir("c"), cache: dir("user-cache") }
    }

    fn put(path: &Path) {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }

    #[test]
    fn the_users_packages_are_linked_once_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let user = user(dir.path());
        let cache = dir.path().join("cache/opencode");
        let packages = user.cache.join("packages");
        put(&user.cache.join("models.json"));
        put(&packages.join("plug@1.0.0/node_modules/plug/index.js"));
        put(&packages.join("@scope/other@latest/node_modules/@scope/other/index.js"));
        put(&packages.join("failed@1/package.json"));
        // A failed install of the backend's own.
        fs_err::create_dir_all(cache.join("packages/plug@1.0.0")).unwrap();
        let mut warnings = Vec::new();
        let env = BTreeMap::from([("PATH".into(), "/nonexistent".into())]);
        for _ in 0..2 {
            seed(&cache, &user, &env, &mut warnings).unwrap();
        }
        let plug = cache.join("packages/plug@1.0.0/node_modules/plug/index.js");
        assert_eq!(fs_err::metadata(&plug).unwrap().nlink(), 2);
        assert!(cache.join("packages/@scope/other@latest/node_modules/@scope/other").is_dir());
        assert!(!cache.join("packages/failed@1").exists());
        assert_eq!(fs_err::read_to_string(cache.join("models.json")).unwrap(), "models.json");
        assert_eq!(files::entries(&cache.join("packages")).unwrap().len(), 2);
        assert!(warnings[0].contains("REPOD_RG"), "{warnings:?}");
    }

    #[test]
    fn ripgrep_comes_from_the_users_cache_when_it_is_not_on_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let user = user(dir.path());
        let cache = dir.path().join("cache/opencode");
        put(&user.cache.join("bin/rg"));
        let env = BTreeMap::from([("PATH".into(), "/nonexistent".into())]);
        let mut warnings = Vec::new();
        seed(&cache, &user, &env, &mut warnings).unwrap();
        assert_eq!(fs_err::read_link(cache.join("bin/rg")).unwrap(), user.cache.join("bin/rg"));
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

//! Where the shim lies: a link named `opencode` to the repod binary, in a directory that is to come
//! first on the `PATH`.

use repod_client::{ApiError, ErrorCode, Home, prepare_home};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The name under which the binary is the shim.
pub(crate) const NAME: &str = "opencode";

/// What lies where the shim belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A link to this binary, or to another repod that is there.
    Shim {
        /// The binary.
        target: PathBuf,
    },
    /// A link to a repod that is there no more.
    Dangling,
    /// Something else, which is never touched.
    Stranger,
}

/// The default directory.
pub(crate) fn default_dir(home: &Home) -> PathBuf {
    home.dir().join("shim")
}

/// Looks.
pub(crate) fn look(dir: &Path) -> Result<Found, ApiError> {
    let link = dir.join(NAME);
    let to = match fs_err::read_link(&link) {
        Ok(to) => to,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(_) if fs_err::symlink_metadata(&link).is_ok() => return Ok(Found::Stranger),
        Err(error) => return Err(failed(&error)),
    };
    match fs_err::canonicalize(&link) {
        Ok(target) if repod_opencode::is_repod(&target) => Ok(Found::Shim { target }),
        Err(_) if to.file_name() == Some(OsStr::new("repod")) => Ok(Found::Dangling),
        _ => Ok(Found::Stranger),
    }
}

/// Makes the link, or turns one that is there to this binary.
pub(crate) fn install(home: &Home, dir: &Path) -> Result<(), ApiError> {
    let own = std::env::current_exe().and_then(fs_err::canonicalize).map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("can't find my own binary: {error}"))
            .hint("was repod replaced just now? try again")
    })?;
    match look(dir)? {
        Found::Shim { target } if target == own => return Ok(()),
        Found::Stranger => {
            let message = format!("`{}` is not repod's: it is kept", dir.join(NAME).display());
            return Err(ApiError::new(ErrorCode::StateForeign, message)
                .hint("name another directory with `--dir`"));
        }
        Found::Nothing | Found::Shim { .. } | Found::Dangling => {}
    }
    if dir.starts_with(home.dir()) {
        prepare_home(home)?;
    }
    fs_err::create_dir_all(dir).map_err(|error| failed(&error))?;
    // Under a name of its own and then renamed: there is never a moment without an `opencode`.
    let fresh = dir.join(format!(".{NAME}.{}", std::process::id()));
    let _ = fs_err::remove_file(&fresh);
    symlink(&own, &fresh).map_err(|error| failed(&error))?;
    fs_err::rename(&fresh, dir.join(NAME)).map_err(|error| failed(&error))
}

/// Removes the link, and the directory if that was all. Whether there was one.
pub(crate) fn uninstall(dir: &Path) -> Result<bool, ApiError> {
    match look(dir)? {
        Found::Nothing => Ok(false),
        Found::Stranger => {
            let message = format!("`{}` is not repod's: it is kept", dir.join(NAME).display());
            Err(ApiError::new(ErrorCode::StateForeign, message))
        }
        Found::Shim { .. } | Found::Dangling => {
            fs_err::remove_file(dir.join(NAME)).map_err(|error| failed(&error))?;
            let _ = fs_err::remove_dir(dir);
            Ok(true)
        }
    }
}

/// The executables named `opencode` on the search path, in its order.
pub(crate) fn on_path(search: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    let dirs: Vec<PathBuf> = search.map(|s| std::env::split_paths(s).collect()).unwrap_or_default();
    dirs.into_iter().filter(|dir| dir.is_absolute()).map(|dir| dir.join(NAME)).filter(|path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    })
}

/// The search path with `dir` first, once.
pub(crate) fn first_on(dir: &Path, search: Option<&OsStr>) -> Option<OsString> {
    let rest = search.map(|s| std::env::split_paths(s).collect::<Vec<_>>()).unwrap_or_default();
    let rest = rest.into_iter().filter(|other| other != dir);
    std::env::join_paths(std::iter::once(dir.to_owned()).chain(rest)).ok()
}

fn failed(error: &io::Error) -> ApiError {
    ApiError::new(ErrorCode::StateIo, format!("the shim: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_repod_s_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (home, dir) = (Home::at(dir.path().join("h")), dir.path().join("bin"));
        fs_err::create_dir_all(&dir).unwrap();
        for stranger in ["file", "link"] {
            let at = dir.join(NAME);
            let _ = fs_err::remove_file(&at);
            if stranger == "file" {
                fs_err::write(&at, "mine").unwrap();
            } else {
                symlink("/bin/sh", &at).unwrap();
            }
            assert_eq!(look(&dir).unwrap(), Found::Stranger);
            assert_eq!(install(&home, &dir).unwrap_err().code, ErrorCode::StateForeign);
            assert_eq!(uninstall(&dir).unwrap_err().code, ErrorCode::StateForeign);
            assert!(at.symlink_metadata().is_ok());
        }
    }

    #[test]
    fn a_link_to_a_repod_that_is_gone_is_turned() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let dir = default_dir(&home);
        fs_err::create_dir_all(&dir).unwrap();
        symlink("/nowhere/repod", dir.join(NAME)).unwrap();
        assert_eq!(look(&dir).unwrap(), Found::Dangling);
        install(&home, &dir).unwrap();
        install(&home, &dir).unwrap();
        assert!(matches!(look(&dir).unwrap(), Found::Shim { .. }));
        assert!(uninstall(&dir).unwrap());
        assert!(!uninstall(&dir).unwrap() && !dir.exists());
    }

    #[test]
    fn the_shim_comes_first_and_once() {
        let first = |search: Option<&str>| {
            first_on(Path::new("/s"), search.map(OsStr::new)).unwrap().into_string().unwrap()
        };
        assert_eq!(first(Some("/bin:/s:/usr/bin")), "/s:/bin:/usr/bin");
        assert_eq!(first(Some("/s:/bin")), "/s:/bin");
        assert_eq!(first(None), "/s");
    }
}

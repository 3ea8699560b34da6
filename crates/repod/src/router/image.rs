//! What a file holds at this moment, looked at without following a link at its end.

use super::patch::{Content, Kind};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Largest file that is routed.
pub(crate) const FILE_MAX: u64 = 24 * 1024 * 1024;

/// What lies there; `None`: nothing.
///
/// # Errors
/// For a directory, a device, a file that can't be read or is larger than 24 MiB.
pub(crate) fn look(path: &Path) -> io::Result<Option<Content>> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(about(path, &error)),
    };
    if meta.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| about(path, &error))?;
        let bytes = target.as_os_str().as_bytes().to_vec();
        return Ok(Some(Content { kind: Kind::Link, bytes }));
    }
    if !meta.is_file() {
        let what = if meta.is_dir() { "a directory" } else { "no ordinary file" };
        return Err(io::Error::other(format!("`{}` is {what}", path.display())));
    }
    if meta.len() > FILE_MAX {
        let limit = FILE_MAX / 1024 / 1024;
        let message = format!("`{}` is larger than {limit} MiB", path.display());
        return Err(io::Error::other(message));
    }
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(Content { kind: kind_of(&meta), bytes })),
        // Removed since.
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn kind_of(meta: &std::fs::Metadata) -> Kind {
    match meta.permissions().mode() & 0o100 {
        0 => Kind::Plain,
        _ => Kind::Executable,
    }
}

/// Not there, or below something that is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}` can't be read: {error}", path.display()))
}

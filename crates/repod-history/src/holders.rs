//! Who has a database open.

use crate::HistoryError;
use crate::source::beside;
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Processes that have the database, its write-ahead log or its index open: pid and name, this process left out.
/// Those of other users can't be looked into; they can't write to a file of this user either, unless they are
/// let.
///
/// # Errors
/// When `/proc` can't be read.
pub fn holders(database: &Path) -> Result<Vec<(u32, String)>, HistoryError> {
    let identity = |meta: Metadata| (meta.dev(), meta.ino());
    let files = ["", "-wal", "-shm"].map(|suffix| beside(database, suffix));
    // Not opened, only looked at: closing it would take away the locks that SQLite has on it here.
    let files: BTreeSet<_> =
        files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(identity).collect();
    let mut found = Vec::new();
    if files.is_empty() {
        return Ok(found);
    }
    for entry in fs_err::read_dir("/proc")? {
        let process = entry?.path();
        let pid = process.file_name().and_then(|name| name.to_str()).and_then(|n| n.parse().ok());
        let Some(pid) = pid.filter(|pid: &u32| *pid != std::process::id()) else { continue };
        let Ok(open) = std::fs::read_dir(process.join("fd")) else { continue };
        let has =
            |fd: &Path| std::fs::metadata(fd).is_ok_and(|meta| files.contains(&identity(meta)));
        if open.flatten().any(|fd| has(&fd.path())) {
            let name = fs_err::read_to_string(process.join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_owned()));
        }
    }
    Ok(found)
}

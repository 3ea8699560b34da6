//! repod's registry.
//!
//! Entries are read leniently and by themselves: an audit must work on those of an older or a newer repod.

use super::Sources;
use crate::snapshot::{Backend, Record, Snapshot, Unreadable};
use repod_proto::Growth;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is larger is no entry.
const RECORD_MAX: u64 = 1024 * 1024;
/// Bytes of the digest of its path that a home is known by.
const MARK: usize = 6;
/// A line of a memory log has some 400 bytes.
const LINE_MAX: u64 = 4096;

#[derive(Deserialize)]
struct Entry {
    repo_id: String,
    root: PathBuf,
    identity: PathBuf,
    backend: Option<EntryBackend>,
}

#[derive(Deserialize)]
struct EntryBackend {
    pid: u32,
    start_ticks: u64,
    boot_id: String,
    port: u16,
    marker: String,
    #[serde(default)]
    version: Option<String>,
}

pub(super) fn read(sources: &Sources, snapshot: &mut Snapshot) {
    let repos = snapshot.home.join("repos");
    let entries = match fs_err::read_dir(&repos) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            snapshot.home_mark = mark(&snapshot.home);
            return;
        }
        Err(error) => {
            snapshot.skipped.push(format!("registry: {error}"));
            return;
        }
    };
    snapshot.home_mark = mark(&snapshot.home);
    for dir in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let file = dir.join("endpoint.json");
        match record(&file) {
            Ok(None) => {}
            Ok(Some(record)) if sources.covers(&record.root) || sources.covers(&dir) => {
                snapshot.records.push(record);
            }
            Ok(Some(record)) => snapshot.elsewhere.extend(record.backend),
            Err(cause) => snapshot.unreadable.push(Unreadable { path: file, cause }),
        }
    }
    snapshot.records.sort_by(|a, b| a.file.cmp(&b.file));
}

/// What a daemon lets the markers of this home's backends begin with, whatever its version.
fn mark(home: &Path) -> String {
    let digest = Sha256::digest(home.as_os_str().as_bytes());
    digest[..MARK].iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "/"
}

fn record(file: &Path) -> Result<Option<Record>, String> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(meta) if !meta.is_file() || meta.len() > RECORD_MAX => {
            return Err("it is not a plain file of a sensible size".to_owned());
        }
        Ok(_) => {}
    }
    let text = fs_err::read(file).map_err(|error| error.to_string())?;
    let entry: Entry = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let backend = entry.backend.map(|backend| Backend {
        pid: backend.pid,
        start_ticks: backend.start_ticks,
        boot_id: backend.boot_id,
        port: backend.port,
        marker: backend.marker,
        version: backend.version,
    });
    Ok(Some(Record {
        repo_id: entry.repo_id,
        file: file.to_owned(),
        root: entry.root,
        identity: entry.identity,
        backend,
        logged_out: Vec::new(),
        growing: file.parent().and_then(|dir| growing(&dir.join("memory.jsonl"))),
    }))
}

/// What the last line of a memory log says of growth.
fn growing(log: &Path) -> Option<Growth> {
    #[derive(Deserialize)]
    struct Line {
        growing: Option<Growth>,
    }
    let text = super::tail(log, LINE_MAX)?;
    let last = text.trim_end().lines().last()?;
    serde_json::from_str::<Line>(last).ok()?.growing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_marked_as_the_daemon_does() {
        // `printf %s /u/.opencode | sha256sum`
        assert_eq!(mark(Path::new("/u/.opencode")), "1618a2cf1c18/");
    }
}

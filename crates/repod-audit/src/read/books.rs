//! repod's home: its registry, and whether it is its owner's alone.
//!
//! Entries are read leniently and by themselves: an audit must work on those of an older or a newer repod.

use super::Sources;
use crate::snapshot::{Backend, Loose, Record, Snapshot, Unreadable};
use repod_proto::Growth;
use serde::Deserialize;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is larger is no entry.
const RECORD_MAX: u64 = 1024 * 1024;
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
    let home = snapshot.home.clone();
    check(&home, 0o700, sources.uid, &mut snapshot.loose);
    check(&home.join("repod.sock"), 0o600, sources.uid, &mut snapshot.loose);
    // Behind the home's own mode these may be read by anybody; they hold no secret.
    for name in ["repod.toml", "repod.lock", "repod.log", "repos"] {
        check(&home.join(name), 0o755, sources.uid, &mut snapshot.loose);
    }
    let repos = home.join("repos");
    let entries = match fs_err::read_dir(&repos) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            snapshot.skipped.push(format!("registry: {error}"));
            return;
        }
    };
    for dir in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let file = dir.join("endpoint.json");
        match record(&file) {
            Ok(None) => {}
            Ok(Some(record)) if sources.covers(&record.root) || sources.covers(&dir) => {
                snapshot.records.push(record);
                check(&dir, 0o700, sources.uid, &mut snapshot.loose);
                for name in ["endpoint.json", "repod.db"] {
                    check(&dir.join(name), 0o600, sources.uid, &mut snapshot.loose);
                }
            }
            Ok(Some(_)) => {}
            Err(cause) => snapshot.unreadable.push(Unreadable { path: file, cause }),
        }
    }
    snapshot.records.sort_by(|a, b| a.file.cmp(&b.file));
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

/// Notes a file that has more than this mode, or that is somebody else's. One that isn't there is in order.
fn check(path: &Path, mode: u32, uid: u32, loose: &mut Vec<Loose>) {
    let Ok(meta) = path.symlink_metadata() else {
        return;
    };
    let path = path.to_owned();
    if meta.file_type().is_symlink() {
        return;
    }
    if meta.uid() != uid {
        let cause = format!("it belongs to uid {}", meta.uid());
        loose.push(Loose { path, cause, mode: None });
    } else if meta.mode() & 0o777 & !mode != 0 {
        let cause = format!("its mode is {:03o}", meta.mode() & 0o777);
        loose.push(Loose { path, cause, mode: Some(mode) });
    }
}

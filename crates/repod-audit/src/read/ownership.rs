//! Whether repod's home, and what lies in the repos' directories, is its owner's alone.
//!
//! What repod makes has a mode that is known. What OpenCode makes has the mode that the user's umask gives it,
//! and lies in directories that are closed: whose it is counts always, its mode only where it lies open.
//! Links are left alone and never followed: the user's own configuration and logins are linked by design.

use super::Sources;
use crate::snapshot::{Loose, Snapshot};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Entries that are looked at in all: a repo has some fifty.
const ENTRIES_MAX: usize = 20_000;
/// For its owner alone.
const DIR: u32 = 0o700;
const SECRET: u32 = 0o600;
/// Behind the home's own mode these may be read by anybody; they hold no secret.
const PLAIN: u32 = 0o755;

/// What is known of an entry by its name.
enum Kind {
    /// A directory to look into.
    Dir(&'static Dir),
    /// Something of repod's, or a secret: the mode it may have at most.
    Mode(u32),
    /// Something of OpenCode's that holds secrets.
    Open,
    /// Something else.
    Other,
}

/// A directory and what lies directly in it.
struct Dir {
    dirs: &'static [(&'static str, &'static Dir)],
    /// Beginnings of names.
    secret: &'static [&'static str],
    plain: &'static [&'static str],
    open: &'static [&'static str],
}

const NOTHING: Dir = Dir { dirs: &[], secret: &[], plain: &[], open: &[] };
/// The output of a backend may have anything in it.
const ALL_SECRET: Dir = Dir { secret: &[""], ..NOTHING };
/// Of a plain OpenCode's these are the user's own, and linked.
const DATA: Dir =
    Dir { secret: &["auth.json", "mcp-auth.json"], open: &["opencode.db"], ..NOTHING };
const REPO: Dir = Dir {
    dirs: &[
        ("log", &ALL_SECRET),
        ("locks", &NOTHING),
        ("fences", &NOTHING),
        ("stage", &NOTHING),
        ("data", &Dir { dirs: &[("opencode", &DATA)], ..NOTHING }),
        ("config", &Dir { dirs: &[("opencode", &NOTHING), ("repod", &ALL_SECRET)], ..NOTHING }),
        ("cache", &Dir { dirs: &[("opencode", &NOTHING)], ..NOTHING }),
        ("state", &Dir { dirs: &[("opencode", &NOTHING)], ..NOTHING }),
    ],
    secret: &["endpoint.json", "history.json", "repod.db"],
    plain: &["port", "lock", "memory.jsonl"],
    open: &[],
};

impl Dir {
    fn kind(&self, name: &OsStr, is_dir: bool) -> Kind {
        let name = name.to_string_lossy();
        if let Some((_, dir)) = self.dirs.iter().find(|(known, _)| is_dir && *known == name) {
            return Kind::Dir(dir);
        }
        let has = |names: &[&str]| !is_dir && names.iter().any(|known| name.starts_with(known));
        match () {
            () if has(self.secret) => Kind::Mode(SECRET),
            () if has(self.plain) => Kind::Mode(PLAIN),
            () if has(self.open) => Kind::Open,
            () => Kind::Other,
        }
    }
}

pub(super) fn read(sources: &Sources, snapshot: &mut Snapshot) {
    let home = snapshot.home.clone();
    let mut look = Look { uid: sources.uid, left: ENTRIES_MAX, loose: Vec::new() };
    let repos = home.join("repos");
    // `~/.opencode` is OpenCode's before repod ever runs.
    if !["repos", "repod.lock"].iter().any(|name| home.join(name).symlink_metadata().is_ok()) {
        return;
    }
    look.at(&home, DIR);
    for name in ["repod.sock", "metrics.token", "web.html"] {
        look.at(&home.join(name), SECRET);
    }
    for name in ["repod.toml", "repod.lock", "repod.log", "repos", "web.port"] {
        look.at(&home.join(name), PLAIN);
    }
    for (name, meta) in entries(&repos, &mut look.left) {
        let dir = repos.join(name);
        let covers = sources.covers(&dir)
            || snapshot.records.iter().any(|record| record.file.parent() == Some(&dir));
        if meta.is_dir() && covers {
            look.dir(&dir, &meta, &REPO);
        }
    }
    if look.left == 0 {
        let skipped = format!("owners and modes: {ENTRIES_MAX} entries were looked at, not all");
        snapshot.skipped.push(skipped);
    }
    snapshot.loose = look.loose;
}

/// Entries of a directory that is none by a link, as far as `left` reaches; links are left out.
fn entries(dir: &Path, left: &mut usize) -> Vec<(OsString, Metadata)> {
    if !dir.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return Vec::new();
    }
    let listed = fs_err::read_dir(dir).into_iter().flatten().flatten().take(*left);
    let all: Vec<_> = listed.map(|entry| (entry.file_name(), entry.metadata())).collect();
    *left -= all.len();
    let there = all.into_iter().filter_map(|(name, meta)| Some((name, meta.ok()?)));
    there.filter(|(_, meta)| !meta.is_symlink()).collect()
}

struct Look {
    uid: u32,
    left: usize,
    loose: Vec<Loose>,
}

impl Look {
    fn dir(&mut self, path: &Path, meta: &Metadata, known: &Dir) {
        self.judge(path, meta, Some(DIR));
        let is_closed = meta.mode() & 0o077 == 0;
        for (name, meta) in entries(path, &mut self.left) {
            let path = path.join(&name);
            match known.kind(&name, meta.is_dir()) {
                Kind::Dir(known) => self.dir(&path, &meta, known),
                Kind::Mode(mode) => self.judge(&path, &meta, Some(mode)),
                Kind::Open if !is_closed => self.judge(&path, &meta, Some(SECRET)),
                Kind::Open | Kind::Other => self.judge(&path, &meta, None),
            }
        }
    }

    /// One that isn't there is in order.
    fn at(&mut self, path: &Path, mode: u32) {
        if let Ok(meta) = path.symlink_metadata()
            && !meta.is_symlink()
        {
            self.judge(path, &meta, Some(mode));
        }
    }

    /// Notes what is somebody else's, or has more than this mode.
    fn judge(&mut self, path: &Path, meta: &Metadata, mode: Option<u32>) {
        let path = path.to_owned();
        if meta.uid() != self.uid {
            let cause = format!("it belongs to uid {}", meta.uid());
            self.loose.push(Loose { path, cause, mode: None });
        } else if let Some(mode) = mode
            && meta.mode() & 0o777 & !mode != 0
        {
            let cause = format!("its mode is {:03o}", meta.mode() & 0o777);
            self.loose.push(Loose { path, cause, mode: Some(mode) });
        }
    }
}

#[cfg(test)]
mod tests;

//! What is safe is done, and whatever has changed since the look is left alone.

use super::apply;
use crate::snapshot::{Library, Loose, Snapshot};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_hours(1);

/// A directory with a made-up `/proc` in it.
struct Place {
    root: tempfile::TempDir,
    uid: u32,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("proc/77/fd")).unwrap();
        Self { root, uid: rustix::process::geteuid().as_raw() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    /// A library as OpenCode leaves it.
    fn library(&self, number: u32) -> PathBuf {
        let path = self.path(&format!(".bcfdcd3eb7a5f32e-{number:08x}.so"));
        fs_err::write(&path, "ELF").unwrap();
        self.aged(&path, HOUR);
        path
    }

    fn aged(&self, path: &Path, age: Duration) {
        let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn remove(&self, paths: &[&Path]) -> Vec<String> {
        let library = |path: &&Path| Library { path: (*path).to_owned(), bytes: 3 };
        let libraries = paths.iter().map(library).collect();
        self.apply(&Snapshot { libraries, ..Snapshot::default() })
    }

    fn close(&self, path: &Path, mode: Option<u32>) -> String {
        let loose = Loose { path: path.to_owned(), cause: String::new(), mode };
        self.apply(&Snapshot { loose: vec![loose], ..Snapshot::default() }).concat()
    }

    fn apply(&self, snapshot: &Snapshot) -> Vec<String> {
        apply(snapshot, &self.path("proc"), self.uid)
    }
}

fn chmod(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_library_that_nobody_has_open_is_removed() {
    let place = Place::new();
    let (one, two) = (place.library(1), place.library(2));
    let done = place.remove(&[&one]);
    assert_eq!(done, [format!("`{}` is removed (3 bytes)", one.display())]);
    assert!(!one.exists() && two.exists(), "only what was found");
}

#[test]
fn a_library_that_is_in_use_by_now_stays() {
    let place = Place::new();
    let (mapped, gone, open) = (place.library(1), place.library(2), place.library(3));
    let line = |path: &Path, more: &str| {
        let inode = fs_err::metadata(path).unwrap().ino();
        format!("7f00-7f01 r-xp 00000000 fe:00 {inode}    {}{more}\n", path.display())
    };
    let maps = line(&mapped, "") + &line(&gone, " (deleted)");
    fs_err::write(place.path("proc/77/maps"), maps).unwrap();
    symlink(&open, place.path("proc/77/fd/5")).unwrap();
    assert_eq!(place.remove(&[&mapped, &gone, &open]), [""; 0]);
    assert!(mapped.exists() && gone.exists() && open.exists());
}

#[test]
fn a_library_that_is_young_or_has_two_names_or_is_somebody_else_s_stays() {
    let mut place = Place::new();
    let (young, linked, other) = (place.library(1), place.library(2), place.library(3));
    place.aged(&young, Duration::from_mins(9));
    fs_err::hard_link(&linked, place.path("kept.so")).unwrap();
    let named = place.path("libc.so");
    fs_err::write(&named, "ELF").unwrap();
    place.aged(&named, HOUR);
    assert_eq!(place.remove(&[&young, &linked, &named]), [""; 0]);
    place.uid += 1;
    assert_eq!(place.remove(&[&other]), [""; 0]);
    assert!([&young, &linked, &other, &named].iter().all(|path| path.exists()));
}

#[test]
fn a_library_that_became_a_link_or_a_directory_stays_and_so_does_what_it_leads_to() {
    let place = Place::new();
    let (link, dir, target) = (place.library(1), place.library(2), place.library(3));
    fs_err::remove_file(&link).unwrap();
    symlink(&target, &link).unwrap();
    fs_err::remove_file(&dir).unwrap();
    fs_err::create_dir(&dir).unwrap();
    assert_eq!(place.remove(&[&link, &dir]), [""; 0]);
    assert!(link.is_symlink() && dir.is_dir() && target.exists());
}

#[test]
fn what_others_may_do_is_taken_away_and_nothing_is_given() {
    let place = Place::new();
    let (file, dir, socket) = (place.path("endpoint.json"), place.path("repo"), place.path("sock"));
    fs_err::write(&file, "{}").unwrap();
    fs_err::create_dir(&dir).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, is, most, becomes) in [
        (&file, 0o644, 0o600, 0o600),
        (&file, 0o466, 0o600, 0o400),
        (&dir, 0o777, 0o700, 0o700),
        (&dir, 0o775, 0o755, 0o755),
        (&socket, 0o777, 0o600, 0o600),
    ] {
        chmod(path, is);
        let said = place.close(path, Some(most));
        assert_eq!(said, format!("`{}` has mode {becomes:03o} now", path.display()));
        assert_eq!(mode(path), becomes);
    }
    assert_eq!(place.close(&file, None), "", "somebody else's, when it was looked at");
}

#[test]
fn a_file_that_became_a_link_is_not_followed_nor_is_a_directory_on_the_way() {
    let place = Place::new();
    let outside = place.path("outside");
    fs_err::create_dir(&outside).unwrap();
    let target = outside.join("endpoint.json");
    fs_err::write(&target, "mine").unwrap();
    chmod(&target, 0o644);
    let file = place.path("file");
    symlink(&target, &file).unwrap();
    let dir = place.path("repo");
    symlink(&outside, &dir).unwrap();
    for path in [file, dir.join("endpoint.json")] {
        let said = place.close(&path, Some(0o600));
        assert!(said.ends_with("stays as it is: it has changed meanwhile"), "{said}");
    }
    assert_eq!(mode(&target), 0o644);
}

#[test]
fn a_file_that_is_somebody_else_s_by_now_or_gone_is_left_alone() {
    let mut place = Place::new();
    let file = place.path("endpoint.json");
    fs_err::write(&file, "{}").unwrap();
    chmod(&file, 0o644);
    assert!(place.close(&place.path("gone"), Some(0o600)).contains("stays as it is"));
    place.uid += 1;
    assert!(place.close(&file, Some(0o600)).contains("stays as it is"));
    assert_eq!(mode(&file), 0o644);
}

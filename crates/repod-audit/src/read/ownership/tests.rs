use super::*;
use crate::read::tests::sources;
use crate::snapshot::Record;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

fn chmod(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A home as repod and OpenCode leave it, under a umask that closes nothing.
struct Made {
    _root: tempfile::TempDir,
    sources: Sources,
    repo: PathBuf,
}

impl Made {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut sources = sources(root.path());
        sources.home = sources.home.canonicalize().unwrap();
        let home = sources.home.clone();
        let repo = home.join("repos/web-1");
        let dir = |path: &Path, mode| {
            fs_err::create_dir_all(path).unwrap();
            chmod(path, mode);
        };
        let file = |path: PathBuf, mode| {
            fs_err::write(&path, "x").unwrap();
            chmod(&path, mode);
        };
        dir(&home.join("bin"), 0o775);
        for name in ["", "log", "locks", "data", "config", "cache", "state", "config/repod"] {
            dir(&repo.join(name), 0o700);
        }
        for name in ["data", "config", "cache", "state"] {
            dir(&repo.join(name).join("opencode"), 0o700);
        }
        dir(&repo.join("data/opencode/snapshot"), 0o775);
        dir(&home, 0o700);
        for name in ["repod.sock", "metrics.token"] {
            file(home.join(name), 0o600);
        }
        for name in ["endpoint.json", "repod.db", "repod.db-wal", "lock", "log/backend.log"] {
            file(repo.join(name), 0o600);
        }
        for name in ["opencode.db", "opencode.db-wal"] {
            file(repo.join("data/opencode").join(name), 0o666);
        }
        // The user's own, linked by design, is nobody's business here.
        let user = root.path().join("user");
        dir(&user, 0o777);
        file(user.join("auth.json"), 0o666);
        symlink(user.join("auth.json"), repo.join("data/opencode/auth.json")).unwrap();
        symlink(&user, repo.join("config/opencode/agents")).unwrap();
        symlink(user.join("none"), repo.join("config/opencode/opencode.json")).unwrap();
        Self { _root: root, sources, repo }
    }

    /// What is loose below the home, and why.
    fn loose(&self) -> Vec<(String, String)> {
        let mut snapshot = Snapshot { home: self.sources.home.clone(), ..Snapshot::default() };
        read(&self.sources, &mut snapshot);
        assert_eq!(snapshot.skipped, [""; 0]);
        let name = |path: &Path| path.strip_prefix(&snapshot.home).unwrap().display().to_string();
        let mut all: Vec<_> =
            snapshot.loose.iter().map(|it| (name(&it.path), it.cause.clone())).collect();
        all.sort();
        all
    }
}

#[test]
fn a_home_as_it_is_made_is_in_order() {
    assert_eq!(Made::new().loose(), []);
}

#[test]
fn each_secret_that_is_open_is_found_and_nothing_else() {
    let made = Made::new();
    fs_err::write(made.repo.join("history.json"), "{}").unwrap();
    fs_err::write(made.sources.home.join("web.html"), "").unwrap();
    fs_err::remove_file(made.repo.join("data/opencode/auth.json")).unwrap();
    fs_err::write(made.repo.join("data/opencode/auth.json"), "{}").unwrap();
    fs_err::write(made.repo.join("config/repod/npmrc"), "").unwrap();
    let home = |name: &str| made.sources.home.join(name);
    let paths = [
        (home("metrics.token"), 0o640),
        (home("repod.sock"), 0o666),
        (home("web.html"), 0o604),
        (made.repo.join("config/repod/npmrc"), 0o644),
        (made.repo.join("data/opencode/auth.json"), 0o620),
        (made.repo.join("endpoint.json"), 0o644),
        (made.repo.join("history.json"), 0o604),
        (made.repo.join("lock"), 0o666),
        (made.repo.join("log/backend.log"), 0o640),
        (made.repo.join("repod.db-wal"), 0o660),
        (made.repo.join("state"), 0o755),
    ];
    for (path, mode) in &paths {
        chmod(path, *mode);
    }
    let expected = paths.map(|(path, mode)| {
        let name = path.strip_prefix(&made.sources.home).unwrap().display().to_string();
        (name, format!("its mode is {mode:03o}"))
    });
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(made.loose(), expected);
}

#[test]
fn a_database_of_opencode_counts_where_its_directory_is_open() {
    let made = Made::new();
    chmod(&made.repo.join("data/opencode"), 0o755);
    let names: Vec<_> = made.loose().into_iter().map(|(name, _)| name).collect();
    let below = |name: &str| format!("repos/web-1/data/opencode{name}");
    assert_eq!(names, [below(""), below("/opencode.db"), below("/opencode.db-wal")]);
}

#[test]
fn what_is_somebody_else_s_is_found_whatever_it_is_and_is_not_ours_to_change() {
    let mut made = Made::new();
    // As if all of it were: only a superuser can give a file away.
    made.sources.uid += 1;
    let mut snapshot = Snapshot { home: made.sources.home.clone(), ..Snapshot::default() };
    read(&made.sources, &mut snapshot);
    assert!(snapshot.loose.iter().all(|it| it.mode.is_none()), "{:?}", snapshot.loose);
    for name in ["", "endpoint.json", "data/opencode/opencode.db", "data/opencode/snapshot"] {
        let path = made.repo.join(name);
        assert!(snapshot.loose.iter().any(|it| it.path == path), "{name}");
    }
    let foreign = |name: &str| snapshot.loose.iter().any(|it| it.path.ends_with(name));
    assert!(foreign("metrics.token") && !foreign("auth.json") && !foreign("bin"));
}

#[test]
fn a_directory_that_is_a_link_is_not_looked_into() {
    let made = Made::new();
    let other = made.sources.temp.join("moved");
    fs_err::rename(made.repo.join("data"), &other).unwrap();
    chmod(&other, 0o755);
    symlink(&other, made.repo.join("data")).unwrap();
    symlink(&made.repo, made.sources.home.join("repos/linked-2")).unwrap();
    assert_eq!(made.loose(), []);
    chmod(&made.repo, 0o755);
    assert_eq!(made.loose().len(), 1);
    let (repos, elsewhere) = (made.sources.home.join("repos"), made.sources.temp.join("repos"));
    fs_err::rename(&repos, &elsewhere).unwrap();
    symlink(&elsewhere, &repos).unwrap();
    assert_eq!(made.loose(), []);
}

#[test]
fn only_what_is_audited_is_looked_at_and_not_without_end() {
    let mut made = Made::new();
    chmod(&made.repo.join("endpoint.json"), 0o644);
    made.sources.only = vec!["/src/web".into()];
    assert_eq!(made.loose(), []);
    let mut snapshot = Snapshot { home: made.sources.home.clone(), ..Snapshot::default() };
    let file = made.repo.join("endpoint.json");
    snapshot.records.push(Record { file: file.clone(), ..Record::default() });
    read(&made.sources, &mut snapshot);
    assert_eq!(snapshot.loose.iter().map(|it| &it.path).collect::<Vec<_>>(), [&file]);
    let mut left = 2;
    assert_eq!((entries(&made.repo, &mut left).len(), left), (2, 0));
}

#[test]
fn a_home_in_which_repod_never_ran_is_opencode_s_own() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path());
    chmod(&sources.home, 0o755);
    let mut snapshot = Snapshot { home: sources.home.clone(), ..Snapshot::default() };
    read(&sources, &mut snapshot);
    assert!(snapshot.loose.is_empty());
}

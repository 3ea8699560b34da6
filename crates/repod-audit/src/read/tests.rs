//! The reader on trees of plain files, and on databases of the real SQLite.

use super::{Sources, database, snapshot};
use crate::rules::judge;
use crate::snapshot::{Record, Snapshot};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(super) fn sources(root: &Path) -> Sources {
    let uid = rustix::process::geteuid().as_raw();
    for dir in ["proc", "sys/fs/inotify", "home", "tmp"] {
        fs_err::create_dir_all(root.join(dir)).unwrap();
    }
    Sources {
        proc: root.join("proc"),
        sysctl: root.join("sys"),
        cgroups: root.join("cgroup"),
        home: root.join("home"),
        uid,
        temp: root.join("tmp"),
        data: Some(root.join("share/opencode")),
        config: None,
        only: Vec::new(),
        nofile: 4096,
        installed: None,
        deep: false,
    }
}

/// A process as `/proc` shows it, which listens where `net/tcp` says.
fn process(sources: &Sources, pid: u32, uid: u32, environ: &str) -> PathBuf {
    let dir = sources.proc.join(pid.to_string());
    for sub in ["fd", "fdinfo", "net"] {
        fs_err::create_dir_all(dir.join(sub)).unwrap();
    }
    let write = |name: &str, text: &str| fs_err::write(dir.join(name), text).unwrap();
    write("status", &format!("Name:\topencode\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
    let tail = "0 -1 4194304 1 0 0 0 1 1 0 0 20 0 8 0 4711 1 1 18446744073709551615 1 1 1 1 1 1 0 0 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 0";
    write("stat", &format!("{pid} (open) code) S 1 {pid} {pid} {tail}\n"));
    write("cmdline", "opencode\0serve\0--port\x004096\0");
    write("environ", environ);
    write(
        "limits",
        "Limit Soft Hard Units\nMax processes             9 10 processes\nMax open files            1024                 4096                 files     \n",
    );
    write(
        "net/tcp",
        "  sl  local_address rem_address   st\n   0: 00000000:1000 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 815 1 0 100 0 0 10 0\n",
    );
    write("cgroup", "0::/u/s\n");
    symlink("/opt/opencode (deleted)", dir.join("exe")).unwrap();
    symlink("/nowhere/src", dir.join("cwd")).unwrap();
    symlink("socket:[815]", dir.join("fd/5")).unwrap();
    symlink("/nowhere/d/opencode.db", dir.join("fd/6")).unwrap();
    symlink("anon_inode:inotify", dir.join("fd/7")).unwrap();
    fs_err::write(dir.join("fdinfo/7"), "pos: 0\ninotify wd:1 ino:1\ninotify wd:2 ino:2\n")
        .unwrap();
    dir
}

#[tokio::test]
async fn a_process_is_read_whole_and_another_user_s_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let sources = sources(dir.path());
    process(&sources, 10, sources.uid, "HOME=/nowhere/h\0XDG_DATA_HOME=/nowhere/d\0SECRET=x\0");
    process(&sources, 11, sources.uid + 1, "HOME=/nowhere/h\0");
    fs_err::write(sources.sysctl.join("fs/inotify/max_user_watches"), "2\n").unwrap();
    fs_err::write(sources.sysctl.join("fs/inotify/max_user_instances"), "4096\n").unwrap();
    for (name, text) in [
        ("u/pids.max", "9"),
        ("u/pids.current", "9"),
        ("u/s/pids.max", "max"),
        ("u/s/pids.current", "1"),
    ] {
        let file = sources.cgroups.join(name);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, format!("{text}\n")).unwrap();
    }
    // Half of a process that goes while it is looked at.
    fs_err::create_dir_all(sources.proc.join("12")).unwrap();
    let snapshot = snapshot(&sources).await;
    assert_eq!(snapshot.processes.keys().copied().collect::<Vec<_>>(), [10]);
    let process = &snapshot.processes[&10];
    assert_eq!(
        (process.comm.as_str(), process.state, process.start_ticks),
        ("open) code", 'S', 4711)
    );
    assert_eq!((process.fds, process.inotify.watches, process.nofile), (3, 2, Some((1024, 4096))));
    assert_eq!((process.threads, process.nproc), (8, (sources.uid != 0).then_some(9)));
    assert_eq!(process.listens, ["0.0.0.0:4096".parse().unwrap()]);
    assert_eq!(process.files, [PathBuf::from("/nowhere/d/opencode.db")]);
    assert_eq!(
        process.homes.as_ref().unwrap().data,
        ("/nowhere/d/opencode".into(), "XDG_DATA_HOME")
    );
    assert!(process.is_exe_deleted && !process.env.contains_key("SECRET"));
    let ids: Vec<_> = judge(&snapshot).findings.iter().map(|finding| finding.id).collect();
    let rest = |id: &&&str| **id != "RP604" && **id != "RP506";
    let ids: Vec<_> = ids.iter().filter(rest).copied().collect();
    assert_eq!(ids, ["RP202", "RP203", "RP505", "RP508", "RP201", "RP501", "RP502", "RP607"]);
}

#[tokio::test]
async fn only_what_is_asked_for_is_in_scope() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(dir.path());
    process(&sources, 10, sources.uid, "HOME=/nowhere/h\0");
    process(&sources, 11, sources.uid, "HOME=/elsewhere/h\0");
    for (only, expected) in [
        ("/nowhere/h", vec![10]),
        ("/elsewhere", vec![11]),
        ("/nowhere/src", vec![10, 11]),
        ("/no", vec![]),
    ] {
        sources.only = vec![only.into()];
        let snapshot = snapshot(&sources).await;
        let found: Vec<u32> = snapshot.opencode().map(|process| process.pid).collect();
        assert_eq!(found, expected, "{only}");
    }
}

async fn look(path: &Path) -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let sources = sources(dir.path());
    let process = process(&sources, 10, sources.uid, "HOME=/nowhere/h\0");
    symlink(path, process.join("fd/9")).unwrap();
    let mut snapshot = Snapshot::default();
    super::process::all(&sources, &mut snapshot);
    super::mark_scope(&sources, &mut snapshot);
    database::read(&sources, &mut snapshot).await;
    snapshot
}

fn beside(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_database_is_looked_into_and_nothing_changes_in_use_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("opencode.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut user = options.connect().await.unwrap();
    let schema = "CREATE TABLE session (id, parent_id, directory, title, time_updated, project_id); \
                  CREATE TABLE message (id, session_id, time_created, data); CREATE TABLE part (message_id, data)";
    sqlx::raw_sql(schema).execute(&mut user).await.unwrap();
    let now = database::millis(std::time::SystemTime::now());
    // Two clones: one project, whose worktree is the first one's.
    let base = dir.path().canonicalize().unwrap();
    for clone in ["one", "two"] {
        fs_err::create_dir_all(base.join(clone).join(".git")).unwrap();
    }
    let (one, two, tree) = (base.join("one"), base.join("two"), base.join("tree"));
    let own = one.join(".git/worktrees/tree");
    for dir in [&own, &tree.join("deep")] {
        fs_err::create_dir_all(dir).unwrap();
    }
    fs_err::write(own.join("commondir"), "../..\n").unwrap();
    fs_err::write(tree.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
    let projects = format!(
        "CREATE TABLE project (id, worktree); INSERT INTO project VALUES ('p', '{}'); \
         INSERT INTO session VALUES ('c', NULL, '{0}', 't', 1, 'p'), ('d', NULL, '{}', 't', 1, 'p'), \
           ('f', NULL, '{}', 't', 1, 'p')",
        one.display(),
        two.display(),
        tree.join("deep").display()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(projects)).execute(&mut user).await.unwrap();
    let rows = format!(
        "INSERT INTO session VALUES ('a', NULL, '/nowhere/r', 't', {now}, 'q'), ('b', 'a', '/nowhere/r', 't', {now}, 'q'), \
           ('e', 'b', '/nowhere/r', 't', {now}, 'q'); \
         INSERT INTO message VALUES \
           ('m1', 'a', {now}, '{{\"role\":\"assistant\",\"parentID\":\"u\",\"time\":{{\"created\":{0},\"completed\":{1}}}}}'), \
           ('m2', 'a', {now}, '{{\"role\":\"assistant\",\"parentID\":\"u\",\"time\":{{\"created\":{1}}}}}'), \
           ('m4', 'e', {now}, '{{\"role\":\"assistant\",\"parentID\":\"w\",\"time\":{{\"created\":{0}}}}}'), \
           ('m3', 'b', {now}, '{{\"role\":\"assistant\",\"parentID\":\"v\",\"time\":{{\"created\":{0}}}}}'); \
         INSERT INTO part VALUES ('m1', '{{\"type\":\"tool\",\"tool\":\"write\",\"state\":{{\"status\":\"completed\"}}}}'), \
           ('m4', '{{\"type\":\"tool\",\"tool\":\"edit\",\"state\":{{\"status\":\"completed\"}}}}'), \
           ('m3', '{{\"type\":\"tool\",\"tool\":\"read\",\"state\":{{\"status\":\"completed\"}}}}')",
        now - 5000,
        now - 4000
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut user).await.unwrap();
    let before = (beside(dir.path()), fs_err::read(&path).unwrap());
    let seen = look(&path).await;
    assert_eq!((beside(dir.path()), fs_err::read(&path).unwrap()), before);
    // One turn: its first answer wrote, its second is still being given. A reading one is none.
    let [turn, sub] = seen.databases[0].turns.as_slice() else { panic!("{seen:?}") };
    assert_eq!((turn.root_session.as_str(), turn.from), ("a", now - 5000));
    assert_eq!(sub.root_session, "a", "a subagent's subagent");
    assert!(turn.to >= now && seen.databases[0].damage.is_none() && seen.skipped.is_empty());

    assert_eq!(seen.databases[0].misfiled, [(two, one.clone())]);
    assert_eq!(seen.databases[0].worktrees, [(tree, one)]);

    user.close().await.unwrap();
    assert_eq!(beside(dir.path()), ["one", "opencode.db", "tree", "two"]);
    assert_eq!(look(&path).await.databases[0].turns.len(), 2);
    assert_eq!(
        beside(dir.path()),
        ["one", "opencode.db", "tree", "two"],
        "an unused database gets no -wal"
    );
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs_err::write(&path, &bytes).unwrap();
    assert!(look(&path).await.databases[0].damage.is_some());
    fs_err::write(&path, "no database").unwrap();
    assert!(look(&path).await.databases[0].damage.is_some());
}

#[tokio::test]
async fn logins_are_compared_by_name_with_the_database_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repos/web-1");
    let (origin, own) = (dir.path().join("user.db"), repo.join("data/opencode/opencode.db"));
    fs_err::create_dir_all(own.parent().unwrap()).unwrap();
    let account = "CREATE TABLE account (id text, email text, url text, access_token text)";
    let credential = "CREATE TABLE credential (id text, integration_id text, connector_id text, label text, value text)";
    for (path, sql) in [
        (
            &origin,
            format!(
                "{account}; {credential}; INSERT INTO account VALUES ('1', 'a@x', 'u', 'secret'), ('2', 'b@x', 'u', 'secret'); \
                 INSERT INTO credential VALUES ('1', 'git', NULL, 'work', 'secret'), ('2', NULL, NULL, 'home', 'secret')"
            ),
        ),
        // An older make has no credentials.
        (&own, format!("{account}; INSERT INTO account VALUES ('9', 'b@x', 'u', 'other')")),
    ] {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
    let look = async |state: &str| {
        let history = serde_json::json!({ "version": 1, "state": state, "database": &origin });
        fs_err::write(repo.join("history.json"), history.to_string()).unwrap();
        let record = Record { file: repo.join("endpoint.json"), ..Record::default() };
        let mut snapshot = Snapshot { records: vec![record], ..Snapshot::default() };
        super::logins::read(&mut snapshot).await;
        assert_eq!(snapshot.skipped, [""; 0]);
        snapshot.records.remove(0).logged_out
    };
    assert_eq!(look("adopted").await, ["a@x at u", "credential home", "git work"]);
    assert_eq!(look("ejected").await, [""; 0]);
    fs_err::write(&own, "no database").unwrap();
    assert_eq!(look("adopted").await.len(), 4);
    fs_err::remove_file(&origin).unwrap();
    assert_eq!(look("adopted").await, [""; 0]);
}

#[tokio::test]
async fn the_user_s_own_database_is_checked_though_nobody_has_it_open() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path());
    assert_eq!(snapshot(&sources).await.databases.len(), 0, "there is none");
    let data = sources.data.clone().unwrap();
    fs_err::create_dir_all(&data).unwrap();
    fs_err::write(data.join("opencode.db"), b"SQLite format 3\0, and then nothing").unwrap();
    let snapshot = snapshot(&sources).await;
    let damaged = snapshot.databases.iter().find(|it| it.damage.is_some());
    assert_eq!(damaged.map(|it| &*it.path), Some(&*data.join("opencode.db")), "{snapshot:?}");
    let findings = judge(&snapshot).findings;
    assert!(findings.iter().any(|finding| finding.id == "RP605"), "{findings:?}");
}

#[tokio::test]
async fn what_a_memory_log_says_last_is_read() {
    let root = tempfile::tempdir().unwrap();
    let sources = sources(root.path());
    let dir = sources.home.join("repos/web-1");
    fs_err::create_dir_all(&dir).unwrap();
    let entry = r#"{"repo_id":"web-1","root":"/src/web","identity":"/src/web/.git"}"#;
    fs_err::write(dir.join("endpoint.json"), entry).unwrap();
    let grows = r#"{"growing":{"bytes_per_hour":1048576,"from_bytes":1,"grown_bytes":2}}"#;
    for (log, expected) in [
        (String::new(), false),
        (format!("{grows}\n"), true),
        (format!("{grows}\n{{\"rss\":1}}\n"), false),
        (format!("{}\n{grows}\n", "x".repeat(9000)), true),
        (format!("{grows}\n{{\"cut"), false),
    ] {
        fs_err::write(dir.join("memory.jsonl"), &log).unwrap();
        let snapshot = snapshot(&sources).await;
        assert_eq!(snapshot.records[0].growing.is_some(), expected, "{log}");
    }
}

/// What only the reader does of these rules: the finding is there with the fault, and not without it.
#[tokio::test]
async fn damage_and_disorder_are_read_off_a_home_that_is_otherwise_in_order() {
    let root = tempfile::tempdir().unwrap();
    let mut sources = sources(root.path());
    sources.home = sources.home.canonicalize().unwrap();
    sources.temp = sources.temp.canonicalize().unwrap();
    let dir = sources.home.join("repos/web-1");
    fs_err::create_dir_all(dir.join("log")).unwrap();
    for dir in [&sources.home, &dir, &dir.join("log")] {
        fs_err::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    let private = |name: &str, text: &str| {
        fs_err::write(dir.join(name), text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs_err::set_permissions(dir.join(name), mode).unwrap();
    };
    let entry = r#"{"repo_id":"web-1","root":"/src/web","identity":"/src/web/.git"}"#;
    let found = async || {
        let all = judge(&snapshot(&sources).await).findings;
        let ours = all.into_iter().filter(|it| !["RP506", "RP509", "RP510"].contains(&it.id));
        ours.map(|finding| (finding.id, finding.evidence[0].path.clone())).collect::<Vec<_>>()
    };
    private("endpoint.json", entry);
    assert_eq!(found().await, []);
    private("endpoint.json", "{}");
    assert_eq!(found().await, [("RP606", Some(dir.join("endpoint.json")))]);
    private("endpoint.json", entry);

    let library = sources.temp.join(".bcfdcd3eb7a5f32e-00000001.so");
    let young = sources.temp.join(".bcfdcd3eb7a5f32e-00000002.so");
    for (path, minutes) in [(&library, 11), (&young, 9)] {
        fs_err::write(path, "ELF").unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
        let age = std::time::Duration::from_mins(minutes);
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    assert_eq!(found().await, [("RP507", Some(library.clone()))]);
    // A shell of this user's has it open by now.
    let shell = process(&sources, 10, sources.uid, "HOME=/nowhere/h\0");
    fs_err::remove_file(shell.join("exe")).unwrap();
    symlink("/bin/sh", shell.join("exe")).unwrap();
    symlink(&library, shell.join("fd/9")).unwrap();
    assert_eq!(found().await, []);

    let now = jiff::Timestamp::now();
    private("log/backend.log", &format!("--- repod: generation 1 starts at {now}\nServeError\n"));
    assert_eq!(found().await, [("RP205", Some(dir.join("log/backend.log")))]);
    let before = now - jiff::SignedDuration::from_hours(2);
    private(
        "log/backend.log",
        &format!("--- repod: generation 1 starts at {before}\nServeError\n"),
    );
    assert_eq!(found().await, []);

    private("repod.db", "SQLite format 3\0, and then nothing");
    assert_eq!(found().await, [("RP605", Some(dir.join("repod.db")))]);
}

#[tokio::test]
async fn who_carries_the_marker_of_a_backend_of_this_home_is_known_by_its_path() {
    let root = tempfile::tempdir().unwrap();
    let mut sources = sources(root.path());
    sources.home = sources.home.canonicalize().unwrap();
    let mark = snapshot(&sources).await.home_mark;
    let dir = sources.home.join("repos/web-1");
    fs_err::create_dir_all(&dir).unwrap();
    let marker = format!("{mark}web-1/3/n");
    let entry = serde_json::json!({
        "repo_id": "web-1", "root": "/src/web", "identity": "/src/web/.git",
        "backend": { "pid": 10, "start_ticks": 4711, "boot_id": "b", "port": 1, "marker": marker },
    });
    fs_err::write(dir.join("endpoint.json"), entry.to_string()).unwrap();
    for (pid, marker) in [(10, marker.clone()), (11, marker), (12, format!("{mark}web-1/2/n"))] {
        let child = process(&sources, pid, sources.uid, &format!("REPOD_BACKEND={marker}\0"));
        fs_err::remove_file(child.join("exe")).unwrap();
        symlink("/bin/sh", child.join("exe")).unwrap();
    }
    let left = async |sources: &Sources| {
        let findings = judge(&snapshot(sources).await).findings;
        let left = findings.into_iter().filter(|finding| finding.id == "RP612");
        left.flat_map(|it| it.evidence).filter_map(|it| it.pid).collect::<Vec<_>>()
    };
    assert_eq!(left(&sources).await, [12]);
    // The processes are audited, and the repo is not: its entry counts all the same.
    sources.only = vec!["/nowhere/src".into()];
    assert_eq!(left(&sources).await, [12]);
    fs_err::remove_dir_all(sources.proc.join("10")).unwrap();
    assert_eq!(left(&sources).await, [11, 12]);
    fs_err::write(dir.join("endpoint.json"), "{").unwrap();
    assert_eq!(left(&sources).await, [0; 0]);
}

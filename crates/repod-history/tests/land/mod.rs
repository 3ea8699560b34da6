//! A user with one shared database and two clones of one repository.

use repod_history::{Shared, Standing};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, ValueRef};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SCHEMA: &str = include_str!("../schema-1.18.33.sql");
const TABLES: [(&str, &str); 10] = [
    ("session", "id"),
    ("message", "session_id"),
    ("part", "session_id"),
    ("todo", "session_id"),
    ("session_share", "session_id"),
    ("session_context_epoch", "session_id"),
    ("session_input", "session_id"),
    ("session_message", "session_id"),
    ("event_sequence", "aggregate_id"),
    ("event", "aggregate_id"),
];

pub(crate) struct Land {
    dir: tempfile::TempDir,
    /// Keeps the log from being folded in, as a running OpenCode does.
    _open: Option<SqliteConnection>,
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).foreign_keys(false);
    options.connect().await.unwrap()
}

impl Land {
    /// With so many sessions, in turn of the one clone and the other.
    pub(crate) async fn new(sessions: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("user")).unwrap();
        let database = dir.path().join("user/opencode.db");
        let mut conn = open(&database).await;
        sqlx::raw_sql(SCHEMA).execute(&mut conn).await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO project (id, worktree, time_created, time_updated, sandboxes)
               VALUES ('p', '/a', 1, 1, '[\"/b\"]');
             INSERT INTO project_directory VALUES ('p', '/a', NULL, NULL, 1), ('p', '/b', NULL, NULL, 1);
             INSERT INTO account VALUES ('x', 'e', 'u', 'access', 'refresh', 1, 1, 1);
             INSERT INTO permission VALUES ('per', 'p', 'bash', 'ls', 1, 1);",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        for clone in ["a", "b"] {
            let snapshot = dir.path().join(format!("user/snapshot/p/of-{clone}"));
            fs_err::create_dir_all(snapshot.join("objects/ab")).unwrap();
            fs_err::write(snapshot.join("objects/ab/object"), "object").unwrap();
            fs_err::write(snapshot.join("index.lock"), "").unwrap();
            let config = format!("[core]\n\tbare = false\n\tworktree = /{clone}\n");
            fs_err::write(snapshot.join("config"), config).unwrap();
        }
        let land = Self { dir, _open: Some(conn) };
        for n in 0..sessions {
            land.session(&format!("ses_{n}"), if n % 2 == 0 { "/a" } else { "/b" }).await;
        }
        land
    }

    /// The same files as they lie there when everybody who had them open was killed.
    pub(crate) fn left_by_a_death(&self) -> Self {
        let left = Self { dir: tempfile::tempdir().unwrap(), _open: None };
        fs_err::create_dir_all(left.data()).unwrap();
        for suffix in ["", "-wal"] {
            let file = format!("{}{suffix}", left.database().display());
            fs_err::write(file, self.bytes(suffix)).unwrap();
        }
        left
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("opencode.db")
    }

    pub(crate) fn shared(&self) -> Shared {
        Shared { database: self.database(), data: self.data() }
    }

    pub(crate) fn bytes(&self, suffix: &str) -> Vec<u8> {
        fs_err::read(format!("{}{suffix}", self.database().display())).unwrap()
    }

    pub(crate) fn state_dir(&self, clone: &str) -> PathBuf {
        let dir = self.dir.path().join(format!("repos/{}", &clone[1..]));
        fs_err::create_dir_all(&dir).unwrap();
        dir
    }

    pub(crate) fn standings(&self, clone: &str) -> BTreeMap<String, Standing> {
        BTreeMap::from([(clone.to_owned(), Standing::Root)])
    }

    pub(crate) async fn session(&self, id: &str, directory: &str) {
        self.session_in(&self.database(), id, directory).await;
    }

    /// With every table a session has rows in, a text that is no UTF-8 and a blob among them.
    pub(crate) async fn session_in(&self, database: &Path, id: &str, directory: &str) {
        let sql = format!(
            "INSERT INTO session (id, project_id, slug, directory, title, version, cost, time_created, time_updated)
               VALUES ('{id}', 'p', 's', '{directory}', 'title of {id}', '1.18.33', 0.5, 1, 10);
             INSERT INTO message VALUES ('msg_{id}_1', '{id}', 1, 1, '{{\"n\":1}}'), ('msg_{id}_2', '{id}', 2, 2, '{{\"n\":2}}');
             INSERT INTO part VALUES ('prt_{id}_1', 'msg_{id}_1', '{id}', 1, 1, '{{\"text\":\"ü\"}}'),
               ('prt_{id}_2', 'msg_{id}_2', '{id}', 2, 2, CAST(x'ff41' AS TEXT)),
               ('prt_{id}_3', 'msg_{id}_2', '{id}', 2, 2, x'0041');
             INSERT INTO todo VALUES ('{id}', 'c', 'pending', 'high', 0, 1, 1);
             INSERT INTO session_share VALUES ('{id}', 'sh', 'secret', 'url', 1, 1);
             INSERT INTO session_context_epoch VALUES ('{id}', 'b', 's', 1);
             INSERT INTO session_input VALUES ('in_{id}', '{id}', 'p', 'queue', 1, NULL, 1);
             INSERT INTO session_message VALUES ('sm_{id}', '{id}', 't', 1, 1, 1, 'd');
             INSERT INTO event_sequence VALUES ('{id}', 1, NULL);
             INSERT INTO event VALUES ('evt_{id}_0', '{id}', 0, 'session.created.1', '{{}}'),
               ('evt_{id}_1', '{id}', 1, 'message.updated.1', '{{}}');"
        );
        self.run(database, &sql).await;
    }

    /// One more message, and its event.
    pub(crate) async fn go_on(&self, database: &Path, id: &str, whose: &str) {
        let sql = format!(
            "INSERT INTO message VALUES ('msg_{id}_{whose}', '{id}', 5, 5, '{{}}');
             UPDATE session SET time_updated = time_updated + 1 WHERE id = '{id}';
             UPDATE event_sequence SET seq = seq + 1 WHERE aggregate_id = '{id}';
             INSERT INTO event SELECT 'evt_{id}_{whose}', '{id}', seq, 'message.updated.1', '{{}}'
               FROM event_sequence WHERE aggregate_id = '{id}';"
        );
        self.run(database, &sql).await;
    }

    pub(crate) async fn delete(&self, database: &Path, id: &str) {
        for (table, column) in TABLES {
            self.run(database, &format!("DELETE FROM {table} WHERE {column} = '{id}'")).await;
        }
    }

    pub(crate) async fn run(&self, database: &Path, sql: &str) {
        let mut conn = open(database).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    pub(crate) async fn count(&self, database: &Path, sql: &str) -> i64 {
        let mut conn = open(database).await;
        let sql = AssertSqlSafe(sql.to_owned());
        let count = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        count
    }
}

/// Every value of every session's rows with its storage class, of the sessions of one directory or of all.
pub(crate) async fn rows(database: &Path, directory: Option<&str>) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    let mut conn = options.connect().await.unwrap();
    let mut all = Vec::new();
    for (table, column) in TABLES {
        let mut columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT name FROM pragma_table_info('{table}')"
        )))
        .fetch_all(&mut conn)
        .await
        .unwrap();
        columns.sort();
        let each: Vec<String> = columns
            .iter()
            .map(|c| format!("typeof(\"{c}\") || ':' || quote(CAST(\"{c}\" AS BLOB))"))
            .collect();
        let of = directory.map_or(String::new(), |d| format!(" WHERE directory = '{d}'"));
        let sql = format!(
            "SELECT {} FROM \"{table}\" WHERE \"{column}\" IN (SELECT id FROM session{of})",
            each.join(" || '|' || ")
        );
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap() {
            assert!(!row.try_get_raw(0).unwrap().is_null());
            all.push(format!("{table}: {}", row.get::<String, _>(0)));
        }
    }
    conn.close().await.unwrap();
    all.sort();
    assert!(!all.is_empty());
    all
}

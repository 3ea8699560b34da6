//! Databases, opened so that nothing of them changes: what damage they have, and who wrote files lately.
//!
//! A database in use is read beside its users (a WAL lets readers in). One that nobody has open is read as
//! immutable: opened in the usual way, SQLite would make a `-wal` and a `-shm` beside it.

use super::{Sources, checkout, distinct, resolved};
use crate::snapshot::{Database, Snapshot, Turn};
use serde::Deserialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Larger databases are checked only when that is asked for: `quick_check` reads all of it.
const CHECK_MAX: u64 = 32 * 1024 * 1024;
/// How long a writer is waited for. OpenCode itself waits 5 s.
const BUSY: Duration = Duration::from_secs(2);
/// How long one database may take, unless all of them are to be checked.
const PATIENCE: Duration = Duration::from_secs(3);
/// How far back turns are looked at.
const WINDOW: Duration = Duration::from_hours(1);
/// An answer that isn't complete is still being given if it began no longer ago; else its process died.
const UNDER_WAY: i64 = 10 * 60 * 1000;
/// Turns of so many sessions at most, the latest.
const SESSIONS_MAX: i64 = 200;
/// The session at the root of a session's tree, as far as it is there; a circle ends.
const ROOT: &str = "(WITH RECURSIVE up(id, parent, n) AS ( \
                       SELECT session.id, session.parent_id, 0 \
                       UNION ALL SELECT p.id, p.parent_id, n + 1 FROM up JOIN session p ON p.id = up.parent WHERE n < 32) \
                     SELECT id FROM up ORDER BY n DESC LIMIT 1)";
/// Tools that write files. What a shell command writes isn't known from its record.
const WRITERS: &str = "('write', 'edit', 'apply_patch', 'patch', 'multiedit')";

pub(super) async fn read(sources: &Sources, snapshot: &mut Snapshot) {
    let live = snapshot.opencode().flat_map(|process| process.files.iter().cloned());
    let live = live.filter(|path| path.extension().is_some_and(|ending| ending == "db"));
    let books = snapshot
        .records
        .iter()
        .filter_map(|record| record.file.parent())
        .flat_map(|dir| [dir.join("repod.db"), dir.join("data/opencode/opencode.db")]);
    let known =
        distinct(live.chain(books).filter(|path| path.is_file()).map(|path| resolved(&path)));
    // What was done in one that nobody has open was done before: only whether it is whole counts. A
    // damaged one is never open, because OpenCode ends on it.
    let idle = sources.own_data().map(|data| data.join("opencode.db"));
    let idle = idle.map(|path| resolved(&path)).filter(|path| path.is_file());
    let idle = idle.filter(|path| !known.contains(path));
    let all = known.into_iter().map(|path| (path, true)).chain(idle.map(|path| (path, false)));
    for (path, is_used) in all {
        let looked = tokio::time::timeout(
            if sources.deep { Duration::from_hours(1) } else { PATIENCE },
            look(&path, is_used, sources.deep, &mut snapshot.skipped),
        );
        match looked.await {
            Ok(Ok(database)) => snapshot.databases.push(database),
            Ok(Err(error)) if is_damage(&error) => {
                let damage = Some(error.to_string());
                snapshot.databases.push(Database { path, damage, ..Database::default() });
            }
            Ok(Err(error)) => snapshot.skipped.push(format!("{}: {error}", path.display())),
            Err(_) => snapshot.skipped.push(format!("{}: it took too long", path.display())),
        }
    }
}

async fn look(
    path: &Path,
    is_used: bool,
    deep: bool,
    skipped: &mut Vec<String>,
) -> Result<Database, sqlx::Error> {
    let mut database = Database { path: path.to_owned(), ..Database::default() };
    let size = path.metadata().map_or(0, |meta| meta.len());
    let mut connection = open(path).await?;
    if deep || size <= CHECK_MAX {
        let rows = sqlx::query_scalar::<_, String>("PRAGMA quick_check(3)")
            .fetch_all(&mut connection)
            .await?;
        let damage: Vec<String> = rows.into_iter().filter(|row| row != "ok").collect();
        database.damage = (!damage.is_empty()).then(|| damage.join("; "));
    } else {
        skipped.push(format!("{}: {size} bytes are not checked without `--deep`", path.display()));
    }
    if is_used && database.damage.is_none() && has_sessions(&mut connection).await? {
        database.turns = turns(&mut connection).await?;
        [database.misfiled, database.worktrees] = filed_elsewhere(&mut connection).await?;
    }
    connection.close().await?;
    Ok(database)
}

pub(super) async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name).exists()
    };
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
    options.immutable(!(beside("-wal") && beside("-shm"))).connect().await
}

pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // SQLITE_CORRUPT and SQLITE_NOTADB, the extended codes of the first included.
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

/// Whether it is OpenCode's, and of a make we know.
async fn has_sessions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('session', 'message', 'part')";
    Ok(sqlx::query_scalar::<_, i64>(query).fetch_one(connection).await? == 3)
}

/// One answer of the model, of the many a turn has.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "parentID")]
    parent: Option<String>,
    time: Time,
}

#[derive(Deserialize)]
struct Time {
    created: i64,
    completed: Option<i64>,
}

async fn turns(connection: &mut SqliteConnection) -> Result<Vec<Turn>, sqlx::Error> {
    let now = millis(SystemTime::now());
    let since = now - i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
    let query = format!(
        "SELECT m.data AS data, s.id AS id, s.root AS root, s.directory AS directory, s.title AS title, \
                EXISTS (SELECT 1 FROM part p WHERE p.message_id = m.id \
                        AND json_extract(p.data, '$.type') = 'tool' \
                        AND json_extract(p.data, '$.state.status') IN ('running', 'completed') \
                        AND json_extract(p.data, '$.tool') IN {WRITERS}) AS writes \
         FROM (SELECT *, {ROOT} AS root FROM session WHERE time_updated > ? ORDER BY time_updated DESC LIMIT ?) s \
         JOIN message m ON m.session_id = s.id AND m.time_created > ? \
         WHERE json_extract(m.data, '$.role') = 'assistant'"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(since)
        .bind(SESSIONS_MAX)
        .bind(since)
        .fetch_all(connection)
        .await?;
    let mut turns: BTreeMap<(String, String), (Turn, bool)> = BTreeMap::new();
    for row in rows {
        let data: String = row.try_get("data")?;
        // What is of another make is no turn we know.
        let Ok(message) = serde_json::from_str::<Message>(&data) else {
            continue;
        };
        let id: String = row.try_get("id")?;
        let from = message.time.created;
        let open_end = if now - from < UNDER_WAY { now } else { from };
        let to = message.time.completed.unwrap_or(open_end);
        let directory = PathBuf::from(row.try_get::<String, _>("directory")?);
        let root: String = row.try_get("root")?;
        let fresh = || {
            let checkout = checkout::of(&directory).map_or(directory, |found| found.root);
            let title = row.try_get("title").unwrap_or_default();
            (Turn { root_session: root, title, checkout, from, to }, false)
        };
        let (turn, writes) =
            turns.entry((id.clone(), message.parent.unwrap_or_default())).or_insert_with(fresh);
        turn.from = turn.from.min(from);
        turn.to = turn.to.max(to);
        *writes |= row.try_get::<i64, _>("writes")? != 0;
    }
    Ok(turns.into_values().filter(|(_, writes)| *writes).map(|(turn, _)| turn).collect())
}

/// Recent sessions' directories that lie elsewhere than the worktree they are filed under: in another
/// repository, and in another worktree of the same one.
async fn filed_elsewhere(
    connection: &mut SqliteConnection,
) -> Result<[Vec<(PathBuf, PathBuf)>; 2], sqlx::Error> {
    let exists = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'project'";
    if sqlx::query_scalar::<_, i64>(exists).fetch_one(&mut *connection).await? == 0 {
        return Ok(Default::default());
    }
    let query = "SELECT DISTINCT s.directory, p.worktree \
                 FROM (SELECT * FROM session ORDER BY time_updated DESC LIMIT ?) s JOIN project p ON p.id = s.project_id";
    let rows: Vec<(String, String)> =
        sqlx::query_as(query).bind(SESSIONS_MAX).fetch_all(connection).await?;
    let (mut misfiled, mut worktrees) = (Vec::new(), BTreeSet::new());
    for (directory, worktree) in rows {
        let (directory, worktree) = (PathBuf::from(directory), PathBuf::from(worktree));
        // Where either is no repository (any more), nothing can be said.
        match checkout::of(&directory).zip(checkout::of(&worktree)) {
            Some((one, other)) if one.common != other.common => {
                misfiled.push((directory, worktree));
            }
            Some((one, other)) if one.root != other.root => {
                worktrees.insert((one.root, other.root));
            }
            _ => {}
        }
    }
    Ok([misfiled, worktrees.into_iter().collect()])
}

pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

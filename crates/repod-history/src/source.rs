//! A database that is read: opened read-only, checked, and seen in one moment from first to last.
//!
//! It may be in use, and large. One transaction is held open for the whole reading, so what is copied fits
//! together; whoever writes meanwhile isn't kept from it. Nothing is written, neither to the file nor to its
//! write-ahead log: only SQLite's own shared index beside them (`-shm`) notes that somebody reads.

use crate::HistoryError;
use crate::relate::Mark;
use crate::schema::{self, LOGINS};
use crate::select::{Filed, Project, Survey};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long somebody who recovers the file is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// An open database, and the moment it is seen in.
#[derive(Debug)]
pub struct Source {
    pub(crate) path: PathBuf,
    pub(crate) conn: SqliteConnection,
}

impl Source {
    /// Opens it; `None` where there is no such file.
    ///
    /// # Errors
    /// When its schema isn't known, or it can't be read.
    pub async fn open(path: &Path) -> Result<Option<Self>, HistoryError> {
        match fs_err::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
            // One whose making was cut short; OpenCode makes it anew.
            Ok(meta) if meta.len() == 0 && !beside(path, "-wal").exists() => return Ok(None),
            Ok(_) => {}
        }
        let failed = |error| HistoryError::sql(path, error);
        let mut conn = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(BUSY)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(failed)?;
        sqlx::raw_sql("BEGIN").execute(&mut conn).await.map_err(failed)?;
        // The moment is chosen by the first read.
        schema::check(&mut conn, path).await?;
        Ok(Some(Self { path: path.to_owned(), conn }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn survey(&mut self) -> Result<Survey, HistoryError> {
        let path = &self.path;
        let failed = |error| HistoryError::sql(path, error);
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT id, worktree, sandboxes FROM project ORDER BY id")
                .fetch_all(&mut self.conn)
                .await
                .map_err(failed)?;
        let opened: Vec<(String, String)> =
            sqlx::query_as("SELECT project_id, directory FROM project_directory")
                .fetch_all(&mut self.conn)
                .await
                .map_err(failed)?;
        let projects = rows.into_iter().map(|(id, worktree, sandboxes)| {
            // A list that can't be read only means that the other sources of directories count.
            let listed: Vec<String> = serde_json::from_str(&sandboxes).unwrap_or_default();
            let opened = opened.iter().filter(|(project, _)| *project == id);
            let opened = opened.map(|(_, directory)| directory.clone());
            let directories: BTreeSet<String> = listed.into_iter().chain(opened).collect();
            Project { id, worktree, directories }
        });
        let projects = projects.collect();
        let sessions: Vec<(String, String, String)> =
            sqlx::query_as("SELECT id, project_id, directory FROM session ORDER BY id")
                .fetch_all(&mut self.conn)
                .await
                .map_err(failed)?;
        let sessions = sessions.into_iter();
        let sessions =
            sessions.map(|(id, project, directory)| Filed { id, project, directory }).collect();
        Ok(Survey { projects, sessions })
    }

    /// Tables of logins that have rows. Those stay where they are.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn logins(&mut self) -> Result<Vec<String>, HistoryError> {
        let mut found = Vec::new();
        for table in LOGINS {
            let sql = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM \"{table}\")"));
            let has: bool = sqlx::query_scalar(sql)
                .fetch_one(&mut self.conn)
                .await
                .map_err(|error| HistoryError::sql(&self.path, error))?;
            if has {
                found.push((*table).to_owned());
            }
        }
        Ok(found)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When SQLite says that it went wrong.
    pub async fn close(self) -> Result<(), HistoryError> {
        let Self { path, conn } = self;
        conn.close().await.map_err(|error| HistoryError::sql(&path, error))
    }
}

/// A file of SQLite's beside a database.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(crate) fn quoted(columns: &[&str]) -> String {
    columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ")
}

/// What is compared of a copy; `None` when there is no such session.
pub(crate) async fn mark(
    conn: &mut SqliteConnection,
    session: &str,
) -> Result<Option<Mark>, sqlx::Error> {
    let updated: Option<i64> = sqlx::query_scalar("SELECT time_updated FROM session WHERE id = ?")
        .bind(session.to_owned())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(updated) = updated else { return Ok(None) };
    let seq: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM event_sequence WHERE aggregate_id = ?")
            .bind(session.to_owned())
            .fetch_optional(&mut *conn)
            .await?;
    let last = match seq {
        Some(seq) => event_id(&mut *conn, session, seq).await?,
        None => None,
    };
    let (rows, newest): (i64, i64) = sqlx::query_as(
        "SELECT count(*), coalesce(max(t), 0) FROM (
           SELECT time_updated AS t FROM message WHERE session_id = ?1
           UNION ALL SELECT time_updated FROM part WHERE session_id = ?1
           UNION ALL SELECT time_updated FROM todo WHERE session_id = ?1
           UNION ALL SELECT time_updated FROM session_share WHERE session_id = ?1)",
    )
    .bind(session.to_owned())
    .fetch_one(&mut *conn)
    .await?;
    Ok(Some(Mark { seq, last, updated, rows, newest }))
}

/// The id of an event of a session's log.
pub(crate) async fn event_id(
    conn: &mut SqliteConnection,
    session: &str,
    seq: i64,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM event WHERE aggregate_id = ? AND seq = ?")
        .bind(session.to_owned())
        .bind(seq)
        .fetch_optional(conn)
        .await
}

//! A database that is written: the repo's own, while its backend doesn't run, or the user's, while nobody has
//! it open.

use crate::HistoryError;
use crate::schema;
use crate::source::Source;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long another holder of the file is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// An open database.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    pub(crate) conn: SqliteConnection,
}

impl Target {
    /// Opens a database that is there, and makes sure of its schema.
    pub(crate) async fn open(path: &Path) -> Result<Self, HistoryError> {
        let mut target = Self::connect(path, false).await?;
        schema::check(&mut target.conn, path).await?;
        Ok(target)
    }

    /// Opens one that is being made, or begins it, with the schema of `like`.
    pub(crate) async fn make(path: &Path, like: &mut Source) -> Result<Self, HistoryError> {
        let mut target = Self::connect(path, true).await?;
        let failed = |error| HistoryError::sql(path, error);
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut target.conn)
            .await
            .map_err(failed)?;
        if tables == 0 {
            target.lay(like).await?;
        }
        schema::check(&mut target.conn, path).await?;
        Ok(target)
    }

    async fn connect(path: &Path, create: bool) -> Result<Self, HistoryError> {
        let conn = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .busy_timeout(BUSY)
            // As OpenCode has it.
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // Rows are written in an order of our own; the source has them in order.
            .foreign_keys(false)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|error| HistoryError::sql(path, error))?;
        Ok(Self { path: path.to_owned(), conn })
    }

    /// The schema, as it is there, and which migrations that stands for: OpenCode goes on from them.
    async fn lay(&mut self, like: &mut Source) -> Result<(), HistoryError> {
        let from = like.path.clone();
        let from_failed = |error| HistoryError::sql(&from, error);
        let made: Vec<String> = sqlx::query_scalar(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL
             AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND tbl_name <> '__drizzle_migrations'
             ORDER BY type = 'index'",
        )
        .fetch_all(&mut like.conn)
        .await
        .map_err(from_failed)?;
        self.run("BEGIN IMMEDIATE").await?;
        for statement in made {
            let laid = self.conn.execute(AssertSqlSafe(statement)).await;
            laid.map_err(|error| HistoryError::sql(&self.path, error))?;
        }
        for (table, name) in [("migration", "id"), ("data_migration", "name")] {
            let sql = format!("SELECT \"{name}\", time_completed FROM \"{table}\"");
            let done: Vec<(String, i64)> = sqlx::query_as(AssertSqlSafe(sql))
                .fetch_all(&mut like.conn)
                .await
                .map_err(from_failed)?;
            for (id, at) in done {
                let sql =
                    format!("INSERT INTO \"{table}\" (\"{name}\", time_completed) VALUES (?, ?)");
                let noted = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(at);
                let noted = noted.execute(&mut self.conn).await;
                noted.map_err(|error| HistoryError::sql(&self.path, error))?;
            }
        }
        self.run("COMMIT").await
    }

    pub(crate) async fn run(&mut self, sql: &'static str) -> Result<(), HistoryError> {
        let done = sqlx::raw_sql(sql).execute(&mut self.conn).await;
        done.map(drop).map_err(|error| HistoryError::sql(&self.path, error))
    }

    /// Folds the write-ahead log into the file, which is then all there is.
    pub(crate) async fn close(mut self) -> Result<(), HistoryError> {
        self.run("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        let Self { path, conn } = self;
        conn.close().await.map_err(|error| HistoryError::sql(&path, error))
    }
}

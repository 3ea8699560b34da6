//! One repo's `repod.db`: opened, checked, brought to this version's schema.
//!
//! A file that is damaged, somebody else's, or newer than this program is an error and stays as it is.
//! Migrations are numbered and carry a checksum: one that was applied is never changed afterwards.

use crate::StoreError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, Transaction};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long another holder of the file is waited for.
const BUSY: Duration = Duration::from_secs(10);
/// How long a caller waits for the connection; a transaction of 64 MiB on a slow disk takes a while.
const ACQUIRE: Duration = Duration::from_secs(30);
/// How long an unused connection (a thread and its page cache) is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How soon it is asked again where SQLite doesn't wait.
const AGAIN: Duration = Duration::from_millis(5);
/// How temporary files end in a home, so that one left by a crash is swept away.
const TEMP_SUFFIX: &str = ".repod-tmp";
/// What the first migration writes into the file's head.
const APPLICATION_ID: i64 = 0x7265_7064;
/// The schema's version, which is the number of its last migration.
pub const SCHEMA: i64 = 3;

/// An open `repod.db`. Cheap to clone; the connections close when the last clone is gone, or by themselves
/// when they aren't used.
#[derive(Clone, Debug)]
pub struct RepoFile {
    path: Arc<Path>,
    /// What is committed here is on the disk: the journal's.
    pub(crate) durable: SqlitePool,
    /// What is committed here survives the program, not the machine: a session's every word would else be
    /// waited for. Two connections, so that who reads doesn't wait for who writes.
    pub(crate) quick: SqlitePool,
    /// SQLite has one writer. Waiting for that here is fair; waiting inside SQLite is not.
    writer: Arc<Semaphore>,
}

/// A transaction that may write. Dropped without [`Writing::commit`], nothing of it has happened.
pub(crate) struct Writing {
    all: Transaction<'static, Sqlite>,
    _writer: OwnedSemaphorePermit,
}

impl Writing {
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.all.commit().await
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.all
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.all
    }
}

impl RepoFile {
    /// Opens the file, makes it (0600) where there is none, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] and [`StoreError::TooNew`] leave the file as it was.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .pragma("journal_size_limit", "4194304")
            // KiB of pages a connection keeps in memory.
            .pragma("cache_size", "-512")
            .disable_statement_logging();
        let failed = |error| StoreError::sqlite(path, error);
        let mut first = options.clone().connect().await.map_err(failed)?;
        let prepared = prepare(path, &mut first).await;
        let closed = first.close().await.map_err(failed);
        prepared.and(closed)?;
        let pool = |connections, synchronous| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .min_connections(0)
                .acquire_timeout(ACQUIRE)
                .idle_timeout(IDLE)
                .max_lifetime(None)
                .test_before_acquire(false)
                .connect_lazy_with(options.clone().synchronous(synchronous))
        };
        Ok(Self {
            path: path.into(),
            durable: pool(1, SqliteSynchronous::Full),
            quick: pool(2, SqliteSynchronous::Normal),
            writer: Arc::new(Semaphore::new(1)),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the connections, after what is under way; the journal of SQLite is folded into the file.
    pub async fn close(&self) {
        self.quick.close().await;
        self.durable.close().await;
    }

    /// Begins a transaction that writes, in one of the two pools. The right to write is taken at once: SQLite
    /// can't give it later without a conflict.
    pub(crate) async fn write(&self, pool: &SqlitePool) -> Result<Writing, StoreError> {
        let writer = tokio::time::timeout(ACQUIRE, self.writer.clone().acquire_owned()).await;
        let Ok(Ok(writer)) = writer else { return Err(self.failed(sqlx::Error::PoolTimedOut)) };
        let all = pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.failed(error))?;
        Ok(Writing { all, _writer: writer })
    }

    /// What SQLite said about this file.
    pub(crate) fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::sqlite(&self.path, error)
    }
}

/// Whose file is it? Only then is anything in it changed, and all of that in one transaction.
async fn prepare(path: &Path, first: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite(path, error);
    // In one statement, so both are of the same moment.
    let (application, tables): (i64, i64) = sqlx::query_as(
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id",
    )
    .fetch_one(&mut *first)
    .await
    .map_err(failed)?;
    // A file whose making was cut short has neither a name nor tables.
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            reason: "it is another program's database".to_owned(),
        });
    }
    if tables == 0 {
        // What is deleted can be given back to the disk; that can be chosen for an empty file only.
        sqlx::raw_sql("PRAGMA auto_vacuum = INCREMENTAL")
            .execute(&mut *first)
            .await
            .map_err(failed)?;
    }
    let mut all = first.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    migrations()
        .run_direct(None, &mut *all, false)
        .await
        .map_err(|error| not_migrated(path, error))?;
    all.commit().await.map_err(failed)?;
    write_ahead(path, first).await
}

/// Readers don't wait for the writer then. The file remembers it; only the first time can it be in somebody's
/// way, and that SQLite answers at once instead of waiting.
async fn write_ahead(path: &Path, first: &mut SqliteConnection) -> Result<(), StoreError> {
    let until = Instant::now() + BUSY;
    loop {
        let answer = sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut *first).await;
        match answer.map_err(|error| StoreError::sqlite(path, error)) {
            Err(StoreError::Busy { .. }) if Instant::now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer.map(drop),
        }
    }
}

fn migrations() -> Migrator {
    let one = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        one(1, "journal", include_str!("../migrations/sqlite/0001_journal.sql")),
        one(2, "sessions", include_str!("../migrations/sqlite/0002_sessions.sql")),
        one(3, "prompt", include_str!("../migrations/sqlite/0003_prompt.sql")),
    ])
}

fn not_migrated(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::sqlite(path, error)
        }
        MigrateError::VersionMissing(found) if found > SCHEMA => {
            StoreError::TooNew { path: path.to_owned(), found, known: SCHEMA }
        }
        other => StoreError::Corrupt { path: path.to_owned(), reason: other.to_string() },
    }
}

/// Makes the file for its owner alone; SQLite gives the files beside it the same rights.
///
/// A file that is there is never opened here: closing it would take away, as POSIX has it, the locks that
/// SQLite holds on it anywhere in this process. So a new one is made under another name, too.
async fn make_private(path: &Path) -> Result<(), StoreError> {
    let path = path.to_owned();
    let wanted = path.clone();
    let made = tokio::task::spawn_blocking(move || make_new(&wanted))
        .await
        .unwrap_or_else(|ended| Err(std::io::Error::other(ended)));
    made.map_err(|source| StoreError::Open { path, source })
}

fn make_new(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 == 0 => return Ok(()),
        Ok(_) => return std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let directory = path.parent().unwrap_or(path);
    let new =
        tempfile::Builder::new().prefix(".repod.db.").suffix(TEMP_SUFFIX).tempfile_in(directory)?;
    match new.into_temp_path().persist_noclobber(path) {
        // Somebody else was first, and made the same.
        Err(taken) if taken.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(std::io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_committed_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let file = RepoFile::open(&dir.path().join("repod.db")).await.unwrap();
        let read = |pragma| sqlx::query_scalar::<_, i64>(pragma).fetch_one(&file.durable);
        assert_eq!(read("PRAGMA synchronous").await.unwrap(), 2, "FULL");
        assert_eq!(read("PRAGMA foreign_keys").await.unwrap(), 1);
        assert_eq!(read("PRAGMA auto_vacuum").await.unwrap(), 2, "INCREMENTAL");
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&file.durable).await.unwrap();
        assert_eq!(mode, "wal");
    }
}

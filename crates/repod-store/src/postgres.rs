//! A Postgres that several daemons share: connected, checked, brought to this version's schema.

use crate::StoreError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};
use std::path::PathBuf;
use std::time::Duration;

/// How long a caller waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_mins(5);
/// The most connections of one daemon; every one is a process over there.
const CONNECTIONS: u32 = 8;
/// The schema's version there, which is the number of its last migration.
pub const POSTGRES_SCHEMA: i64 = 2;

/// A connected database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    /// What it is called in messages: the address without the password.
    pub(crate) name: PathBuf,
    pub(crate) pool: PgPool,
}

impl Postgres {
    /// Connects to `postgres://user:password@host/database` and brings the schema up to date. The tables are
    /// made in the first schema of the user's search path, and are all called `agent_…`.
    pub(crate) async fn connect(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(|error| StoreError::Database {
            // Not the address: it may hold a password.
            path: PathBuf::from("postgres"),
            source: Box::new(error),
        })?;
        let options = options
            .application_name("repod")
            // Every wait has a limit, on their side too.
            .options([
                ("lock_timeout", "10s"),
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "60s"),
            ])
            .disable_statement_logging();
        let database = options.get_database().unwrap_or_default();
        let host = options.get_socket().map_or_else(
            || format!("{}:{}", options.get_host(), options.get_port()),
            |socket| socket.display().to_string(),
        );
        let name = PathBuf::from(format!("postgres://{host}/{database}"));
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .min_connections(0)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(IDLE)
            .connect_lazy_with(options.clone());
        let this = Self { name, pool };
        // A connection of its own: a migration that fails leaves its lock with the connection.
        let first = tokio::time::timeout(ACQUIRE, options.connect()).await;
        let mut first =
            first.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| this.failed(error))?;
        let migrated = this.migrate(&mut first).await;
        let closed = first.close().await.map_err(|error| this.failed(error));
        migrated.and(closed)?;
        Ok(this)
    }

    async fn migrate(&self, on: &mut PgConnection) -> Result<(), StoreError> {
        let one = |version, name: &'static str, sql: &'static str| {
            let kind = MigrationType::Simple;
            Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
        };
        let mut migrator = Migrator::with_migrations(vec![
            one(1, "sessions", include_str!("../migrations/postgres/0001_sessions.sql")),
            one(2, "prompt", include_str!("../migrations/postgres/0002_prompt.sql")),
        ]);
        // Others may keep their tables in the same database, and their migrations' under the usual name.
        migrator.dangerous_set_table_name("agent_migrations");
        let path = self.name.clone();
        migrator.run_direct(None, on, false).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                self.failed(error)
            }
            MigrateError::VersionMissing(found) if found > POSTGRES_SCHEMA => {
                StoreError::TooNew { path, found, known: POSTGRES_SCHEMA }
            }
            other => StoreError::Corrupt { path, reason: other.to_string() },
        })
    }

    /// What it said.
    pub(crate) fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::postgres(&self.name, error)
    }
}

//! The one place that knows there are two databases: the same statements run on both.
//!
//! Parameters are `$1`, `$2`, … in both; numbers are 64 bits, and sums and counts are cast to that. What is
//! read to be changed is locked ([`Lock`]): Postgres locks rows, SQLite has locked everything already.

use crate::file::Writing;
use crate::postgres::Postgres;
use crate::{RepoFile, StoreError};
use sqlx::postgres::{PgRow, Postgres as Pg};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, Row as _, SqlSafeStr, SqlStr, Transaction, Type};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the rows are.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(RepoFile),
    Postgres(Postgres),
}

/// A transaction. Dropped without [`Tx::commit`], nothing of it has happened.
pub(super) struct Tx<'d> {
    on: On,
    database: &'d Database,
}

enum On {
    SqliteWriting(Writing),
    SqliteReading(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Pg>),
}

/// Whom a row that is read is kept from until the transaction ends.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    /// From all who would change it or lock it.
    Change,
    /// From those who would change it.
    Share,
}

/// A parameter.
pub(super) enum Value<'a> {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

/// A row of an answer.
pub(super) struct Row<'d> {
    row: AnyRow,
    database: &'d Database,
}

enum AnyRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Database {
    /// A transaction that only reads, all of it at one moment.
    pub(super) async fn read(&self) -> Result<Tx<'_>, StoreError> {
        let on = match self {
            Self::Sqlite(file) => file.quick.begin().await.map(On::SqliteReading),
            Self::Postgres(postgres) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                postgres.pool.begin_with(begin).await.map(On::Postgres)
            }
        };
        Ok(Tx { on: on.map_err(|error| self.failed(error))?, database: self })
    }

    /// A transaction that changes things.
    pub(super) async fn write(&self) -> Result<Tx<'_>, StoreError> {
        let on = match self {
            Self::Sqlite(file) => On::SqliteWriting(file.write(&file.quick).await?),
            Self::Postgres(postgres) => {
                On::Postgres(postgres.pool.begin().await.map_err(|error| self.failed(error))?)
            }
        };
        Ok(Tx { on, database: self })
    }

    pub(super) async fn end(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(postgres) => postgres.pool.close().await,
        }
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Sqlite(file) => file.failed(error),
            Self::Postgres(postgres) => postgres.failed(error),
        }
    }

    /// It was in use in a way that asking again may not meet.
    pub(super) fn busy(&self) -> StoreError {
        StoreError::Busy { path: self.name().to_owned() }
    }

    fn name(&self) -> &Path {
        match self {
            Self::Sqlite(file) => file.path(),
            Self::Postgres(postgres) => &postgres.name,
        }
    }

    /// The same schema holds a word nobody knows: somebody else has written there.
    fn strange(&self, what: &str, word: &str) -> StoreError {
        StoreError::Corrupt {
            path: self.name().to_owned(),
            reason: format!("it holds an unknown {what}, `{word}`"),
        }
    }
}

/// One statement with its parameters; the same tokens for either database's types.
macro_rules! bound {
    ($sql:expr, $values:expr, $text:path) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match value {
                Value::Int(number) => query.bind(*number),
                Value::MaybeInt(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.map($text)),
                Value::Bytes(bytes) => query.bind(bytes.map(<[u8]>::to_vec)),
            };
        }
        query
    }};
}

impl<'d> Tx<'d> {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let done = match self.on {
            On::SqliteWriting(writing) => writing.commit().await,
            On::SqliteReading(all) => all.commit().await,
            On::Postgres(all) => all.commit().await,
        };
        done.map_err(|error| self.database.failed(error))
    }

    /// Runs a statement and says how many rows it has changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        let changed = match &mut self.on {
            On::SqliteWriting(all) => bound!(sql, values, str::to_owned)
                .execute(&mut **all)
                .await
                .map(|done| done.rows_affected()),
            On::SqliteReading(all) => bound!(sql, values, str::to_owned)
                .execute(&mut **all)
                .await
                .map(|done| done.rows_affected()),
            On::Postgres(all) => bound!(sql, values, without_nul)
                .execute(&mut **all)
                .await
                .map(|done| done.rows_affected()),
        };
        changed.map_err(|error| self.database.failed(error))
    }

    /// All rows of an answer.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row<'d>>, StoreError> {
        self.fetch(sql.into_sql_str(), values).await
    }

    /// The first row of an answer.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row<'d>>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The first row of an answer, kept from others.
    pub(super) async fn locked(
        &mut self,
        lock: Lock,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row<'d>>, StoreError> {
        let sql = match (&self.on, lock) {
            (On::Postgres(_), Lock::Change) => {
                AssertSqlSafe(format!("{sql} FOR UPDATE")).into_sql_str()
            }
            (On::Postgres(_), Lock::Share) => {
                AssertSqlSafe(format!("{sql} FOR SHARE")).into_sql_str()
            }
            _ => sql.into_sql_str(),
        };
        Ok(self.fetch(sql, values).await?.into_iter().next())
    }

    async fn fetch(
        &mut self,
        sql: SqlStr,
        values: &[Value<'_>],
    ) -> Result<Vec<Row<'d>>, StoreError> {
        let rows: Result<Vec<AnyRow>, _> = match &mut self.on {
            On::SqliteWriting(all) => {
                sqlite(bound!(sql, values, str::to_owned).fetch_all(&mut **all).await)
            }
            On::SqliteReading(all) => {
                sqlite(bound!(sql, values, str::to_owned).fetch_all(&mut **all).await)
            }
            On::Postgres(all) => {
                let rows = bound!(sql, values, without_nul).fetch_all(&mut **all).await;
                rows.map(|rows| rows.into_iter().map(AnyRow::Postgres).collect())
            }
        };
        let database = self.database;
        let rows = rows.map_err(|error| database.failed(error))?;
        Ok(rows.into_iter().map(|row| Row { row, database }).collect())
    }

    /// Milliseconds since 1970 by the clock all owners share: the database's.
    pub(super) async fn shared_now(&mut self) -> Result<i64, StoreError> {
        if !matches!(self.on, On::Postgres(_)) {
            return Ok(now());
        }
        let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS now";
        match self.row(sql, &[]).await? {
            Some(row) => row.get("now"),
            None => Err(self.database.failed(sqlx::Error::RowNotFound)),
        }
    }
}

fn sqlite(rows: Result<Vec<SqliteRow>, sqlx::Error>) -> Result<Vec<AnyRow>, sqlx::Error> {
    rows.map(|rows| rows.into_iter().map(AnyRow::Sqlite).collect())
}

/// Postgres can't keep a NUL in a text.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Row<'_> {
    pub(super) fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Pg> + Type<Pg>,
    {
        let value = match &self.row {
            AnyRow::Sqlite(row) => row.try_get(column),
            AnyRow::Postgres(row) => row.try_get(column),
        };
        value.map_err(|error| self.database.failed(error))
    }

    /// A number that is never negative.
    pub(super) fn count(&self, column: &str) -> Result<u64, StoreError> {
        Ok(self.get::<i64>(column)?.cast_unsigned())
    }

    pub(super) fn strange(&self, what: &str, word: &str) -> StoreError {
        self.database.strange(what, word)
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Int(number.cast_signed())
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::MaybeInt(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

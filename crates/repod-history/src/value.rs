//! Rows as they are: each value with the storage class it has, each text with its very bytes.

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Row as _, TypeInfo, ValueRef, query::Query};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    /// A text that is not UTF-8, which SQLite allows.
    Bytes(Vec<u8>),
    Blob(Vec<u8>),
}

impl Value {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// How it stands in a statement.
    pub(crate) fn placeholder(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "CAST(? AS TEXT)",
            _ => "?",
        }
    }

    pub(crate) fn bind<'q>(
        self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        match self {
            Self::Null => query.bind(None::<i64>),
            Self::Int(value) => query.bind(value),
            Self::Real(value) => query.bind(value),
            Self::Text(value) => query.bind(value),
            Self::Bytes(value) | Self::Blob(value) => query.bind(value),
        }
    }
}

/// Every value of a row, in the order of its columns.
pub(crate) fn read(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.len()).map(|at| read_one(row, at)).collect()
}

fn read_one(row: &SqliteRow, at: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => Value::Int(row.try_get_unchecked(at)?),
        "REAL" => Value::Real(row.try_get_unchecked(at)?),
        "TEXT" => match String::from_utf8(row.try_get_unchecked(at)?) {
            Ok(text) => Value::Text(text),
            Err(other) => Value::Bytes(other.into_bytes()),
        },
        _ => Value::Blob(row.try_get_unchecked(at)?),
    })
}

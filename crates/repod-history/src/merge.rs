//! One session, from one database into another, and what several sessions have in common.
//!
//! A session is carried whole or not at all: its own row and all that belongs to it are written in one
//! transaction. That makes the copying resumable at any point, and repeating it harmless.

use crate::HistoryError;
use crate::relate::{Relation, relate};
use crate::schema::{OF_SESSION, columns};
use crate::select::Selection;
use crate::source::{Source, event_id, mark, quoted};
use crate::value::{self, Value};
use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;

/// What became of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Added,
    Updated,
    /// It was there already, or the copy there is further on.
    Unchanged,
    /// Both copies went on: what either has is kept.
    Merged,
}

/// How rows that are there already are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    /// There are none.
    None,
    Stay,
    /// The one that was changed later stays.
    Later,
}

/// Carries one session. The caller has a transaction open on `to`.
pub(crate) async fn session(
    from: &mut Source,
    to: &mut SqliteConnection,
    to_path: &Path,
    id: &str,
) -> Result<Carried, HistoryError> {
    let path = from.path.clone();
    let from_failed = |error| HistoryError::sql(&path, error);
    let to_failed = |error| HistoryError::sql(to_path, error);
    let Some(ours) = mark(&mut from.conn, id).await.map_err(from_failed)? else {
        return Ok(Carried::Unchanged);
    };
    let Some(theirs) = mark(&mut *to, id).await.map_err(to_failed)? else {
        replace(from, to, to_path, id).await?;
        return Ok(Carried::Added);
    };
    let in_from = match theirs.seq {
        Some(seq) => event_id(&mut from.conn, id, seq).await.map_err(from_failed)?,
        None => None,
    };
    let in_to = match ours.seq {
        Some(seq) => event_id(&mut *to, id, seq).await.map_err(to_failed)?,
        None => None,
    };
    match relate(&ours, &theirs, in_from.as_deref(), in_to.as_deref()) {
        Relation::Same | Relation::Behind => Ok(Carried::Unchanged),
        Relation::Ahead => {
            replace(from, to, to_path, id).await?;
            Ok(Carried::Updated)
        }
        Relation::Diverged => {
            let later = ours.updated > theirs.updated;
            unite(from, to, to_path, id, later).await?;
            Ok(Carried::Merged)
        }
    }
}

/// Whether there is such a session.
pub(crate) async fn is_there(
    conn: &mut SqliteConnection,
    path: &Path,
    id: &str,
) -> Result<bool, HistoryError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM session WHERE id = ?)")
        .bind(id.to_owned())
        .fetch_one(conn)
        .await
        .map_err(|error| HistoryError::sql(path, error))
}

/// The copy there becomes the one that is read.
async fn replace(
    from: &mut Source,
    to: &mut SqliteConnection,
    to_path: &Path,
    id: &str,
) -> Result<(), HistoryError> {
    for (table, column) in OF_SESSION.iter().rev().chain(&[("session", "id")]) {
        let sql = format!("DELETE FROM \"{table}\" WHERE \"{column}\" = ?");
        let deleted = sqlx::query(AssertSqlSafe(sql)).bind(id.to_owned()).execute(&mut *to).await;
        deleted.map_err(|error| HistoryError::sql(to_path, error))?;
    }
    for (table, column) in [("session", "id")].iter().chain(OF_SESSION) {
        rows(from, to, to_path, (table, column, id), There::None).await?;
    }
    Ok(())
}

/// Both went on: rows that only one has are kept, of two the one that was changed later. The log stays the one
/// that is there, because two logs of one session can't be made into one.
async fn unite(
    from: &mut Source,
    to: &mut SqliteConnection,
    to_path: &Path,
    id: &str,
    from_is_later: bool,
) -> Result<(), HistoryError> {
    for (table, column) in [("session", "id")].iter().chain(OF_SESSION) {
        match *table {
            "event" | "event_sequence" => {}
            "todo" if from_is_later => {
                sqlx::query("DELETE FROM todo WHERE session_id = ?")
                    .bind(id.to_owned())
                    .execute(&mut *to)
                    .await
                    .map_err(|error| HistoryError::sql(to_path, error))?;
                rows(from, to, to_path, (table, column, id), There::Stay).await?;
            }
            "todo" => {}
            "session" | "message" | "part" => {
                rows(from, to, to_path, (table, column, id), There::Later).await?;
            }
            _ => rows(from, to, to_path, (table, column, id), There::Stay).await?,
        }
    }
    Ok(())
}

/// What the sessions have in common: projects, their directories, saved permissions, workspaces. What is there
/// already stays.
pub(crate) async fn common(
    from: &mut Source,
    to: &mut SqliteConnection,
    to_path: &Path,
    selection: &Selection,
) -> Result<(), HistoryError> {
    for project in &selection.projects {
        for row in fetch(from, "project", "id", project).await? {
            let row = as_own_project(row, selection);
            insert(to, to_path, "project", row, There::Stay).await?;
        }
        rows(from, to, to_path, ("permission", "project_id", project), There::Stay).await?;
        for (table, place) in [("project_directory", "directory"), ("workspace", "directory")] {
            let at = columns(table).iter().position(|column| *column == place);
            for row in fetch(from, table, "project_id", project).await? {
                let directory = at.and_then(|at| row.get(at)).and_then(Value::text);
                // A workspace without a directory of its own is the project's.
                if directory.is_none_or(|directory| selection.directories.contains(directory)) {
                    insert(to, to_path, table, row, There::Stay).await?;
                }
            }
        }
    }
    Ok(())
}

/// A project of two clones names the one it was first opened in; in a repo's own database it is this repo's.
fn as_own_project(mut row: Vec<Value>, selection: &Selection) -> Vec<Value> {
    let own = |directory: &str| selection.directories.contains(directory);
    for (column, value) in columns("project").iter().zip(&mut row) {
        let Value::Text(text) = value else { continue };
        match *column {
            "worktree" if !own(text) && text != "/" && !selection.root.is_empty() => {
                selection.root.clone_into(text);
            }
            "sandboxes" if !selection.root.is_empty() => {
                let listed: Vec<String> = serde_json::from_str(text).unwrap_or_default();
                let kept: Vec<&String> =
                    listed.iter().filter(|one| own(one) && **one != selection.root).collect();
                *text = serde_json::json!(kept).to_string();
            }
            _ => {}
        }
    }
    row
}

async fn fetch(
    from: &mut Source,
    table: &str,
    column: &str,
    key: &str,
) -> Result<Vec<Vec<Value>>, HistoryError> {
    let sql = format!("SELECT {} FROM \"{table}\" WHERE \"{column}\" = ?", quoted(columns(table)));
    let path = &from.path;
    let failed = |error| HistoryError::sql(path, error);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(key.to_owned()).fetch_all(&mut from.conn).await;
    rows.map_err(failed)?.iter().map(|row| value::read(row).map_err(failed)).collect()
}

/// Copies the rows of one table that have this key. One at a time: a session may be larger than memory.
async fn rows(
    from: &mut Source,
    to: &mut SqliteConnection,
    to_path: &Path,
    (table, column, key): (&str, &str, &str),
    there: There,
) -> Result<(), HistoryError> {
    let sql = format!("SELECT {} FROM \"{table}\" WHERE \"{column}\" = ?", quoted(columns(table)));
    let path = &from.path;
    let failed = |error| HistoryError::sql(path, error);
    let mut found = sqlx::query(AssertSqlSafe(sql)).bind(key.to_owned()).fetch(&mut from.conn);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        let row = value::read(&row).map_err(failed)?;
        insert(to, to_path, table, row, there).await?;
    }
    Ok(())
}

async fn insert(
    to: &mut SqliteConnection,
    to_path: &Path,
    table: &str,
    row: Vec<Value>,
    there: There,
) -> Result<(), HistoryError> {
    let columns = columns(table);
    let places: Vec<&str> = row.iter().map(Value::placeholder).collect();
    let or = if there == There::Stay { "OR IGNORE " } else { "" };
    let mut sql =
        format!("INSERT {or}INTO \"{table}\" ({}) VALUES ({})", quoted(columns), places.join(", "));
    if there == There::Later {
        let set: Vec<String> =
            columns.iter().map(|column| format!("\"{column}\" = excluded.\"{column}\"")).collect();
        sql.push_str(&format!(
            " ON CONFLICT (id) DO UPDATE SET {} WHERE excluded.time_updated > \"{table}\".time_updated",
            set.join(", ")
        ));
    }
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in row {
        query = value.bind(query);
    }
    query.execute(to).await.map(drop).map_err(|error| HistoryError::sql(to_path, error))
}

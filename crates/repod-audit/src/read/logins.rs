//! Logins that OpenCode keeps in its database. repod never copies them, since two copies of one rotating
//! token end each other: so a repo's own database may lack some. Only their names are read.

use super::database;
use crate::snapshot::{Record, Snapshot};
use serde::Deserialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Each table of logins in OpenCode 1.18, and what a row is called.
const TABLES: [(&str, &str); 3] = [
    ("account", "email || ' at ' || url"),
    ("control_account", "email || ' at ' || url"),
    ("credential", "coalesce(integration_id, connector_id, 'credential') || ' ' || label"),
];
/// Logins of one table that are told apart.
const LOGINS_MAX: u32 = 100;
/// How long one database may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is larger is no record.
const RECORD_MAX: u64 = 64 * 1024 * 1024;

/// What is known of a repo's history.
#[derive(Deserialize)]
struct History {
    state: String,
    database: PathBuf,
}

pub(super) async fn read(snapshot: &mut Snapshot) {
    let Snapshot { records, skipped, .. } = snapshot;
    let mut users: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for record in records {
        let Some((own, origin)) = databases(record) else { continue };
        if !users.contains_key(&origin) {
            users.insert(origin.clone(), of(&origin, skipped).await);
        }
        let Some(users) = users.get(&origin).filter(|users| !users.is_empty()) else { continue };
        let had = of(&own, skipped).await;
        record.logged_out = users.difference(&had).cloned().collect();
    }
}

/// A repo's database, and the one its sessions came from.
fn databases(record: &Record) -> Option<(PathBuf, PathBuf)> {
    let dir = record.file.parent()?;
    let file = dir.join("history.json");
    let is_sensible =
        file.symlink_metadata().is_ok_and(|it| it.is_file() && it.len() <= RECORD_MAX);
    let text = is_sensible.then(|| fs_err::read(&file).ok())??;
    let history: History = serde_json::from_slice(&text).ok()?;
    let own = dir.join("data/opencode/opencode.db");
    let is_apart = history.state != "ejected" && own.is_file() && history.database.is_file();
    is_apart.then_some((own, history.database))
}

async fn of(path: &Path, skipped: &mut Vec<String>) -> BTreeSet<String> {
    match tokio::time::timeout(PATIENCE, logins(path)).await {
        Ok(Ok(found)) => found,
        // One that is damaged has a finding of its own.
        Ok(Err(error)) if database::is_damage(&error) => BTreeSet::new(),
        Ok(Err(error)) => {
            skipped.push(format!("logins in {}: {error}", path.display()));
            BTreeSet::new()
        }
        Err(_) => {
            skipped.push(format!("logins in {}: it took too long", path.display()));
            BTreeSet::new()
        }
    }
}

async fn logins(path: &Path) -> Result<BTreeSet<String>, sqlx::Error> {
    let mut connection = database::open(path).await?;
    let mut found = BTreeSet::new();
    for (table, name) in TABLES {
        if has(&mut connection, table).await? {
            let sql = format!("SELECT {name} FROM \"{table}\" LIMIT {LOGINS_MAX}");
            let names: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
            found.extend(names);
        }
    }
    connection.close().await?;
    Ok(found)
}

async fn has(connection: &mut SqliteConnection, table: &str) -> Result<bool, sqlx::Error> {
    let query = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)";
    sqlx::query_scalar(query).bind(table).fetch_one(connection).await
}

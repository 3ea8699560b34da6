//! The databases themselves: copies of real sessions in bulk, and rows to compare.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::path::Path;

/// What a transcript is made of.
const TRANSCRIPT: [(&str, &str); 4] = [
    ("message", "session_id"),
    ("part", "session_id"),
    ("todo", "session_id"),
    ("event", "aggregate_id"),
];

async fn open(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database).foreign_keys(false);
    options.busy_timeout(crate::BOUND).connect().await.unwrap()
}

pub(crate) async fn run(database: &Path, sql: String) {
    let mut conn = open(database).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// Nobody else writes there until what is returned is awaited.
pub(crate) async fn locked(database: &Path) -> impl Future<Output = ()> {
    let mut conn = open(database).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut conn).await.unwrap();
    async move { conn.close().await.unwrap() }
}

/// So many copies of a session, under new ids. OpenCode may have the database open.
pub(crate) async fn multiply(database: &Path, session: &str, copies: usize) {
    let mut conn = open(database).await;
    for n in 0..copies {
        let id = |column: &str| format!("{column} || 'x{n}'");
        let mut sql = "BEGIN IMMEDIATE;".to_owned();
        for (table, key) in
            [("session", "id"), ("event_sequence", "aggregate_id")].iter().chain(&TRANSCRIPT)
        {
            let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
                .bind(*table)
                .fetch_all(&mut conn)
                .await
                .unwrap();
            let values: Vec<String> = columns
                .iter()
                .map(|column| match column.as_str() {
                    "id" | "message_id" | "session_id" | "aggregate_id" => id(column),
                    "data" if *table == "event" => {
                        format!("replace(data, '{session}', '{session}x{n}')")
                    }
                    _ => column.clone(),
                })
                .collect();
            sql += &format!(
                "INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE {key} = '{session}';",
                columns.join(", "),
                values.join(", ")
            );
        }
        sqlx::raw_sql(AssertSqlSafe(sql + "COMMIT")).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
}

/// All that the transcripts of these sessions are made of: each value's bytes and its storage class.
pub(crate) async fn transcripts(database: &Path, sessions: &[String]) -> Vec<String> {
    let mut conn = open(database).await;
    let mut all = Vec::new();
    for (table, key) in TRANSCRIPT {
        let mut columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
            .bind(table)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        columns.sort();
        let each: Vec<String> =
            columns.iter().map(|c| format!("typeof({c}) || quote(CAST({c} AS BLOB))")).collect();
        let sql = format!("SELECT {} FROM {table} WHERE {key} = ?", each.join(" || '|' || "));
        for session in sessions {
            let sql = AssertSqlSafe(sql.clone());
            let rows: Vec<String> =
                sqlx::query_scalar(sql).bind(session).fetch_all(&mut conn).await.unwrap();
            all.extend(rows.into_iter().map(|row| format!("{table} {row}")));
        }
    }
    conn.close().await.unwrap();
    all.sort();
    all
}

//! What is Postgres' own: connecting, its schema, and what is said when it isn't there.

use crate::place::{self, Place};
use repod_store::{Limits, POSTGRES_SCHEMA, SqlStore, Store, StoreError};
use repod_testkit::Postgres;
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn a_postgres_is_connected_to_checked_and_told_about() {
    let server = Postgres::start().await;
    let Place::Postgres(url) = Place::postgres(&server, "shared").await else { unreachable!() };
    // Somebody else's tables are there, and migrations by the same library.
    let mut raw = PgConnection::connect(&url).await.unwrap();
    let theirs = "CREATE TABLE turns (a int); CREATE TABLE _sqlx_migrations (version bigint)";
    sqlx::raw_sql(theirs).execute(&mut raw).await.unwrap();

    let mut daemons = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let url = url.clone();
        daemons.spawn(async move { SqlStore::postgres(&url, Limits::default()).await.unwrap() });
    }
    let daemons = daemons.join_all().await;
    place::with_session(&daemons[0], "home").await;
    assert!(daemons[5].session(&place::key()).await.unwrap().is_some());

    let newer = "INSERT INTO agent_migrations VALUES ($1, 'of tomorrow', now(), true, '', 0)";
    sqlx::query(newer).bind(POSTGRES_SCHEMA + 1).execute(&mut raw).await.unwrap();
    let refused = SqlStore::postgres(&url, Limits::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { .. }), "{refused:?}");
    drop(server);
    let gone = daemons[1].session(&place::key()).await.unwrap_err();
    assert!(matches!(gone, StoreError::Unreachable { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_postgres_that_is_not_there_is_named_without_the_password() {
    for url in [
        "postgres://me:secret@127.0.0.1:1/mine",
        "postgres://me:secret@/mine?host=/nowhere",
        "postgres://me:secret@127.0.0.1:what/mine",
    ] {
        let refused = SqlStore::postgres(url, Limits::default()).await.unwrap_err();
        let said = format!("{refused} {refused:?}");
        assert!(!said.contains("secret"), "{said}");
        assert!(said.contains("mine") || matches!(refused, StoreError::Database { .. }), "{said}");
    }
}

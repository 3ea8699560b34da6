//! Where a story is played: a database that any number of daemons can open.

use repod_store::{Begun, Change, Ensured, Session, Store, Turn};
use repod_store::{
    Limits, NewSession, NewTurn, Outcome, Owner, RepoFile, SessionKey, Settlement, SqlStore,
    Started,
};
use repod_testkit::Postgres;
use sqlx::{Connection, PgConnection};
use std::time::Duration;

/// Longer than any story.
pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn postgres(server: &Postgres, name: &str) -> Self {
        let mut raw = PgConnection::connect(&server.url("postgres")).await.unwrap();
        // A name has room for 63 characters.
        let name: String = name.chars().take(60).collect();
        let make = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
        Self::Postgres(server.url(&name))
    }

    pub(crate) async fn open(&self) -> SqlStore {
        self.open_with(Limits::default()).await
    }

    /// A daemon's own connection.
    pub(crate) async fn open_with(&self, limits: Limits) -> SqlStore {
        match self {
            Self::Sqlite(dir) => {
                let file = RepoFile::open(&dir.path().join("repod.db")).await.unwrap();
                SqlStore::sqlite(file, limits)
            }
            Self::Postgres(url) => SqlStore::postgres(url, limits).await.unwrap(),
        }
    }
}

pub(crate) fn key() -> SessionKey {
    SessionKey::new("web-1", "review")
}

pub(crate) fn new_session(key: &SessionKey) -> NewSession {
    NewSession {
        key: key.clone(),
        directory: "/src/web".to_owned(),
        backend: "opencode".to_owned(),
        agent: "build".to_owned(),
        model: "test/one".to_owned(),
        title: "look at it".to_owned(),
        config_hash: "c0ffee".to_owned(),
        options: "{}".to_owned(),
    }
}

pub(crate) fn new_turn(turn_id: &str) -> NewTurn {
    NewTurn {
        turn_id: turn_id.to_owned(),
        input: format!("do {turn_id}").into_bytes(),
        prompt: format!("do {turn_id}"),
        most_ahead: 100,
    }
}

pub(crate) fn on(generation: u64) -> Started {
    Started { generation, message_id: Some("msg_1".to_owned()) }
}

pub(crate) fn completed() -> Settlement {
    Settlement { outcome: Outcome::Completed, error: None, crashed: false }
}

/// A daemon that has a session.
pub(crate) async fn with_session(store: &SqlStore, owner: &str) -> (Owner, Session) {
    let owner = store.enrol(owner, LONG).await.unwrap();
    let Ensured::Created(session) = store.ensure(&owner, &new_session(&key())).await.unwrap()
    else {
        panic!("there was one")
    };
    (owner, session)
}

/// A turn put in line.
pub(crate) async fn queued(store: &SqlStore, owner: &Owner, turn_id: &str) -> Turn {
    match store.begin_turn(owner, &key(), &new_turn(turn_id)).await.unwrap() {
        Change::Updated(Begun::New(turn, _)) => turn,
        other => panic!("{other:?}"),
    }
}

/// A turn that runs.
pub(crate) async fn running(store: &SqlStore, owner: &Owner, turn_id: &str) -> Turn {
    let turn = queued(store, owner, turn_id).await;
    store.start_turn(owner, &key(), turn.turn, &on(1)).await.unwrap().updated().unwrap()
}

//! Files that were there before: of older versions, of a newer one, damaged, or somebody else's.

use crate::{place, support};
use repod_store::journal::State;
use repod_store::{Ensured, Journal, Limits, RepoFile, SCHEMA, SqlStore, Store, StoreError};
use sqlx::{Connection, SqliteConnection};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// How the fixture of a new schema is made: once, by hand, when the schema is final.
/// `cargo test -p repod-store --test it -- --ignored write_the_fixture`
#[tokio::test]
#[ignore = "writes into the sources"]
async fn write_the_fixture() {
    let path = fixture(&format!("v{SCHEMA}.db"));
    assert!(!path.exists(), "a fixture is never written again");
    let file = RepoFile::open(&path).await.unwrap();
    let journal = Journal::of(file.clone());
    for (id, state) in
        [("done", State::Applied), ("open", State::Pending), ("clash", State::Conflict)]
    {
        journal.begin(&support::operation(id)).await.unwrap();
        journal.advance(id, State::Pending, state, None, Some(&[(0, 7)])).await.unwrap();
    }
    let store = SqlStore::sqlite(file.clone(), Limits::default());
    let (owner, _) = place::with_session(&store, "home").await;
    let done = place::running(&store, &owner, "done").await.turn;
    store.append(&owner, &place::key(), done, 1, &[b"{}".to_vec()]).await.unwrap();
    store.settle_turn(&owner, &place::key(), done, &place::completed()).await.unwrap();
    place::running(&store, &owner, "open").await;
    file.close().await;
}

#[tokio::test]
async fn every_older_file_is_understood() {
    for version in 1..=SCHEMA {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repod.db");
        fs_err::copy(fixture(&format!("v{version}.db")), &path).unwrap();
        let file = RepoFile::open(&path).await.unwrap();
        let journal = Journal::of(file.clone());
        let heads = journal.list(10).await.unwrap();
        let found: Vec<_> = heads.iter().map(|head| (head.id.as_str(), head.state)).collect();
        let expected =
            [("clash", State::Conflict), ("open", State::Pending), ("done", State::Applied)];
        assert_eq!(found, expected, "v{version}");
        let mut open = support::operation("open");
        open.parts[0].fence = 7;
        assert_eq!(journal.unfinished().await.unwrap(), [open], "v{version}");

        let store = SqlStore::sqlite(file, Limits::default());
        let owner = store.enrol("home", place::LONG).await.unwrap();
        let left = store.recover(&owner).await.unwrap().updated().unwrap();
        let (turns, events) =
            if version < 2 { (0, None) } else { (2, Some(vec![(1, b"{}".to_vec())])) };
        assert_eq!(left.len(), turns / 2, "v{version}: {left:?}");
        assert_eq!(store.turns(&place::key(), None, 10).await.unwrap().len(), turns, "v{version}");
        let page = store.events(&place::key(), 1, 0, 10).await.unwrap();
        assert_eq!(page.map(|page| page.events), events, "v{version}");
        let ensured = store.ensure(&owner, &place::new_session(&place::key())).await.unwrap();
        assert_eq!(matches!(ensured, Ensured::Resumed(_)), version >= 2, "v{version}: {ensured:?}");
    }
}

#[tokio::test]
async fn a_file_of_a_newer_repod_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repod.db");
    Journal::open(&path).await.unwrap().close().await;
    let mut raw = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations VALUES (?, 'of tomorrow', '2027-01-01', true, x'00', 0)",
    )
    .bind(SCHEMA + 1)
    .execute(&mut raw)
    .await
    .unwrap();
    raw.close().await.unwrap();
    let before = fs_err::read(&path).unwrap();
    let refused = Journal::open(&path).await.unwrap_err();
    let known = (SCHEMA + 1, SCHEMA);
    assert!(
        matches!(refused, StoreError::TooNew { found, known: k, .. } if (found, k) == known),
        "{refused}"
    );
    assert!(fs_err::read(&path).unwrap() == before, "it was written on");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repod.db");
    let whole = {
        Journal::open(&path).await.unwrap().close().await;
        fs_err::read(&path).unwrap()
    };
    let mut smashed = whole.clone();
    smashed[0..4096].fill(0x5a);
    for (what, bytes) in [
        ("a text", b"{\"not\": \"a database, but long enough to be read as one\"}".repeat(100)),
        ("a short text", b"oops".to_vec()),
        ("a broken head", smashed),
        ("one cut short", whole[..whole.len() / 2].to_vec()),
    ] {
        fs_err::write(&path, &bytes).unwrap();
        let refused = Journal::open(&path).await.expect_err(what);
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{what}: {refused:?}");
        assert!(fs_err::read(&path).unwrap() == bytes, "{what} was written on");
    }
}

#[tokio::test]
async fn another_programs_database_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repod.db");
    fs_err::write(&path, b"").unwrap();
    let mut raw = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE mine (a)").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let before = fs_err::read(&path).unwrap();
    let refused = Journal::open(&path).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
    assert!(fs_err::read(&path).unwrap() == before, "it was written on");
}

#[tokio::test]
async fn a_file_whose_making_was_cut_short_is_made_now() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repod.db");
    fs_err::write(&path, b"").unwrap();
    let journal = Journal::open(&path).await.unwrap();
    assert!(journal.list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_who_open_a_new_file_at_once_both_have_it() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repod.db");
        let (a, b) = tokio::join!(Journal::open(&path), Journal::open(&path));
        let (a, b) = (a.unwrap(), b.unwrap());
        let (one, two) = (support::operation("1"), support::operation("2"));
        let (one, two) = tokio::join!(a.begin(&one), b.begin(&two));
        one.unwrap();
        two.unwrap();
        assert_eq!(a.list(9).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn the_journal_and_the_sessions_write_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    let store = SqlStore::sqlite(journal.file().clone(), Limits::default());
    let (owner, _) = place::with_session(&store, "home").await;
    let turn = place::running(&store, &owner, "one").await.turn;
    let telling = async {
        for event in 1..300 {
            store.append(&owner, &place::key(), turn, event, &[b"{}".to_vec()]).await.unwrap();
        }
    };
    let writing = async {
        for n in 0..100 {
            journal.begin(&support::operation(&n.to_string())).await.unwrap();
        }
        journal.list(1000).await.unwrap().len()
    };
    let ((), written) = tokio::join!(telling, writing);
    let page = store.events(&place::key(), turn, 0, 1000).await.unwrap().unwrap();
    assert_eq!((page.events.len(), written), (299, 100));
}

#[tokio::test]
async fn what_cannot_be_made_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Journal::open(&dir.path().join("none/repod.db")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Open { .. }), "{refused:?}");
    assert!(refused.to_string().contains("none/repod.db"), "{refused}");
}

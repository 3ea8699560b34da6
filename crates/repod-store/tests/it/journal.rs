//! The mutation journal on real files.

use crate::place;
use crate::support::{self, file, image, operation, part, runtime};
use proptest::prelude::*;
use repod_store::journal::{
    Begun, Changed, FileChange, Image, ImageKind, Keep, MAX_OPERATION, NewOperation, State,
};
use repod_store::{Journal, Limits, RepoFile, SqlStore, Store, StoreError};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[tokio::test]
async fn what_was_begun_is_read_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    let mut op = operation("a/s1/c1");
    let strange = PathBuf::from(std::ffi::OsStr::from_bytes(b"src/\xff\xfe \n.bin"));
    let link = Some(Image { kind: ImageKind::Link, bytes: b"../elsewhere".to_vec() });
    let script = Some(Image { kind: ImageKind::Executable, bytes: b"#!/bin/sh\r\n\0".to_vec() });
    op.parts.push(part(
        "c-2",
        vec![
            FileChange { path: strange, before: image(b""), after: script },
            FileChange { path: "gone".into(), before: link, after: None },
        ],
    ));
    op.parts[1].fence = u64::MAX;
    assert_eq!(journal.begin(&op).await.unwrap(), Begun::New);
    journal.close().await;

    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    assert_eq!(journal.get("a/s1/c1").await.unwrap().as_ref(), Some(&op));
    assert_eq!(journal.unfinished().await.unwrap(), vec![op.clone()]);
    assert_eq!(journal.get("a/s1/c2").await.unwrap(), None);
    let mode = fs_err::metadata(dir.path().join("repod.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_same_name_again_is_answered_with_what_came_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    let first = operation("same");
    let mut second = operation("same");
    second.parts[0].files[0].path = "another".into();
    assert_eq!(journal.begin(&first).await.unwrap(), Begun::New);
    assert_eq!(journal.begin(&second).await.unwrap(), Begun::Known(Box::new(first)));
    let updated = journal
        .advance("same", State::Pending, State::Applied, None, Some(&[(0, 9)]))
        .await
        .unwrap();
    assert_eq!(updated, Changed::Updated);
    let Begun::Known(known) = journal.begin(&second).await.unwrap() else { panic!("it was known") };
    assert_eq!((known.state, known.parts[0].fence), (State::Applied, 9));
    assert_eq!(
        known.parts[0].files,
        vec![file("file", None, None)],
        "its contents are no longer needed"
    );
    assert!(journal.unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn of_two_who_finish_it_one_is_told_that_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    journal.begin(&operation("op")).await.unwrap();
    let (a, b) = tokio::join!(
        journal.advance("op", State::Pending, State::Applied, None, None),
        journal.advance("op", State::Pending, State::Refused, Some("no"), None),
    );
    let answers = [a.unwrap(), b.unwrap()];
    assert!(answers.contains(&Changed::Updated), "{answers:?}");
    assert!(answers.iter().any(|answer| matches!(answer, Changed::Stale(_))), "{answers:?}");
    let gone = journal.advance("none", State::Pending, State::Applied, None, None).await.unwrap();
    assert_eq!(gone, Changed::Gone);
    let now = journal.get("op").await.unwrap().unwrap().state;
    let back = journal.advance("op", now, State::Pending, None, None).await.unwrap();
    assert_eq!(back, Changed::Stale(now), "what is final is never pending again");
}

#[tokio::test]
async fn a_conflict_keeps_the_contents_for_the_person_who_looks() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    let op = operation("op");
    journal.begin(&op).await.unwrap();
    journal
        .advance("op", State::Pending, State::Conflict, Some("changed since"), None)
        .await
        .unwrap();
    let found = journal.get("op").await.unwrap().unwrap();
    assert_eq!((found.parts, found.message.as_deref()), (op.parts, Some("changed since")));
}

#[tokio::test]
async fn lists_begin_with_the_newest_and_name_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    for id in ["1", "2", "3"] {
        journal.begin(&operation(id)).await.unwrap();
    }
    let heads = journal.list(2).await.unwrap();
    assert_eq!(heads.iter().map(|head| head.id.as_str()).collect::<Vec<_>>(), ["3", "2"]);
    assert_eq!(heads[0].parts[0].files, [PathBuf::from("file")]);
    let ids: Vec<_> = journal.unfinished().await.unwrap().into_iter().map(|op| op.id).collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[tokio::test]
async fn more_than_an_operation_may_hold_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    let mut op = operation("big");
    let room = usize::try_from(MAX_OPERATION - op.size()).unwrap();
    op.parts[0].files[0].after.as_mut().unwrap().bytes.resize(room + 5, b'x');
    assert_eq!(op.size(), MAX_OPERATION, "{} bytes of contents stood there before", 5);
    assert_eq!(journal.begin(&op).await.unwrap(), Begun::New);
    op.id = "bigg".to_owned();
    let refused = journal.begin(&op).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    assert_eq!(journal.get("bigg").await.unwrap(), None);
}

#[tokio::test]
async fn room_of_what_is_done_goes_back_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repod.db");
    let journal = Journal::open(&path).await.unwrap();
    let mut op = operation("big");
    op.parts[0].files[0].after.as_mut().unwrap().bytes = vec![7; 8 << 20];
    journal.begin(&op).await.unwrap();
    journal.advance("big", State::Pending, State::Applied, None, None).await.unwrap();
    journal.prune(Keep { since_ms: 0, newest: 10 }).await.unwrap();
    journal.close().await;
    let size = fs_err::metadata(&path).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes are left");
}

#[test]
fn what_a_killed_process_had_been_answered_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repod.db");
    for _ in 0..5 {
        let answered = support::killed_while_it_writes(
            &path,
            "journal::a_process_that_writes_until_it_is_killed",
        );
        runtime().block_on(async {
            let journal = Journal::open(&path).await.unwrap();
            for (id, state) in &answered {
                assert_eq!(&journal.get(id).await.unwrap().unwrap().state, state, "{id}");
            }
            for op in journal.unfinished().await.unwrap() {
                assert_eq!(op.parts, operation(&op.id).parts, "never half of it");
                journal
                    .advance(&op.id, State::Pending, State::RolledBack, None, None)
                    .await
                    .unwrap();
            }
            journal.close().await;
        });
    }
}

#[test]
#[ignore = "started by the test above"]
fn a_process_that_writes_until_it_is_killed() {
    let Some(path) = support::told() else { return };
    runtime().block_on(async {
        let journal = Journal::open(Path::new(&path)).await.unwrap();
        for n in 0u32.. {
            let op = operation(&format!("{}-{n}", std::process::id()));
            journal.begin(&op).await.unwrap();
            support::answer(&op.id, State::Pending);
            journal.advance(&op.id, State::Pending, State::Applied, None, None).await.unwrap();
            support::answer(&op.id, State::Applied);
        }
    });
}

/// `cargo test --release -p repod-store --test it how_long -- --ignored --nocapture`
#[tokio::test]
#[ignore = "measures, and fails on no number"]
async fn how_long_begin_and_advance_take() {
    // Beside the program: a temporary directory may be in memory, where nothing is synced.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let journal = Journal::open(&dir.path().join("repod.db")).await.unwrap();
    let mut took = Vec::new();
    for n in 0..500 {
        let op = operation(&n.to_string());
        let since = Instant::now();
        journal.begin(&op).await.unwrap();
        let begun = since.elapsed();
        journal
            .advance(&op.id, State::Pending, State::Applied, None, Some(&[(0, 1)]))
            .await
            .unwrap();
        took.push((since.elapsed(), begun));
    }
    took.sort_unstable();
    println!(
        "begin + advance: p50 {:?}, p99 {:?}; begin of the p50: {:?}",
        took[250].0, took[495].0, took[250].1
    );
}

/// As above, for `how_long_sessions_take`.
#[tokio::test]
#[ignore = "measures, and fails on no number"]
async fn how_long_sessions_take() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = RepoFile::open(&dir.path().join("repod.db")).await.unwrap();
    let store = SqlStore::sqlite(file, Limits::default());
    let (owner, _) = place::with_session(&store, "home").await;
    let (mut resume, mut whole, mut append) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..500 {
        let since = Instant::now();
        store.ensure(&owner, &place::new_session(&place::key())).await.unwrap();
        resume.push(since.elapsed());
        let since = Instant::now();
        let turn = place::running(&store, &owner, &n.to_string()).await.turn;
        store.settle_turn(&owner, &place::key(), turn, &place::completed()).await.unwrap();
        whole.push(since.elapsed());
        let since = Instant::now();
        let lines = vec![br#"{"type":"text","text":"a word"}"#.to_vec(); 20];
        store.append(&owner, &place::key(), turn, 1, &lines).await.unwrap();
        append.push(since.elapsed());
    }
    for (what, mut took) in
        [("resume", resume), ("begin, start, settle", whole), ("append 20", append)]
    {
        took.sort_unstable();
        println!("{what}: p50 {:?}, p99 {:?}", took[250], took[495]);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8, State),
    Advance(u8, State, State),
    Prune(u32),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let state = || prop::sample::select(State::ALL.to_vec());
    let step = prop_oneof![
        4 => (0..6u8, prop_oneof![3 => Just(State::Pending), 1 => state()]).prop_map(|(id, state)| Step::Begin(id, state)),
        4 => (0..6u8, state(), state()).prop_map(|(id, from, to)| Step::Advance(id, from, to)),
        1 => (0..4u32).prop_map(Step::Prune),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_list_in_memory_would_do(steps in steps()) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("repod.db");
            let mut journal = Journal::open(&path).await.unwrap();
            let mut model = support::Model::default();
            for step in steps {
                match step {
                    Step::Begin(id, state) => {
                        let op = NewOperation { state, ..operation(&id.to_string()) };
                        let begun = journal.begin(&op).await.unwrap();
                        assert_eq!(begun, model.begin(&op));
                    }
                    Step::Advance(id, from, to) => {
                        let changed = journal.advance(&id.to_string(), from, to, None, None).await.unwrap();
                        assert_eq!(changed, model.advance(&id.to_string(), from, to));
                    }
                    Step::Prune(newest) => {
                        let removed = journal.prune(Keep { since_ms: 0, newest }).await.unwrap();
                        assert_eq!(removed, model.prune(newest));
                    }
                    Step::Reopen => {
                        journal.close().await;
                        journal = Journal::open(&path).await.unwrap();
                    }
                }
            }
            let listed: BTreeMap<_, _> =
                journal.list(100).await.unwrap().into_iter().map(|head| (head.id, head.state)).collect();
            assert_eq!(listed, model.states());
            journal.close().await;
        });
    }
}

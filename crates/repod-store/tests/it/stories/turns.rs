//! Turns: in line, run, waiting, settled once.

use crate::place::{Place, completed, key, new_turn, on, queued, running, with_session};
use repod_store::{
    Begun, Change, MAX_INPUT, NewTurn, Outcome, SessionStatus, Settlement, Stale, Store, StoreError,
};
use repod_store::{TurnFailure, TurnMark, TurnState};

pub(crate) async fn a_turn_is_begun_once_by_its_name(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let first = queued(&store, &owner, "one").await;
    assert_eq!((first.turn, first.state, first.next_event), (1, TurnState::Queued, 1));
    let again = NewTurn { input: b"something else".to_vec(), ..new_turn("one") };
    let known = store.begin_turn(&owner, &key(), &again).await.unwrap();
    assert_eq!(known, Change::Updated(Begun::Known(first.clone())));
    let (key_of_it, two) = (key(), new_turn("two"));
    let (a, b) = tokio::join!(
        store.begin_turn(&owner, &key_of_it, &two),
        store.begin_turn(&owner, &key_of_it, &two),
    );
    let new = |change: &Change<Begun>| matches!(change, Change::Updated(Begun::New(turn, 1)) if turn.turn == 2);
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(new(&a) != new(&b), "{a:?} {b:?}");
    let none = repod_store::SessionKey::new("web-1", "none");
    assert_eq!(store.begin_turn(&owner, &none, &new_turn("one")).await.unwrap(), Change::Gone);
    assert_eq!(store.turn(&key(), 1).await.unwrap(), Some(first));
    assert_eq!(store.turn(&key(), 3).await.unwrap(), None);
}

pub(crate) async fn turns_run_one_after_the_other_in_the_order_they_came(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let (one, two, three) = (
        queued(&store, &owner, "one").await.turn,
        queued(&store, &owner, "two").await.turn,
        queued(&store, &owner, "three").await.turn,
    );
    let early = store.start_turn(&owner, &key(), two, &on(1)).await.unwrap();
    assert_eq!(early, Change::Stale(Stale::NotFirst(one)));
    let started = store.start_turn(&owner, &key(), one, &on(1)).await.unwrap();
    assert!(
        matches!(&started, Change::Updated(turn) if turn.state == TurnState::Running && turn.generation == 1)
    );
    assert_eq!(
        store.start_turn(&owner, &key(), one, &on(1)).await.unwrap(),
        started,
        "asked again"
    );
    let other = store.start_turn(&owner, &key(), one, &on(2)).await.unwrap();
    assert_eq!(other, Change::Stale(Stale::Turn(TurnState::Running)), "never started twice");
    assert_eq!(store.session(&key()).await.unwrap().unwrap().status, SessionStatus::Busy);
    store.settle_turn(&owner, &key(), one, &completed()).await.unwrap().updated().unwrap();
    assert_eq!(store.session(&key()).await.unwrap().unwrap().status, SessionStatus::Idle);
    let early = store.start_turn(&owner, &key(), three, &on(1)).await.unwrap();
    assert_eq!(early, Change::Stale(Stale::NotFirst(two)));
    store.start_turn(&owner, &key(), two, &on(1)).await.unwrap().updated().unwrap();
    let listed = store.turns(&key(), None, 2).await.unwrap();
    assert_eq!(listed.iter().map(|turn| turn.turn).collect::<Vec<_>>(), [3, 2]);
    assert!(listed.iter().all(|turn| turn.input.is_none()));
    assert_eq!(listed.iter().map(|turn| &*turn.prompt).collect::<Vec<_>>(), ["do three", "do two"]);
    let rest = store.turns(&key(), Some(2), 10).await.unwrap();
    assert_eq!(rest.iter().map(|turn| turn.turn).collect::<Vec<_>>(), [1]);
}

pub(crate) async fn who_would_wait_too_long_is_refused(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let at_once = |name| NewTurn { most_ahead: 0, ..new_turn(name) };
    let begun = store.begin_turn(&owner, &key(), &at_once("one")).await.unwrap();
    assert!(matches!(begun, Change::Updated(Begun::New(_, 0))), "{begun:?}");
    let full = store.begin_turn(&owner, &key(), &at_once("two")).await.unwrap();
    assert_eq!(full, Change::Updated(Begun::Full(1)));
    let one_ahead = NewTurn { most_ahead: 1, ..new_turn("two") };
    let begun = store.begin_turn(&owner, &key(), &one_ahead).await.unwrap();
    assert!(matches!(&begun, Change::Updated(Begun::New(turn, 1)) if turn.turn == 2), "{begun:?}");
}

pub(crate) async fn a_turn_settles_once_whoever_comes_first(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    for round in 0..8 {
        let turn = running(&store, &owner, &format!("turn {round}")).await.turn;
        let failure =
            TurnFailure { name: "ProviderError".to_owned(), message: "no\nanswer".to_owned() };
        let failed =
            Settlement { outcome: Outcome::Failed, error: Some(failure.clone()), crashed: false };
        let (key, done) = (key(), completed());
        let (a, b, c) = tokio::join!(
            store.settle_turn(&owner, &key, turn, &done),
            store.settle_turn(&owner, &key, turn, &failed),
            store.settle_turn(&owner, &key, turn, &done),
        );
        let answers = [a.unwrap(), b.unwrap(), c.unwrap()];
        let now = store.turn(&key, turn).await.unwrap().unwrap();
        assert!(now.state.is_settled() && now.settled_ms.is_some() && now.input.is_none());
        assert_eq!(
            now.error,
            (now.state == TurnState::Settled(Outcome::Failed)).then_some(failure)
        );
        let state = now.state;
        assert_eq!(
            answers.iter().filter(|answer| **answer == Change::Updated(now.clone())).count(),
            1
        );
        let stale = Change::Stale(Stale::Turn(state));
        assert_eq!(answers.iter().filter(|answer| **answer == stale).count(), 2, "{answers:?}");
    }
}

pub(crate) async fn a_turn_that_waits_for_a_person_is_not_over(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let turn = queued(&store, &owner, "one").await.turn;
    let early = store.mark_turn(&owner, &key(), turn, TurnMark::Waiting).await.unwrap();
    assert_eq!(early, Change::Stale(Stale::Turn(TurnState::Queued)));
    store.start_turn(&owner, &key(), turn, &on(1)).await.unwrap();
    for (mark, state, status) in [
        (TurnMark::Waiting, TurnState::Waiting, SessionStatus::Waiting),
        (TurnMark::Waiting, TurnState::Waiting, SessionStatus::Waiting),
        (TurnMark::Running, TurnState::Running, SessionStatus::Busy),
        (TurnMark::Waiting, TurnState::Waiting, SessionStatus::Waiting),
    ] {
        let now = store.mark_turn(&owner, &key(), turn, mark).await.unwrap().updated().unwrap();
        assert_eq!(now.state, state);
        assert_eq!(store.session(&key()).await.unwrap().unwrap().status, status);
    }
    store.settle_turn(&owner, &key(), turn, &completed()).await.unwrap().updated().unwrap();
    let late = store.mark_turn(&owner, &key(), turn, TurnMark::Running).await.unwrap();
    assert_eq!(late, Change::Stale(Stale::Turn(TurnState::Settled(Outcome::Completed))));
    assert_eq!(store.session(&key()).await.unwrap().unwrap().status, SessionStatus::Idle);
}

pub(crate) async fn a_queued_turn_can_be_cancelled(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let first = running(&store, &owner, "one").await.turn;
    let second = queued(&store, &owner, "two").await.turn;
    let cancelled = Settlement { outcome: Outcome::Interrupted, error: None, crashed: false };
    store.settle_turn(&owner, &key(), second, &cancelled).await.unwrap().updated().unwrap();
    assert_eq!(
        store.session(&key()).await.unwrap().unwrap().status,
        SessionStatus::Busy,
        "the first runs on"
    );
    let late = store.start_turn(&owner, &key(), second, &on(1)).await.unwrap();
    assert_eq!(late, Change::Stale(Stale::Turn(TurnState::Settled(Outcome::Interrupted))));
    store.settle_turn(&owner, &key(), first, &completed()).await.unwrap().updated().unwrap();
}

pub(crate) async fn a_prompt_can_be_too_large(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let size = usize::try_from(MAX_INPUT).unwrap() + 1;
    let big = NewTurn { input: vec![b'x'; size], ..new_turn("big") };
    let refused = store.begin_turn(&owner, &key(), &big).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    assert_eq!(queued(&store, &owner, "one").await.turn, 1);
}

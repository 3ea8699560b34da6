//! Owners: starts that follow each other, and daemons beside each other on one database.

use crate::place::{
    LONG, Place, completed, key, new_session, new_turn, on, queued, running, with_session,
};
use repod_store::{
    Begun, Change, Ensured, Outcome, SessionChange, SqlStore, Stale, Store, TurnState,
};
use repod_testkit::wait_until;
use std::time::Duration;

const SUPERSEDED: Stale = Stale::Superseded;

pub(crate) async fn a_newer_start_ends_what_the_older_one_may_do(place: &Place) {
    let (before, after) = (place.open().await, place.open().await);
    let (old, _) = with_session(&before, "home").await;
    let turn = running(&before, &old, "one").await.turn;
    let new = after.enrol("home", LONG).await.unwrap();

    assert_eq!(before.renew(&old, LONG).await.unwrap(), Change::Stale(SUPERSEDED));
    assert_eq!(before.retire(&old).await.unwrap(), Change::Stale(SUPERSEDED));
    assert_eq!(before.recover(&old).await.unwrap(), Change::Stale(SUPERSEDED));
    assert_eq!(before.ensure(&old, &new_session(&key())).await.unwrap(), Ensured::Superseded);
    let change = SessionChange::default();
    assert_eq!(before.update(&old, &key(), 0, &change).await.unwrap(), Change::Stale(SUPERSEDED));
    let begun = before.begin_turn(&old, &key(), &new_turn("two")).await.unwrap();
    assert_eq!(begun, Change::Stale(SUPERSEDED));
    let settled = before.settle_turn(&old, &key(), turn, &completed()).await.unwrap();
    assert_eq!(settled, Change::Stale(SUPERSEDED));
    let appended = before.append(&old, &key(), turn, 1, &[b"{}".to_vec()]).await.unwrap();
    assert_eq!(appended, Change::Stale(SUPERSEDED));
    assert_eq!(before.close(&old, &key()).await.unwrap(), Change::Stale(SUPERSEDED));

    let turn =
        after.settle_turn(&new, &key(), turn, &completed()).await.unwrap().updated().unwrap();
    assert_eq!((turn.state, turn.next_event), (TurnState::Settled(Outcome::Completed), 1));
}

pub(crate) async fn of_two_daemons_one_has_the_session(place: &Place) {
    let (one, two) = (place.open().await, place.open().await);
    let (first, _) = with_session(&one, "first").await;
    let second = two.enrol("second", LONG).await.unwrap();
    let Ensured::Foreign { owner, lapses_in } =
        two.ensure(&second, &new_session(&key())).await.unwrap()
    else {
        panic!("it is the first one's")
    };
    assert_eq!(owner, "first");
    assert!(lapses_in > LONG / 2 && lapses_in <= LONG, "{lapses_in:?}");
    let not = || Stale::NotOwned(Some("first".to_owned()));
    let begun = two.begin_turn(&second, &key(), &new_turn("one")).await.unwrap();
    assert_eq!(begun, Change::Stale(not()));
    assert_eq!(two.close(&second, &key()).await.unwrap(), Change::Stale(not()));
    queued(&one, &first, "one").await;
    assert_eq!(
        two.recover(&second).await.unwrap(),
        Change::Updated(Vec::new()),
        "they are not its turns"
    );
}

pub(crate) async fn a_lapsed_daemon_loses_its_session_and_its_turns_end(place: &Place) {
    let (one, two) = (place.open().await, place.open().await);
    let (first, _) = with_session(&one, "first").await;
    let running = running(&one, &first, "one").await;
    let waiting = queued(&one, &first, "two").await;
    let second = two.enrol("second", LONG).await.unwrap();
    assert_eq!(one.renew(&first, Duration::from_millis(1)).await.unwrap(), Change::Updated(()));
    let (session, left) = taken(&two, &second).await;
    assert_eq!(session.owner.as_deref(), Some("second"));
    assert_eq!(left.iter().map(|turn| turn.turn).collect::<Vec<_>>(), [running.turn, waiting.turn]);
    assert!(
        left.iter().all(|turn| turn.state == TurnState::Settled(Outcome::Interrupted)),
        "{left:?}"
    );

    // The first comes back and finds it gone, whatever it does.
    assert_eq!(one.renew(&first, LONG).await.unwrap(), Change::Updated(()));
    let not = Stale::NotOwned(Some("second".to_owned()));
    let settled = one.settle_turn(&first, &key(), running.turn, &completed()).await.unwrap();
    assert_eq!(settled, Change::Stale(not));
    let ensured = one.ensure(&first, &new_session(&key())).await.unwrap();
    assert!(matches!(ensured, Ensured::Foreign { .. }), "{ensured:?}");
    assert_eq!(one.recover(&first).await.unwrap(), Change::Updated(Vec::new()));
}

pub(crate) async fn a_daemon_that_retires_is_not_waited_for(place: &Place) {
    let (one, two) = (place.open().await, place.open().await);
    let (first, _) = with_session(&one, "first").await;
    assert_eq!(one.retire(&first).await.unwrap(), Change::Updated(()));
    let second = two.enrol("second", LONG).await.unwrap();
    let ensured = two.ensure(&second, &new_session(&key())).await.unwrap();
    assert!(matches!(ensured, Ensured::Taken(..)), "{ensured:?}");
}

/// Takes the session as soon as the other's lease has lapsed.
async fn taken(
    store: &SqlStore,
    owner: &repod_store::Owner,
) -> (repod_store::Session, Vec<repod_store::Turn>) {
    wait_until("the lease to lapse", Duration::from_secs(10), async || {
        match store.ensure(owner, &new_session(&key())).await.unwrap() {
            Ensured::Taken(session, left) => Some((session, left)),
            Ensured::Foreign { .. } => None,
            other => panic!("{other:?}"),
        }
    })
    .await
}

pub(crate) async fn many_daemons_that_fight_for_a_session_never_have_it_both(place: &Place) {
    let mut fighters = tokio::task::JoinSet::new();
    for n in 0..6 {
        let store = place.open().await;
        // Leases that are over at once: everybody may take it from everybody.
        let owner = store.enrol(&format!("daemon-{n}"), Duration::ZERO).await.unwrap();
        fighters.spawn(async move {
            let mut begun = Vec::new();
            for round in 0..12 {
                store.ensure(&owner, &new_session(&key())).await.unwrap();
                let new = new_turn(&format!("{n}-{round}"));
                let turn = match store.begin_turn(&owner, &key(), &new).await.unwrap() {
                    Change::Updated(Begun::New(turn, _)) => turn.turn,
                    Change::Stale(Stale::NotOwned(_)) => continue,
                    other => panic!("{other:?}"),
                };
                let started = store.start_turn(&owner, &key(), turn, &on(1)).await.unwrap();
                let settled = store.settle_turn(&owner, &key(), turn, &completed()).await.unwrap();
                begun.push((turn, started.updated().is_some(), settled.updated().is_some()));
            }
            begun
        });
    }
    let mut all: Vec<_> = fighters.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    let store = place.open().await;
    let turns = store.turns(&key(), None, 1000).await.unwrap();
    assert_eq!(turns.len(), all.len(), "each was begun by one of them");
    for ((number, started, settled), turn) in all.iter().zip(turns.iter().rev()) {
        assert_eq!(*number, turn.turn, "and counted once");
        let expected = if *settled { Outcome::Completed } else { Outcome::Interrupted };
        assert_eq!(
            turn.state,
            TurnState::Settled(expected),
            "who was told so has settled it: {turn:?}"
        );
        assert_eq!(*started, turn.started_ms.is_some());
    }
}

pub(crate) async fn turns_left_by_a_start_are_recovered_by_the_next(place: &Place) {
    let (before, after) = (place.open().await, place.open().await);
    let (old, _) = with_session(&before, "home").await;
    let done = running(&before, &old, "done").await;
    before.settle_turn(&old, &key(), done.turn, &completed()).await.unwrap();
    let cut = running(&before, &old, "cut").await;
    let next = queued(&before, &old, "next").await;

    let new = after.enrol("home", LONG).await.unwrap();
    let left = after.recover(&new).await.unwrap().updated().unwrap();
    assert_eq!(left.iter().map(|turn| turn.turn_id.as_str()).collect::<Vec<_>>(), ["cut", "next"]);
    assert_eq!(left[0].state, TurnState::Running);
    assert_eq!((left[0].generation, left[0].message_id.as_deref()), (1, Some("msg_1")));
    assert_eq!(left[0].input.as_deref(), Some(&b"do cut"[..]));
    assert_eq!(left[1].state, TurnState::Queued);
    after.settle_turn(&new, &key(), cut.turn, &completed()).await.unwrap().updated().unwrap();
    after.start_turn(&new, &key(), next.turn, &on(2)).await.unwrap().updated().unwrap();
    after.settle_turn(&new, &key(), next.turn, &completed()).await.unwrap().updated().unwrap();
    assert_eq!(after.recover(&new).await.unwrap(), Change::Updated(Vec::new()));
}

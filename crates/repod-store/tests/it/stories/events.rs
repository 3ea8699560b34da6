//! What a turn told: kept, read from anywhere, let go in time.

use crate::place::{LONG, Place, completed, key, new_session, queued, running, with_session};
use repod_store::{
    Change, Limits, MAX_LINE, Outcome, Page, Retention, SessionKey, Store, StoreError, TurnState,
};

fn line(n: u64) -> Vec<u8> {
    format!(r#"{{"type":"text","text":"{n} \u00e4"}}"#).into_bytes()
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(line).collect()
}

fn numbers(page: &Page) -> Vec<u64> {
    page.events.iter().map(|(number, _)| *number).collect()
}

pub(crate) async fn events_are_read_from_where_one_left_off(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let turn = running(&store, &owner, "one").await.turn;
    let other = queued(&store, &owner, "two").await.turn;
    let mut first = 1;
    for batch in [1, 300, 7, 0, 20] {
        let next =
            store.append(&owner, &key(), turn, first, &lines(first..first + batch)).await.unwrap();
        assert_eq!(next, Change::Updated(first + batch));
        first += batch;
    }
    let all = store.events(&key(), turn, 0, 10_000).await.unwrap().unwrap();
    assert_eq!(all.events, (1..329).map(|n| (n, line(n))).collect::<Vec<_>>());
    assert_eq!((all.state, all.next_event), (TurnState::Running, 329));
    // In pages of any size, to the same end.
    for limit in [1, 100, 257] {
        let mut read = Vec::new();
        loop {
            let after = read.last().map_or(0, |(number, _)| *number);
            let page = store.events(&key(), turn, after, limit).await.unwrap().unwrap();
            assert!(page.events.len() <= limit as usize);
            if page.events.is_empty() {
                break;
            }
            read.extend(page.events);
        }
        assert_eq!(read, all.events, "{limit}");
    }
    let none = store.events(&key(), other, 0, 10).await.unwrap().unwrap();
    assert_eq!((none.events.len(), none.state, none.next_event), (0, TurnState::Queued, 1));
    assert_eq!(store.events(&key(), 9, 0, 10).await.unwrap(), None);
}

pub(crate) async fn a_batch_given_twice_is_kept_once(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let turn = running(&store, &owner, "one").await.turn;
    for (range, next) in [(1..5, 5), (1..5, 5), (3..8, 8), (2..4, 8), (8..9, 9)] {
        let answer =
            store.append(&owner, &key(), turn, range.start, &lines(range.clone())).await.unwrap();
        assert_eq!(answer, Change::Updated(next), "{range:?}");
    }
    let page = store.events(&key(), turn, 0, 100).await.unwrap().unwrap();
    assert_eq!(page.events, (1..9).map(|n| (n, line(n))).collect::<Vec<_>>());
    // A batch that could not be written leaves a gap, and the numbers say so.
    assert_eq!(
        store.append(&owner, &key(), turn, 12, &lines(12..14)).await.unwrap(),
        Change::Updated(14)
    );
    let page = store.events(&key(), turn, 7, 100).await.unwrap().unwrap();
    assert_eq!(numbers(&page), [8, 12, 13]);
    let gone = store.append(&owner, &key(), 9, 1, &lines(1..2)).await.unwrap();
    assert_eq!(gone, Change::Gone);
    let long = vec![vec![b'x'; usize::try_from(MAX_LINE).unwrap() + 1]];
    let refused = store.append(&owner, &key(), turn, 14, &long).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
}

pub(crate) async fn the_oldest_events_are_let_go(place: &Place) {
    let store = place.open_with(Limits { events: 100, bytes: 1 << 20 }).await;
    let (owner, _) = with_session(&store, "home").await;
    let turn = running(&store, &owner, "one").await.turn;
    for first in (1..1000).step_by(9) {
        store.append(&owner, &key(), turn, first, &lines(first..first + 9)).await.unwrap();
        let page = store.events(&key(), turn, 0, 1000).await.unwrap().unwrap();
        let numbers = numbers(&page);
        let newest = first + 8;
        assert_eq!(numbers.last(), Some(&newest));
        assert!(
            numbers.len() as u64 >= newest.min(100) && numbers.len() <= 125,
            "{} at {newest}",
            numbers.len()
        );
    }
    // Of bytes there are never more, however few events that leaves.
    let turn = {
        store.settle_turn(&owner, &key(), turn, &completed()).await.unwrap();
        queued(&store, &owner, "two").await.turn
    };
    for first in 1..40 {
        store.append(&owner, &key(), turn, first, &[vec![b'x'; 100_000]]).await.unwrap();
        let page = store.events(&key(), turn, 0, 1000).await.unwrap().unwrap();
        let bytes: usize = page.events.iter().map(|(_, line)| line.len()).sum();
        assert!(bytes <= 1 << 20 && !page.events.is_empty(), "{bytes}");
    }
    store.append(&owner, &key(), turn, 40, &[vec![b'x'; 2 << 20]]).await.unwrap();
    let page = store.events(&key(), turn, 0, 1000).await.unwrap().unwrap();
    assert_eq!(numbers(&page), [40], "the newest is kept whatever it takes");
}

pub(crate) async fn the_last_event_may_come_after_the_outcome(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let turn = running(&store, &owner, "one").await.turn;
    store.append(&owner, &key(), turn, 1, &lines(1..3)).await.unwrap();
    store.settle_turn(&owner, &key(), turn, &completed()).await.unwrap();
    assert_eq!(
        store.append(&owner, &key(), turn, 3, &lines(3..4)).await.unwrap(),
        Change::Updated(4)
    );
    let page = store.events(&key(), turn, 1, 10).await.unwrap().unwrap();
    assert_eq!((numbers(&page), page.state), (vec![2, 3], TurnState::Settled(Outcome::Completed)));
}

pub(crate) async fn what_is_old_goes(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let (owner, _) = with_session(&store, "home").await;
    let stranger = other.enrol("other", LONG).await.unwrap();
    let done = running(&store, &owner, "done").await.turn;
    store.append(&owner, &key(), done, 1, &lines(1..3)).await.unwrap();
    store.settle_turn(&owner, &key(), done, &completed()).await.unwrap();
    let open = running(&store, &owner, "open").await.turn;
    store.append(&owner, &key(), open, 1, &lines(1..3)).await.unwrap();
    let closed = SessionKey::new("web-1", "closed");
    store.ensure(&owner, &new_session(&closed)).await.unwrap();
    store.close(&owner, &closed).await.unwrap();

    let never = Retention { events_before_ms: 0, turns_before_ms: 0, closed_before_ms: 0 };
    assert_eq!(store.prune(&owner, &never).await.unwrap(), 0);
    let events = Retention { events_before_ms: i64::MAX, ..never };
    assert_eq!(other.prune(&stranger, &events).await.unwrap(), 0, "they are not its own");
    assert!(store.prune(&owner, &events).await.unwrap() >= 1);
    assert_eq!(store.events(&key(), done, 0, 10).await.unwrap().unwrap().events, []);
    assert_eq!(store.events(&key(), open, 0, 10).await.unwrap().unwrap().events.len(), 2);
    let all = Retention { turns_before_ms: i64::MAX, closed_before_ms: i64::MAX, ..events };
    store.prune(&owner, &all).await.unwrap();
    assert_eq!(store.turn(&key(), done).await.unwrap(), None);
    assert!(store.turn(&key(), open).await.unwrap().is_some());
    assert_eq!(store.session(&closed).await.unwrap(), None);
    assert!(store.session(&key()).await.unwrap().is_some());
}

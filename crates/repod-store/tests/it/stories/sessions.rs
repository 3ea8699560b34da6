//! Sessions: made, resumed, bound, closed, listed.

use crate::place::{LONG, Place, completed, key, new_session, queued, running, with_session};
use repod_store::{
    Change, Ensured, SessionChange, SessionFilter, SessionKey, SessionStatus, Settlement, Stale,
    Store,
};

pub(crate) async fn a_new_name_is_a_new_session_and_a_known_one_is_resumed(place: &Place) {
    let store = place.open().await;
    let (owner, session) = with_session(&store, "home").await;
    assert_eq!(session.key, key());
    assert_eq!(session.owner.as_deref(), Some("home"));
    assert_eq!((session.status, session.generation), (SessionStatus::Idle, 0));
    assert_eq!((session.agent_session_id.as_deref(), session.server_port), (None, None));
    let change = SessionChange {
        agent_session_id: Some("ses_1".to_owned()),
        generation: Some(3),
        server_port: Some(41873),
        title: Some("looked at".to_owned()),
        options: Some("{\"mode\":\"plan\"}".to_owned()),
        ..SessionChange::default()
    };
    let bound = store.update(&owner, &key(), 0, &change).await.unwrap().updated().unwrap();
    assert_eq!(bound.agent_session_id.as_deref(), Some("ses_1"));
    assert_eq!(
        (bound.generation, bound.server_port, bound.title.as_str()),
        (3, Some(41873), "looked at")
    );
    assert_eq!(bound.options, "{\"mode\":\"plan\"}");
    assert_eq!((bound.model.as_str(), bound.config_hash.as_str()), ("test/one", "c0ffee"));

    let resumed = store.ensure(&owner, &new_session(&key())).await.unwrap();
    assert_eq!(resumed, Ensured::Resumed(bound.clone()));
    // By another process of the same home, too.
    let again = place.open().await;
    let owner = again.enrol("home", LONG).await.unwrap();
    assert_eq!(
        again.ensure(&owner, &new_session(&key())).await.unwrap(),
        Ensured::Resumed(bound.clone())
    );
    assert_eq!(again.session(&key()).await.unwrap(), Some(bound));
    assert_eq!(again.session(&SessionKey::new("other-1", "review")).await.unwrap(), None);
}

pub(crate) async fn a_session_is_bound_to_a_generation_and_never_to_an_older_one(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let to =
        |generation| SessionChange { generation: Some(generation), ..SessionChange::default() };
    assert!(matches!(store.update(&owner, &key(), 0, &to(4)).await.unwrap(), Change::Updated(_)));
    for (from, to_generation) in [(3, 5), (0, 4), (4, 3)] {
        let late = store.update(&owner, &key(), from, &to(to_generation)).await.unwrap();
        assert_eq!(late, Change::Stale(Stale::Generation(4)), "{from} to {to_generation}");
    }
    let none = SessionKey::new("web-1", "none");
    assert_eq!(store.update(&owner, &none, 0, &to(1)).await.unwrap(), Change::Gone);
}

pub(crate) async fn a_crashed_session_is_idle_again_with_a_new_conversation(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let turn = running(&store, &owner, "one").await;
    let crash = Settlement { crashed: true, ..completed() };
    store.settle_turn(&owner, &key(), turn.turn, &crash).await.unwrap().updated().unwrap();
    let status = async || store.session(&key()).await.unwrap().unwrap().status;
    assert_eq!(status().await, SessionStatus::Crashed);
    let titled = SessionChange { title: Some("x".to_owned()), ..SessionChange::default() };
    store.update(&owner, &key(), 0, &titled).await.unwrap().updated().unwrap();
    assert_eq!(status().await, SessionStatus::Crashed);
    let fresh =
        SessionChange { agent_session_id: Some("ses_2".to_owned()), ..SessionChange::default() };
    store.update(&owner, &key(), 0, &fresh).await.unwrap().updated().unwrap();
    assert_eq!(status().await, SessionStatus::Idle);
}

pub(crate) async fn a_closed_name_begins_anew_and_its_turns_count_on(place: &Place) {
    let store = place.open().await;
    let (owner, _) = with_session(&store, "home").await;
    let change =
        SessionChange { agent_session_id: Some("ses_1".to_owned()), ..SessionChange::default() };
    store.update(&owner, &key(), 0, &change).await.unwrap().updated().unwrap();
    let one = running(&store, &owner, "one").await;
    let two = queued(&store, &owner, "two").await;
    let closed = store.close(&owner, &key()).await.unwrap().updated().unwrap();
    assert_eq!((closed.status, closed.owner.as_deref()), (SessionStatus::Closed, None));
    for turn in [one, two] {
        let turn = store.turn(&key(), turn.turn).await.unwrap().unwrap();
        assert_eq!((turn.state.name(), turn.input), ("interrupted", None));
        assert_eq!(turn.error.unwrap().name, "closed");
    }
    let late = store.begin_turn(&owner, &key(), &crate::place::new_turn("late")).await.unwrap();
    assert_eq!(late, Change::Stale(Stale::NotOwned(None)));
    assert_eq!(store.close(&owner, &key()).await.unwrap(), Change::Updated(closed), "once more");

    let Ensured::Created(session) = store.ensure(&owner, &new_session(&key())).await.unwrap()
    else {
        panic!("a closed session is not resumed")
    };
    assert_eq!((session.status, session.agent_session_id), (SessionStatus::Idle, None));
    assert_eq!(queued(&store, &owner, "three").await.turn, 3);
}

pub(crate) async fn lists_begin_with_the_last_active(place: &Place) {
    let store = place.open().await;
    let owner = store.enrol("home", LONG).await.unwrap();
    let keys = [("web-1", "a"), ("api-1", "b"), ("web-1", "c")]
        .map(|(repo, name)| SessionKey::new(repo, name));
    for key in &keys {
        store.ensure(&owner, &new_session(key)).await.unwrap();
    }
    let names = async |filter: SessionFilter, limit| {
        let listed = store.list(&filter, limit).await.unwrap();
        assert!(listed.is_sorted_by(|a, b| a.last_active_ms >= b.last_active_ms), "{listed:?}");
        let mut names: Vec<_> = listed.into_iter().map(|session| session.key.session_id).collect();
        names.sort_unstable();
        names
    };
    let web = SessionFilter { repo_id: Some("web-1".to_owned()), closed: false };
    assert_eq!(names(SessionFilter::default(), 10).await, ["a", "b", "c"]);
    assert_eq!(names(SessionFilter::default(), 2).await.len(), 2);
    assert_eq!(names(web.clone(), 10).await, ["a", "c"]);
    store.close(&owner, &keys[0]).await.unwrap();
    assert_eq!(names(web.clone(), 10).await, ["c"]);
    assert_eq!(names(SessionFilter { closed: true, ..web }, 10).await, ["a", "c"]);
}

pub(crate) async fn names_may_hold_anything(place: &Place) {
    let store = place.open().await;
    let owner = store.enrol("home '; DROP TABLE agent_sessions; --", LONG).await.unwrap();
    let key = SessionKey::new("wéb-1", "'\"$1 ?\n\u{1f600} %_");
    let mut new = new_session(&key);
    new.title = "a\0b".to_owned();
    assert!(matches!(store.ensure(&owner, &new).await.unwrap(), Ensured::Created(_)));
    let session = store.session(&key).await.unwrap().unwrap();
    assert_eq!(session.key, key);
    assert!(["a\0b", "a\u{fffd}b"].contains(&session.title.as_str()), "{:?}", session.title);
}

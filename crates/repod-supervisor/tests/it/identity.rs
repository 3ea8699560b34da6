//! Which process a pid means.

use crate::backend::{Stranger, within};
use repod_supervisor::{ProcessIdentity, Signal};
use std::process::Command;

#[tokio::test]
async fn a_zombie_is_dead() {
    let mut child = Stranger(Command::new("true").spawn().unwrap());
    let identity = ProcessIdentity::of(child.0.id()).unwrap().unwrap();
    if let Some(handle) = identity.verify().unwrap() {
        within(handle.exited()).await.unwrap();
        assert!(!handle.is_alive());
    }
    // It has not been reaped, so the pid is still its own.
    assert_eq!(ProcessIdentity::of(identity.pid).unwrap(), Some(identity.clone()));
    assert!(identity.verify().unwrap().is_none());
    child.0.wait().unwrap();
    assert_eq!(ProcessIdentity::of(identity.pid).unwrap(), None);
}

#[test]
fn a_recycled_pid_is_never_taken_for_the_one_on_record() {
    let sleeper = Stranger::sleeping("");
    let real = ProcessIdentity::of(sleeper.0.id()).unwrap().unwrap();
    assert!(real.verify().unwrap().is_some());
    let earlier = ProcessIdentity { start_ticks: real.start_ticks - 1, ..real.clone() };
    assert!(earlier.verify().unwrap().is_none());
    let other_boot = ProcessIdentity { boot_id: "another".to_owned(), ..real };
    assert!(other_boot.verify().unwrap().is_none());
    for pid in [0, u32::MAX, 1 << 30] {
        assert!(ProcessIdentity { pid, ..real.clone() }.verify().unwrap().is_none());
    }
}

#[tokio::test]
async fn a_handle_serves_several_waiters_and_outlives_its_process() {
    let mut sleeper = Stranger::sleeping("");
    let identity = ProcessIdentity::of(sleeper.0.id()).unwrap().unwrap();
    let handle = identity.verify().unwrap().unwrap();
    let (one, two, sent) = within(async {
        tokio::join!(handle.exited(), handle.exited(), async { handle.signal(Signal::TERM) })
    })
    .await;
    assert!(sent.unwrap());
    one.unwrap();
    two.unwrap();
    sleeper.0.wait().unwrap();
    assert!(!handle.signal(Signal::TERM).unwrap(), "nobody was signalled");
    within(handle.exited()).await.unwrap();
}

#[test]
fn an_identity_is_the_same_after_a_round_trip_through_a_file() {
    let me = ProcessIdentity::mine().unwrap();
    let json = serde_json::to_string(&me).unwrap();
    assert_eq!(serde_json::from_str::<ProcessIdentity>(&json).unwrap(), me);
    assert!(me.verify().unwrap().unwrap().is_alive());
}

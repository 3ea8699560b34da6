//! The ladder.

use crate::backend::{Backend, Stranger, within};
use repod_supervisor::terminate::{Grace, terminate};
use repod_supervisor::{ProcessTree, Signal};
use std::cell::Cell;
use std::future::{pending, ready};
use std::time::Duration;

const GRACE: Grace = Grace {
    dispose: Duration::from_millis(200),
    term: Duration::from_millis(400),
    kill: Duration::from_secs(20),
};

/// For what is expected to end by itself: long enough never to be the reason of a failure.
const PATIENT: Grace = Grace { term: Duration::from_secs(20), ..GRACE };

fn tree_of(backend: &Backend) -> ProcessTree {
    ProcessTree::new(Some(backend.running.identity().clone()), &backend.marker)
}

#[tokio::test]
async fn everything_is_ended_and_nobody_else() {
    let mut backend = Backend::start(
        "setsid sleep 300 & (setsid sh -c 'sleep 301 &') ; env -i sleep 302 & echo ready; \
         (trap '' TERM; echo armed; exec sleep 303) & \
         setsid env -i sh -c 'trap \"\" TERM; sleep 304 & echo armed; wait' & wait",
    )
    .await;
    assert_eq!([backend.line().await, backend.line().await], ["armed", "armed"]);
    let mut stranger = Stranger::sleeping(&format!("{}0", backend.marker));
    let report = within(terminate(tree_of(&backend), ready(()), GRACE)).await.unwrap();
    assert_eq!(report.survivors, [] as [u32; 0]);
    assert_eq!((report.ended, report.killed), (7, 3), "three would not listen to SIGTERM");
    assert_eq!(backend.tree().alive().count(), 0);
    assert!(stranger.is_alive());
}

#[tokio::test]
async fn a_stopped_process_is_woken_to_die() {
    let backend = Backend::start("sleep 300 & kill -STOP $!; echo ready; wait").await;
    let report = within(terminate(tree_of(&backend), ready(()), PATIENT)).await.unwrap();
    assert_eq!((report.ended, report.killed), (2, 0));
}

#[tokio::test]
async fn the_polite_phase_is_bounded() {
    let backend = Backend::start("echo ready; exec sleep 300").await;
    let report = within(terminate(tree_of(&backend), pending(), PATIENT)).await.unwrap();
    assert_eq!((report.ended, report.killed), (1, 0));
}

#[tokio::test]
async fn what_loses_its_parent_in_the_polite_phase_is_still_ended() {
    let backend = Backend::start("setsid env -i sleep 300 & echo ready; wait").await;
    // The leader ends at once when asked, and with it the only tie to its child.
    let mut leader = repod_supervisor::RunningChild::adopted(
        backend.running.identity().verify().unwrap().unwrap(),
    );
    let polite = async {
        leader.handle().signal(Signal::KILL).unwrap();
        leader.wait().await.unwrap();
    };
    let report = within(terminate(tree_of(&backend), polite, PATIENT)).await.unwrap();
    assert_eq!((report.ended, report.killed), (2, 0));
}

#[tokio::test]
async fn nothing_is_asked_of_a_backend_that_is_gone() {
    let mut backend = Backend::start("setsid sleep 300 & echo ready; wait").await;
    backend.running.handle().signal(Signal::KILL).unwrap();
    within(backend.running.wait()).await.unwrap();
    let asked = Cell::new(false);
    let polite = async { asked.set(true) };
    let report = within(terminate(tree_of(&backend), polite, PATIENT)).await.unwrap();
    assert!(!asked.get(), "its port may be another's by now");
    assert_eq!(report.ended, 1, "but what it left is ended");
}

#[tokio::test]
async fn what_forks_while_it_is_being_ended_is_caught() {
    let backend = Backend::start(
        "trap 'setsid sh -c \"trap : TERM; sleep 300 & wait; sleep 301\" &' TERM; echo ready; \
         while :; do sleep 300 & wait; done",
    )
    .await;
    let report = within(terminate(tree_of(&backend), ready(()), GRACE)).await.unwrap();
    assert_eq!(report.survivors, [] as [u32; 0]);
    assert!(report.killed >= 1);
    assert_eq!(backend.tree().alive().count(), 0);
}

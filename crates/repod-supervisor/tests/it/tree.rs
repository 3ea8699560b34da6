//! What belongs to a backend, and what does not.

use crate::backend::{Backend, Stranger, within};
use repod_supervisor::ports::{self, PortOwner};
use repod_supervisor::tree::Tie;
use repod_supervisor::{ProcessIdentity, ProcessTree, Signal, Snapshot};

/// A child in a session of its own, a daemonised grandchild, and one without any environment.
const FAMILY: &str = "setsid sleep 300 & \
                      (setsid sh -c 'sleep 301 &') ; \
                      env -i sleep 302 & \
                      echo ready; wait";

fn ties(tree: &ProcessTree) -> Vec<Tie> {
    let mut ties: Vec<Tie> = tree.alive().map(|member| member.tie()).collect();
    ties.sort_by_key(|tie| format!("{tie:?}"));
    ties
}

#[tokio::test]
async fn the_whole_family_is_found_each_by_a_tie_of_its_own() {
    let backend = Backend::start(FAMILY).await;
    use Tie::{Descent, Leader, Marker};
    assert_eq!(ties(&backend.tree()), [Descent, Descent, Leader, Marker]);
}

#[tokio::test]
async fn strangers_are_not_family() {
    let backend = Backend::start(FAMILY).await;
    let longer = Stranger::sleeping(&format!("{}0", backend.marker));
    let none = Stranger::sleeping("");
    let own = Stranger::sleeping(&backend.marker);
    let found: Vec<u32> = backend.tree().alive().map(|member| member.handle().pid()).collect();
    assert!(!found.contains(&longer.0.id()), "its marker only starts alike");
    assert!(!found.contains(&none.0.id()));
    assert!(found.contains(&own.0.id()), "a marker is a marker");
    assert!(!found.contains(&std::process::id()), "never the one who asks");

    let spared = ProcessTree::collect(None, &backend.marker, [own.0.id()]).unwrap();
    assert!(spared.alive().all(|member| member.handle().pid() != own.0.id()));
    let real = backend.running.identity().clone();
    let recycled = ProcessIdentity { start_ticks: real.start_ticks - 1, ..real };
    let tree = ProcessTree::collect(Some(&recycled), "no-such-marker", []).unwrap();
    assert_eq!(tree.members().len(), 0, "another process has that pid now");
}

#[tokio::test]
async fn what_can_no_longer_be_proven_to_belong_is_left_alone() {
    let mut backend = Backend::start("env -i sleep 300 & echo ready; wait").await;
    let identity = backend.running.identity().clone();
    let orphan = backend.tree();
    backend.running.handle().signal(Signal::KILL).unwrap();
    within(backend.running.handle().exited()).await.unwrap();
    // A zombie keeps its pid, and with it the number of its session.
    assert_eq!(ties(&backend.tree()), [Tie::Session]);
    within(backend.running.wait()).await.unwrap();
    // Reaped: the number might be anybody's. But who saw it before still knows it.
    assert_eq!(ties(&ProcessTree::collect(Some(&identity), &backend.marker, []).unwrap()), []);
    assert_eq!(ties(&orphan), [Tie::Descent]);
}

#[tokio::test]
async fn a_session_stays_proven_while_a_known_member_is_in_it() {
    let mut backend = Backend::start(
        "env -i sleep 300 & \
         env -i sh -c 'trap \"sleep 301 & echo forked; exit\" USR1; echo ready; echo $$; \
                       while :; do sleep 0.05; done' & wait",
    )
    .await;
    let shell: u32 = backend.line().await.parse().unwrap();
    let mut tree = backend.tree();
    backend.running.handle().signal(Signal::KILL).unwrap();
    within(backend.running.wait()).await.unwrap();
    let shell = tree.alive().find(|member| member.handle().pid() == shell).unwrap();
    shell.handle().signal(Signal::USR1).unwrap();
    assert_eq!(backend.line().await, "forked");
    tree.rescan().unwrap();
    assert!(ties(&tree).contains(&Tie::Session), "{:?}", ties(&tree));
    for member in tree.alive() {
        member.handle().signal(Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn one_pass_answers_for_many_leaders_and_finds_left_overs_by_their_home() {
    let (one, two) = (Backend::start(FAMILY).await, Backend::start("echo ready; sleep 300").await);
    let snapshot = Snapshot::take().unwrap();
    for backend in [&one, &two] {
        let bytes = snapshot.rss_bytes(backend.running.identity()).unwrap();
        assert!((100_000..100_000_000).contains(&bytes), "{bytes}");
    }
    assert!(snapshot.tree(one.running.identity()).unwrap().len() >= 3);
    let marker = format!("{}left-over", one.marker);
    let left_over = Stranger::sleeping(&marker);
    let found = Snapshot::take().unwrap().by_marker_prefix(&marker[..marker.len() - 4]).unwrap();
    let expected = ProcessIdentity::of(left_over.0.id()).unwrap().unwrap();
    assert_eq!(found, [(expected, marker)]);
}

#[tokio::test]
async fn a_port_belongs_to_the_backend_whose_descendant_listens_there() {
    let mut backend = Backend::start("echo ready; \"$HELPER\" listen & wait").await;
    let other = Backend::start("echo ready; sleep 300").await;
    let port = backend.line().await.parse().unwrap();
    assert_eq!(ports::owner(backend.running.identity(), port).unwrap(), PortOwner::Tree);
    assert_eq!(ports::owner(other.running.identity(), port).unwrap(), PortOwner::Stranger);
}

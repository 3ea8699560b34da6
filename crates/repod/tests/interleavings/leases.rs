//! Leases: one writer a branch, nobody forgotten, nothing kept by those who left.

use crate::line::Line;
use crate::yard::{BROKEN, Yard, ask, key, session};
use crate::{check, waver};
use repod_coordination::lease::{CallId, Event, Hold};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A turn of two writes on one branch, each reported, as a guard does.
async fn turn(yard: Yard, line: Line, who: &'static str, branch: &'static str) {
    for call in ["first", "second"] {
        let call = format!("{who}/{call}");
        let granted = line.ask(ask(who, &call, branch, Hold::Turn), ()).await.ok().unwrap();
        let lease = granted.keep();
        yard.write(who, lease.as_ref()).await;
        line.tell(Event::Report { call: CallId(call) }).await;
    }
    line.tell(Event::TurnEnded { owner: session(who) }).await;
}

/// One write for whose time alone the lease is held.
async fn single(yard: Yard, line: Line, who: &'static str) {
    let granted = line.ask(ask(who, who, "main", Hold::Call), ()).await.ok().unwrap();
    yard.write(who, granted.lease.as_ref()).await;
}

/// One that is aborted at any moment: before it asks, in line, granted, or done.
async fn quitter(yard: Yard, line: Line, who: &'static str) {
    let asking = tokio::spawn(single(yard, line, who));
    waver().await;
    asking.abort();
    let _ = asking.await;
}

async fn all(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn one_writes_at_a_time_and_everybody_comes_to_it() {
    check(|| async {
        let yard = Yard::default();
        let (line, desk) = yard.desk();
        all([
            tokio::spawn(turn(yard.clone(), line.clone(), "anna", "main")),
            tokio::spawn(turn(yard.clone(), line.clone(), "ben", "main")),
            tokio::spawn(turn(yard.clone(), line.clone(), "carl", "other")),
            tokio::spawn(single(yard.clone(), line.clone(), "dora")),
        ])
        .await;
        yard.is_clear(line, desk).await;
    });
}

#[test]
fn whoever_leaves_at_any_moment_takes_nothing_along() {
    check(|| async {
        let yard = Yard::default();
        let (line, desk) = yard.desk();
        all([
            tokio::spawn(quitter(yard.clone(), line.clone(), "quentin")),
            tokio::spawn(quitter(yard.clone(), line.clone(), "rosa")),
            tokio::spawn(turn(yard.clone(), line.clone(), "anna", "main")),
            tokio::spawn(single(yard.clone(), line.clone(), "ben")),
        ])
        .await;
        yard.is_clear(line, desk).await;
    });
}

/// The lock file is a script's now and then.
#[test]
fn a_script_that_has_the_branch_s_lock_file_is_waited_for() {
    check(|| async {
        use crate::desk::Ground as _;
        let yard = Yard::default();
        let (line, desk) = yard.desk();
        let script = yard.take(&key("main"), 0).ok();
        let tasks = [
            tokio::spawn(single(yard.clone(), line.clone(), "anna")),
            tokio::spawn(quitter(yard.clone(), line.clone(), "quentin")),
            tokio::spawn(single(yard.clone(), line.clone(), "ben")),
        ];
        waver().await;
        drop(script);
        all(tasks).await;
        yard.is_clear(line, desk).await;
    });
}

#[test]
fn a_lock_file_that_can_not_be_had_refuses_everybody_in_line() {
    check(|| async {
        let yard = Yard::default();
        let (line, desk) = yard.desk();
        all(["anna", "ben"].map(|who| {
            let line = line.clone();
            tokio::spawn(async move {
                assert!(line.ask(ask(who, who, BROKEN, Hold::Turn), ()).await.is_err());
            })
        }))
        .await;
        yard.is_clear(line, desk).await;
    });
}

/// The connection of an ask is lost and the same call asks anew, while the loss of the first is still to
/// be noticed.
#[test]
fn a_call_that_asks_again_is_not_ended_by_the_loss_of_its_first_connection() {
    check(|| async {
        let yard = Yard::default();
        let (line, desk) = yard.desk();
        let (begun, begins) = oneshot::channel();
        let first = tokio::spawn({
            let line = line.clone();
            async move {
                let asking = line.ask(ask("anna", "anna", "main", Hold::Call), ());
                tokio::pin!(asking);
                tokio::select! {
                    biased;
                    granted = &mut asking => { let _ = begun.send(()); waver().await; drop(granted) }
                    () = std::future::ready(()) => {
                        let _ = begun.send(());
                        let granted = asking.await;
                        waver().await;
                        drop(granted);
                    }
                }
            }
        });
        let other = tokio::spawn(single(yard.clone(), line.clone(), "ben"));
        begins.await.unwrap();
        let again = tokio::spawn(single(yard.clone(), line.clone(), "anna"));
        first.abort();
        let _ = first.await;
        all([again, other]).await;
        yard.is_clear(line, desk).await;
    });
}

/// A name that another's call bears is refused, and that one has its answer all the same.
#[test]
fn a_stranger_of_the_same_name_takes_nobody_s_answer() {
    check(|| async {
        let yard = Yard::default();
        let (line, desk) = yard.desk();
        let holder = line.ask(ask("ben", "ben", "main", Hold::Call), ()).await.ok().unwrap();
        let tasks = ["anna", "carl"].map(|who| {
            let (yard, line) = (yard.clone(), line.clone());
            tokio::spawn(async move {
                let granted = line.ask(ask(who, "call", "main", Hold::Call), ()).await.ok();
                if let Some(granted) = &granted {
                    yard.write(who, granted.lease.as_ref()).await;
                }
                granted.is_some()
            })
        });
        waver().await;
        drop(holder);
        let mut granted = 0;
        for task in tasks {
            granted += usize::from(task.await.unwrap());
        }
        assert!(granted >= 1, "nobody was");
        yard.is_clear(line, desk).await;
    });
}

//! The other places where tasks wait for each other: for a guard to come, and for an operation's end.

use crate::alone::Alone;
use crate::guards::Guards;
use crate::{check, waver};
use repod_proto::{Generation, RepoId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn a_guard_that_comes_is_not_overlooked() {
    check(|| async {
        let (guards, repo) = (Guards::default(), "web-3f2a9c1b04de".parse::<RepoId>().unwrap());
        let one = Generation(1);
        let waiting = [0, 1].map(|_| {
            let (guards, repo) = (guards.clone(), repo.clone());
            // The checker's time doesn't pass: one that isn't woken waits for ever.
            tokio::spawn(async move {
                assert!(guards.comes(&repo, one, "/src/web", Duration::from_secs(1)).await);
            })
        });
        let other = guards.enter(repo.clone(), one, "/src/other");
        waver().await;
        let first = guards.enter(repo.clone(), one, "/src/web");
        for task in waiting {
            task.await.unwrap();
        }
        drop(other);
        assert!(guards.is_there(&repo, one, "/src/web"));
        drop(first);
        assert!(!guards.is_there(&repo, one, "/src/web"));
    });
}

#[test]
fn an_operation_is_carried_out_by_one_at_a_time_whoever_leaves() {
    check(|| async {
        let (alone, inside) = (Arc::new(Alone::default()), Arc::new(AtomicUsize::new(0)));
        let work = |name: &'static str| {
            let (alone, inside) = (Arc::clone(&alone), Arc::clone(&inside));
            tokio::spawn(async move {
                let _held = alone.hold(name).await;
                let counted = name == "operation";
                assert!(!counted || inside.fetch_add(1, Ordering::SeqCst) == 0, "two at once");
                let _leaves = Leaves(counted.then_some(inside));
                waver().await;
            })
        };
        let tasks = [work("operation"), work("another"), work("operation"), work("operation")];
        waver().await;
        tasks[2].abort();
        for (at, task) in tasks.into_iter().enumerate() {
            assert!(task.await.is_ok() || at == 2);
        }
        assert_eq!(inside.load(Ordering::SeqCst), 0);
    });
}

/// Counts one out, also one that is aborted inside.
struct Leaves(Option<Arc<AtomicUsize>>);

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(inside) = &self.0 {
            inside.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

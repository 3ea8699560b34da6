//! Beside the code, but not in it: its rooms are also compiled for the model checker.

use super::CallId;
use super::guards::Guards;
use super::order::Order;
use repod_proto::{Generation, RepoId};
use std::time::Duration;

#[tokio::test]
async fn a_guard_is_there_as_long_as_it_is_held() {
    let (guards, repo) = (Guards::default(), "web-3f2a9c1b04de".parse::<RepoId>().unwrap());
    let one = Generation(1);
    assert!(!guards.comes(&repo, one, "/src/web", Duration::from_millis(5)).await);
    let waiting = tokio::spawn({
        let (guards, repo) = (guards.clone(), repo.clone());
        async move { guards.comes(&repo, one, "/src/web", Duration::from_secs(20)).await }
    });
    tokio::task::yield_now().await;
    let first = guards.enter(repo.clone(), one, "/src/web/");
    assert!(waiting.await.unwrap());
    let second = guards.enter(repo.clone(), one, "/src/web");
    drop(first);
    assert!(guards.is_there(&repo, one, "/src/web"));
    assert!(!guards.is_there(&repo, Generation(2), "/src/web"));
    drop(second);
    assert!(!guards.is_there(&repo, one, "/src/web"));
}

#[tokio::test]
async fn a_call_waits_for_the_one_before_it_until_that_is_in_line_but_not_for_ever() {
    let (order, name) = (Order::default(), |name: &str| CallId(name.to_owned()));
    let soon = Duration::from_millis(5);
    let first = order.comes(name("first"));
    drop(order.comes(name("other")));
    assert!(!order.after(&name("first"), soon).await);
    let second = tokio::spawn({
        let order = order.clone();
        async move { order.after(&CallId("first".into()), Duration::from_secs(20)).await }
    });
    tokio::task::yield_now().await;
    drop(first);
    assert!(second.await.unwrap());
    // What has come already is not waited for.
    assert!(order.after(&name("first"), Duration::ZERO).await);
}

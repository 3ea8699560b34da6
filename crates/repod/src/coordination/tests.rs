//! Beside the code, but not in it: its rooms are also compiled for the model checker.

use super::guards::Guards;
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

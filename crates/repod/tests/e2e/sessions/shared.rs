//! Two daemons whose sessions are in one PostgreSQL: each session is one daemon's.

use super::{request, run};
use crate::{builder, client};
use repod_client::{Client, SessionName};
use repod_proto::agent::TurnOutcome;
use repod_proto::{ErrorCode, SessionHow};
use repod_testkit::{Postgres, Script, World};
use std::path::Path;

fn daemon(postgres: &Postgres) -> World {
    builder().settings(format!("[sessions]\nstore = \"{}\"\n", postgres.url("postgres"))).build()
}

/// Whether this daemon got the session; another's is refused, and nothing else is.
async fn gets(client: &Client, repo: &Path, name: &str) -> bool {
    match client.ensure_session(request(repo, name)).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::SessionForeign, "{error:?}");
            assert!(error.hint.is_some());
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_postgres_never_own_one_session_both() {
    let postgres = Postgres::start().await;
    let (here, there) = (daemon(&postgres), daemon(&postgres));
    let repo = here.git_repo("web");
    let (one, other) = (client(&here), client(&there));
    crate::ensure(&here, &repo);
    crate::ensure(&there, &repo);

    let names: Vec<String> = (0..12).map(|n| format!("work{n}")).collect();
    let both = names
        .iter()
        .map(async |name| tokio::join!(gets(&one, &repo, name), gets(&other, &repo, name)));
    let got = futures_util::future::join_all(both).await;
    assert!(got.iter().all(|(here, there)| here != there), "{got:?}");

    // Turns too: the owner's run, and nobody else's.
    for (name, (is_here, _)) in names.iter().zip(&got) {
        let (owner, stranger) = if *is_here { (&one, &other) } else { (&other, &one) };
        let session = SessionName::in_repo(name, &repo).unwrap();
        let told = run(owner, &session, &Script::new().text(name)).await;
        assert_eq!(told.end().outcome, TurnOutcome::Completed);
        let prompt = super::turn(&Script::new().text("never"));
        let refused =
            stranger.prompt_session(&session, prompt).await.err().expect("it is another's");
        assert_eq!(refused.code, ErrorCode::SessionForeign, "{refused:?}");
        let turns = owner.session(&session).await.unwrap().turns;
        assert_eq!(turns.len(), 1, "{turns:?}");
    }

    // A daemon that has ended holds nothing back, and does not get it back either.
    here.repod(["shutdown"]).ok();
    for name in &names {
        let ensured = other.ensure_session(request(&repo, name)).await.unwrap();
        let session = SessionName::of(&ensured.session);
        // Each daemon's OpenCode has its own records, so what began there begins anew here.
        assert!(matches!(ensured.how, SessionHow::Resumed | SessionHow::Renewed), "{ensured:?}");
        let told = run(&other, &session, &Script::new().text("here now")).await;
        assert_eq!(told.end().outcome, TurnOutcome::Completed);
    }
    assert!(!gets(&one, &repo, &names[0]).await);
    // What is there names a directory that is here.
    there.finish();
    here.finish();
}

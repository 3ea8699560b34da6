//! Coming from plain OpenCode, and going back: nobody's sessions are lost.

pub(crate) mod rows;

use crate::{BOUND, ensure, oc, status, world};
use repod_proto::{Endpoint, HistoryReport};
use repod_testkit::{Oc, Script, World, wait_until};
use rows::{multiply, run, transcripts};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn shared(world: &World) -> PathBuf {
    world.home().join(".local/share/opencode/opencode.db")
}

fn own(world: &World, endpoint: &Endpoint) -> PathBuf {
    world.layout().repo(&endpoint.repo_id).dir().join("data/opencode/opencode.db")
}

/// Whether the endpoint says that sessions are missing.
fn is_said(endpoint: &Endpoint) -> bool {
    endpoint.warnings.iter().any(|warning| warning.contains("were not brought over"))
}

/// Ids of the sessions a directory lists.
async fn listed(client: &Oc, directory: &Path) -> Vec<String> {
    let all = client.get("/session?limit=10000", Some(directory)).await.unwrap();
    let ids = all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids
}

/// A session with a file written and a list of things to do, and its copies.
async fn sessions(world: &World, client: &Oc, directory: &Path, copies: usize) -> String {
    let todo = json!({ "todos": [{ "content": "c", "status": "pending", "priority": "high", "id": "1" }] });
    let script = Script::new()
        .write(directory.join("made.txt"), "made\n")
        .tool("todowrite", todo)
        .text("done ü");
    let turn = client.turn(directory, script.prompt("make it")).await.unwrap().succeeded();
    multiply(&shared(world), &turn.session, copies).await;
    turn.session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_gets_its_own_sessions_out_of_the_shared_database_and_gives_them_back() {
    let full = std::env::var_os("REPOD_TEST_FULL").is_some();
    let copies = if full { 59 } else { 11 };
    let world = world();
    let web = world.git_repo("web");
    let clone = world.repos().join("web2");
    world.git(&web, ["clone", "--quiet", ".", clone.to_str().unwrap()]);
    let (api, notes) = (world.git_repo("api"), world.plain_dir("notes"));
    let tree = world.worktree(&web, "tree");
    let mut all = vec![web.clone(), clone.clone(), notes.clone(), api.clone()];
    if full {
        all.push(world.git_repo("docs"));
    }

    let plain = world.bare(&web);
    let client = plain.oc();
    let first = sessions(&world, &client, &web, copies).await;
    for directory in &all[1..] {
        sessions(&world, &client, directory, copies).await;
    }
    sessions(&world, &client, &tree, copies).await;
    if !full {
        all.truncate(3);
    }
    let mut theirs = Vec::new();
    for directory in &all {
        theirs.push(listed(&client, directory).await);
        assert_eq!(theirs.last().unwrap().len(), copies + 1, "{}", directory.display());
    }
    let in_tree = listed(&client, &tree).await;
    let before = transcripts(&shared(&world), &theirs.concat()).await;
    // A login that is kept in the database: its token rotates, so there can't be two of it.
    let login = "INSERT INTO account VALUES ('a1', 'anna@example.org', 'https://example.org', 'T', 'R', NULL, 1, 1)";
    run(&shared(&world), login.to_owned()).await;

    // Somebody goes on writing, into a repo that is not asked for yet.
    let (busy, other) = (client.clone(), api.clone());
    let enough = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&enough);
    let writing = tokio::spawn(async move {
        let mut turns = 0;
        while !ended.load(Ordering::SeqCst) {
            let turn = busy.turn(&other, Script::new().text("more").prompt("more")).await.unwrap();
            assert_eq!(turn.succeeded().text, "more");
            turns += 1;
        }
        turns
    });

    // The first one's daemon dies in the middle of it.
    fs_err::write(world.repod_home().join("fault-adopt-4"), "").unwrap();
    let mut endpoints = Vec::new();
    for (directory, ids) in all.iter().zip(&theirs).take(3) {
        let endpoint = wait_until("an endpoint", BOUND, async || {
            let output = world.repod(["ensure", "--json"]).arg(directory).run();
            serde_json::from_str::<Endpoint>(&output.stdout).ok()
        })
        .await;
        assert!(!is_said(&endpoint), "{:?}", endpoint.warnings);
        let here = oc(&endpoint);
        assert_eq!(listed(&here, directory).await, *ids, "{}", directory.display());
        for id in [&ids[0], &ids[ids.len() - 1]] {
            assert_eq!(here.messages(id).await.unwrap(), client.messages(id).await.unwrap());
            let todo = format!("/session/{id}/todo");
            let todos = client.get(&todo, Some(directory)).await.unwrap();
            assert_eq!(here.get(&todo, Some(directory)).await.unwrap(), todos);
        }
        let copied = transcripts(&own(&world, &endpoint), ids).await;
        assert_eq!(copied, transcripts(&shared(&world), ids).await, "{}", directory.display());
        endpoints.push(endpoint);
    }
    assert!(!world.repod_home().join("fault-adopt-4").exists(), "the daemon didn't die");
    let told = world.repod(["audit", "--json"]).arg(world.root()).run();
    assert_eq!(told.stdout.matches("\"RP611\"").count(), 3 + 1, "{told:?}");
    assert!(
        told.stdout.contains("anna@example.org at https://example.org must be logged in again")
    );
    let adoption = status(&world, &clone).adoption.unwrap();
    assert_eq!((adoption.state.as_str(), adoption.sessions), ("adopted", copies + 1));
    if full {
        ensure(&world, &all[3]);
        let docs = oc(&ensure(&world, &all[4]));
        assert_eq!(listed(&docs, &all[4]).await, theirs[4]);
    }
    enough.store(true, Ordering::SeqCst);
    assert!(writing.await.unwrap() > 0);
    assert_eq!(transcripts(&shared(&world), &theirs.concat()).await, before, "the source changed");
    let here = oc(&endpoints[0]);
    assert_eq!(listed(&here, &tree).await, in_tree, "a linked worktree's are the repo's too");

    // The agent can go back to before a turn that another process made.
    let messages = here.messages(&first).await.unwrap();
    let revert = json!({ "messageID": messages[0]["info"]["id"] });
    assert!(web.join("made.txt").exists());
    here.post(&format!("/session/{first}/revert"), Some(&web), revert).await.unwrap();
    assert!(!web.join("made.txt").exists(), "the snapshot did not come along");
    here.post(&format!("/session/{first}/unrevert"), Some(&web), json!({})).await.unwrap();

    // What was added there since follows when asked; what is made here goes back.
    let late = client.turn(&web, Script::new().text("late").prompt("late")).await.unwrap().session;
    let made = here.turn(&web, Script::new().text("here").prompt("here")).await.unwrap().session;
    let report = wait_until("an adoption", BOUND, async || {
        let output = world.repod(["adopt", "--json"]).arg(&web).run();
        serde_json::from_str::<HistoryReport>(&output.stdout).ok()
    })
    .await;
    assert_eq!(report.added, 1, "{report:?}");
    let now = listed(&here, &web).await;
    assert!(now.contains(&late) && now.contains(&made) && now.len() == theirs[0].len() + 2);

    let refused = world.repod(["eject", "--json"]).arg(&web).run();
    assert_eq!(refused.code, 75, "{refused:?}");
    assert!(refused.stdout.contains("history_in_use") || refused.stderr.contains("history_in_use"));
    assert!(format!("{refused:?}").contains(&plain.pid().to_string()), "{refused:?}");
    let others = listed(&client, &clone).await;
    drop(plain);
    let report: HistoryReport = world.repod(["eject", "--json"]).arg(&web).json();
    assert_eq!(report.added, 1, "{report:?}");
    let again: HistoryReport = world.repod(["eject", "--json"]).arg(&web).json();
    assert_eq!((again.added, again.kept), (0, None));

    let plain = world.bare(&web);
    let client = plain.oc();
    assert_eq!(listed(&client, &web).await, now, "old and new");
    assert_eq!(listed(&client, &clone).await, others);
    let texts = client.last_turn(&made).await.unwrap();
    assert_eq!(texts.text, "here");
    drop(plain);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_known_is_said_and_does_not_keep_the_agent_away() {
    let world = world();
    let web = world.git_repo("web");
    let plain = world.bare(&web);
    let session = plain.oc().create_session(&web).await.unwrap();
    drop(plain);
    run(&shared(&world), "INSERT INTO migration VALUES ('20990101_future', 1)".into()).await;

    let endpoint = ensure(&world, &web);
    let said = endpoint.warnings.join("\n");
    assert!(is_said(&endpoint) && said.contains("20990101_future"), "{said}");
    assert_eq!(listed(&oc(&endpoint), &web).await, Vec::<String>::new());
    let made = oc(&endpoint).create_session(&web).await.unwrap();
    let refused = wait_until("a refusal", BOUND, async || {
        let output = world.repod(["adopt", "--json"]).arg(&web).run();
        (output.code != 75).then_some(output)
    })
    .await;
    assert!(refused.code == 1 && format!("{refused:?}").contains("history_unknown"), "{refused:?}");

    // The next start tries again, and keeps what was made meanwhile.
    run(&shared(&world), "DELETE FROM migration WHERE id = '20990101_future'".into()).await;
    let endpoint = ensure(&world, &web);
    assert!(!is_said(&endpoint), "{:?}", endpoint.warnings);
    let mut both = vec![session, made];
    both.sort();
    assert_eq!(listed(&oc(&endpoint), &web).await, both);
    world.finish();
}

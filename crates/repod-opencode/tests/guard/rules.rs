//! The user's permission rules hold for the real paths of a routed write: what is denied stays denied,
//! what asks still asks, in the words of the real path.

use crate::{BOUND, Guarded};
use repod_testkit::{PATCH_MODEL, Prompt, Script, wait_until};
use serde_json::{Value, json};
use std::path::Path;

/// The question that waits.
async fn question(guarded: &Guarded) -> Value {
    let Guarded { oc, repo, .. } = guarded;
    wait_until("a question", BOUND, async || oc.permissions(repo).await.ok()?.into_iter().next())
        .await
}

async fn answer(guarded: &Guarded, question: &Value, reply: &str) {
    let id = question["id"].as_str().unwrap();
    guarded.oc.reply_permission(id, &guarded.repo, reply).await.unwrap();
}

async fn start(guarded: &Guarded, session: &str, script: Script) {
    guarded.oc.start_turn(session, script).await.unwrap();
}

async fn wait_idle(guarded: &Guarded, session: &str) {
    guarded.oc.wait_idle(session, &guarded.repo, BOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_asks_still_asks_in_real_words() {
    let guarded = Guarded::beside_lib(&json!({ "edit": "ask" }));
    reading_the_registered_asks_nothing(&guarded).await;
    once_is_once(&guarded).await;
    a_rejection_is_opencodes(&guarded).await;
    an_abort_while_the_question_waits(&guarded).await;
    a_patch_asks_for_all_its_files_at_once(&guarded).await;
    always_is_worth_the_same_as_for_the_file(&guarded).await;
    guarded.finish();
}

async fn reading_the_registered_asks_nothing(guarded: &Guarded) {
    let Guarded { oc, repo, .. } = guarded;
    let script = Script::new()
        .read(guarded.lib().join("README.md"))
        .tool("glob", json!({ "pattern": "*", "path": guarded.lib() }))
        .text("done");
    let _ = oc.turn(repo, script).await.unwrap().succeeded();
}

async fn once_is_once(guarded: &Guarded) {
    let Guarded { oc, daemon, .. } = guarded;
    let file = guarded.lib().join("asked.txt");
    for _ in 0..2 {
        daemon.clear();
        let session = guarded.session().await;
        let mut events = oc.events(&guarded.repo).await.unwrap();
        start(guarded, &session, Script::new().write(&file, "x\n").text("done")).await;
        let first = question(guarded).await;
        let dir = guarded.lib().display().to_string();
        assert_eq!(first["permission"], "external_directory");
        assert_eq!(first["patterns"], json!([format!("{dir}/*")]));
        assert_eq!(first["always"], first["patterns"]);
        assert_eq!(first["metadata"], json!({ "filepath": file, "parentDir": dir }));
        let told = events
            .next_where("the question", BOUND, |event| event["type"] == "permission.asked")
            .await
            .unwrap();
        assert_eq!(told["properties"], first);
        answer(guarded, &first, "once").await;

        let second = wait_until("the next question", BOUND, async || {
            let mut all = oc.permissions(&guarded.repo).await.ok()?;
            all.retain(|one| one["permission"] == "edit");
            all.pop()
        })
        .await;
        assert_eq!(second["patterns"], json!(["../lib/asked.txt"]));
        assert_eq!(second["metadata"]["filepath"], json!(file));
        let diff = second["metadata"]["diff"].as_str().unwrap();
        assert!(diff.starts_with(&format!("Index: {}\n", file.display())), "{diff}");
        assert!(!file.exists());
        answer(guarded, &second, "once").await;
        wait_idle(guarded, &session).await;
        let turn = oc.last_turn(&session).await.unwrap().succeeded();
        assert_eq!(turn.tools[0].input["filePath"], json!(file));
        assert_eq!(daemon.all("stage")[0]["name"], "edit-ask.dir-ask");
        fs_err::remove_file(&file).unwrap();
    }
}

async fn a_rejection_is_opencodes(guarded: &Guarded) {
    let Guarded { oc, daemon, .. } = guarded;
    daemon.clear();
    let file = guarded.lib().join("rejected.txt");
    let session = guarded.session().await;
    start(guarded, &session, Script::new().write(&file, "x\n").text("done")).await;
    answer(guarded, &question(guarded).await, "reject").await;
    wait_idle(guarded, &session).await;
    let call = oc.last_turn(&session).await.unwrap().tools.remove(0);
    assert!(call.error.unwrap().contains("rejected permission"));
    daemon.wait_for("report", 1).await;
    assert_eq!(daemon.story(), ["ask write", "stage", "report"]);
    assert!(!file.exists());
}

async fn an_abort_while_the_question_waits(guarded: &Guarded) {
    let Guarded { oc, daemon, repo, .. } = guarded;
    daemon.clear();
    let file = guarded.lib().join("aborted.txt");
    let session = guarded.session().await;
    start(guarded, &session, Script::new().write(&file, "x\n").text("done")).await;
    let asked = question(guarded).await;
    oc.abort(&session).await.unwrap();
    daemon.wait_for("report", 1).await;
    wait_until("no question", BOUND, async || {
        oc.permissions(repo).await.ok()?.is_empty().then_some(())
    })
    .await;
    let reply = oc.reply_permission(asked["id"].as_str().unwrap(), repo, "once").await;
    assert!(reply.is_err());
    wait_idle(guarded, &session).await;
    let call = oc.last_turn(&session).await.unwrap().tools.remove(0);
    assert_eq!((call.status.as_str(), &call.input["filePath"]), ("error", &json!(file)));
    let _ = oc.turn_in(&session, "still there?").await.unwrap();
    assert_eq!(daemon.story(), ["ask write", "stage", "report"]);
    assert!(!file.exists());
}

async fn a_patch_asks_for_all_its_files_at_once(guarded: &Guarded) {
    let Guarded { oc, repo, daemon, .. } = guarded;
    daemon.clear();
    let (home, lib) = (repo.join("home.txt"), guarded.lib().join("patched.txt"));
    let patch = format!(
        "*** Begin Patch\n*** Add File: home.txt\n+h\n*** Add File: {}\n+l\n*** End Patch",
        lib.display()
    );
    let session = guarded.session().await;
    let prompt = Prompt::from(Script::new().apply_patch(&patch).text("done")).model(PATCH_MODEL);
    oc.start_turn(&session, prompt).await.unwrap();
    // Nobody is asked for the directory of the file at home.
    let mut questions = Vec::new();
    for permission in ["external_directory", "edit"] {
        let asked = wait_until(permission, BOUND, async || {
            let mut all = oc.permissions(repo).await.ok()?;
            all.retain(|one| one["permission"] == permission);
            all.retain(|one| one["patterns"] != json!([format!("{}/*", repo.display())]));
            all.pop()
        })
        .await;
        answer(guarded, &asked, "once").await;
        questions.push(asked["patterns"].clone());
    }
    let dir = guarded.lib().display().to_string();
    assert_eq!(questions[0], json!([format!("{dir}/*")]));
    assert_eq!(questions[1], json!(["home.txt", "../lib/patched.txt"]));
    wait_idle(guarded, &session).await;
    let _ = oc.last_turn(&session).await.unwrap().succeeded();
    assert!(home.exists() && lib.exists());
}

async fn always_is_worth_the_same_as_for_the_file(guarded: &Guarded) {
    let Guarded { oc, repo, daemon, .. } = guarded;
    let file = |name: &str| guarded.lib().join(name);
    let session = guarded.session().await;
    start(guarded, &session, Script::new().write(file("a"), "x\n").text("done")).await;
    for permission in ["external_directory", "edit"] {
        let asked = wait_until(permission, BOUND, async || {
            let mut all = oc.permissions(repo).await.ok()?;
            all.retain(|one| one["permission"] == permission);
            all.pop()
        })
        .await;
        answer(guarded, &asked, "always").await;
    }
    wait_idle(guarded, &session).await;

    // Neither a copy nor the file itself is asked for again, but other directories are.
    daemon.clear();
    let script = Script::new().write(file("b"), "x\n").write(repo.join("b"), "x\n").text("done");
    let _ = oc.turn(repo, script).await.unwrap().succeeded();
    assert_eq!(daemon.all("stage")[0]["name"], "edit-allow.dir-allow");
    // `<lib>/*` covers what lies deeper, in OpenCode's wildcards.
    let script = Script::new().write(file("sub/c"), "x\n").text("done");
    let _ = oc.turn(repo, script).await.unwrap().succeeded();
    assert!(file("sub/c").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_stays_denied() {
    let guarded = Guarded::beside_lib(&json!({
        "edit": { "*": "allow", "../lib/secret/*": "deny" },
        "external_directory": { "*": "allow", "*/lib/private/*": "deny" },
    }));
    let Guarded { oc, repo, daemon, .. } = &guarded;
    for (place, permission, rules) in [
        (
            "secret/x.txt",
            "edit",
            json!([
                { "permission": "*", "action": "allow", "pattern": "*" },
                { "permission": "edit", "action": "allow", "pattern": "*" },
                { "permission": "edit", "action": "deny", "pattern": "../lib/secret/*" },
            ]),
        ),
        ("private/x.txt", "external_directory", json!(null)),
    ] {
        daemon.clear();
        let file = guarded.lib().join(place);
        let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("so be it")).await.unwrap();
        let error = turn.tools[0].error.as_deref().unwrap();
        let words = "The user has specified a rule which prevents you from using this specific \
                     tool call. Here are some of the relevant rules ";
        let named: Value = serde_json::from_str(error.strip_prefix(words).unwrap()).unwrap();
        if !rules.is_null() {
            assert_eq!(named, rules);
        }
        assert!(error.contains(permission) && !error.contains("stage"), "{error}");
        daemon.wait_for("report", 1).await;
        assert_eq!(daemon.story(), ["ask write", "report"]);
        assert!(!file.exists());
    }
    a_link_at_home_hides_nothing(&guarded).await;
    let file = guarded.lib().join("open.txt");
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("done")).await.unwrap();
    let _ = turn.succeeded();
    sessions_with_rules_of_their_own(&guarded).await;
    guarded.finish();
}

async fn a_link_at_home_hides_nothing(guarded: &Guarded) {
    let Guarded { oc, repo, daemon, .. } = guarded;
    daemon.clear();
    let secret = guarded.lib().join("secret");
    fs_err::create_dir_all(&secret).unwrap();
    std::os::unix::fs::symlink(&secret, repo.join("link")).unwrap();
    let file = repo.join("link/y.txt");
    daemon.resolve(&file, &secret.join("y.txt"));
    let turn = oc.turn(repo, Script::new().write(&file, "x\n").text("so be it")).await.unwrap();
    assert!(turn.tools[0].error.as_deref().unwrap().contains("../lib/secret/*"), "{turn:?}");
    assert!(!secret.join("y.txt").exists());
}

/// Rules that came with the session are evaluated after all others.
async fn sessions_with_rules_of_their_own(guarded: &Guarded) {
    let rule = |pattern: &str, action: &str| json!({ "permission": "edit", "pattern": pattern, "action": action });
    for (rules, written, words) in [
        (vec![rule("../lib/*", "deny")], false, "The user has specified a rule"),
        (vec![rule("*", "ask"), rule("../lib/*", "allow")], true, ""),
        (vec![rule("*", "deny"), rule("../lib/*", "allow")], false, "of this session"),
        (vec![rule("*", "allow"), rule("../lib/*", "ask")], false, "of this session"),
    ] {
        let file = guarded.lib().join("session.txt");
        let body = json!({ "permission": rules });
        let made = guarded.oc.post("/session", Some(&guarded.repo), body).await.unwrap();
        let session = made["id"].as_str().unwrap();
        let script = Script::new().write(&file, "x\n").text("so be it");
        let turn = guarded.oc.turn_in(session, script).await.unwrap();
        assert_eq!(file.exists(), written, "{rules:?}: {turn:?}");
        let error = turn.tools[0].error.clone().unwrap_or_default();
        assert!(error.contains(words), "{rules:?}: {error}");
        remove(&file);
    }
}

fn remove(file: &Path) {
    if file.exists() {
        fs_err::remove_file(file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_without_editing_tools_get_none() {
    for (permission, has_edit) in [
        (json!({}), [true, false]),
        (json!({ "edit": "deny" }), [false, false]),
        (json!({ "edit": "ask" }), [true, true]),
        (json!("allow"), [true, true]),
    ] {
        let guarded = Guarded::beside_lib(&permission);
        for (agent, has_edit) in ["build", "explore"].into_iter().zip(has_edit) {
            let session = guarded.session().await;
            let prompt = Prompt::new("hello").agent(agent);
            let _ = guarded.oc.turn_in(&session, prompt).await.unwrap();
            let told = guarded.world.model().requests_of(&session);
            let tools = &told.iter().find(|request| !request.tools.is_empty()).unwrap().tools;
            let offered = tools.iter().any(|tool| tool == "edit");
            assert_eq!(offered, has_edit, "{permission} {agent}: {tools:?}");
        }
        guarded.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_asks_where_the_rules_do_not() {
    let guarded = Guarded::beside_lib(
        &json!({ "edit": "allow", "bash": "allow", "external_directory": "allow" }),
    );
    let Guarded { oc, repo, daemon, .. } = &guarded;
    daemon.must_ask();
    let file = guarded.lib().join("asked.txt");
    let session = guarded.session().await;
    start(&guarded, &session, Script::new().write(&file, "x\n").text("done")).await;
    let asked = question(&guarded).await;
    assert_eq!(
        (&asked["permission"], &asked["patterns"]),
        (&json!("edit"), &json!(["../lib/asked.txt"]))
    );
    answer(&guarded, &asked, "always").await;
    wait_idle(&guarded, &session).await;
    assert!(file.exists());
    // Whoever said "always" has been asked.
    let turn = oc.turn(repo, Script::new().write(&file, "y\n").text("done")).await.unwrap();
    let _ = turn.succeeded();
    guarded.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_later_is_read_freely_too() {
    for (permission, asks) in
        [(json!({}), false), (json!({ "external_directory": { "*": "ask" } }), true)]
    {
        let guarded = Guarded::beside_lib(&permission);
        let Guarded { oc, daemon, world, .. } = &guarded;
        let session = guarded.session().await;
        let later = world.git_repo("later");
        daemon.register(&later);
        let script = Script::new().read(later.join("README.md")).text("done");
        start(&guarded, &session, script).await;
        if asks {
            let asked = question(&guarded).await;
            assert_eq!(asked["patterns"], json!([format!("{}/*", later.display())]));
            answer(&guarded, &asked, "once").await;
        }
        wait_idle(&guarded, &session).await;
        let _ = oc.last_turn(&session).await.unwrap().succeeded();
        // Writing there is another matter.
        let file = later.join("x.txt");
        start(&guarded, &session, Script::new().write(&file, "x\n").text("done")).await;
        assert_eq!(question(&guarded).await["permission"], "external_directory");
        oc.abort(&session).await.unwrap();
        wait_idle(&guarded, &session).await;
        assert!(!file.exists());
        guarded.finish();
    }
}

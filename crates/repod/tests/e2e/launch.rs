//! What a user must not lose by the isolation, and what must not leak by it.

use crate::{BOUND, builder, ensure, oc, pid, world};
use repod_testkit::{Oc, Script, World, proc};
use serde_json::{Value, json};
use std::path::Path;

async fn shell(world: &World, client: &Oc, repo: &Path, command: &str) -> String {
    let session = client.create_session(repo).await.unwrap();
    let out = world.root().join("out");
    client
        .shell(&session, &format!("{{ {command}; }} > {} 2>&1", out.display()), BOUND)
        .await
        .unwrap();
    fs_err::read_to_string(out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_s_commands_see_the_user_s_own_environment() {
    let world = builder().env("MY_TOKEN", "from-the-terminal").build();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let env = shell(&world, &oc(&endpoint), &repo, "env").await;
    let of = |name: &str| {
        env.lines().find_map(|l| l.strip_prefix(&format!("{name}="))).unwrap_or("").to_owned()
    };
    for (name, value) in world.environment() {
        let name = name.to_str().unwrap();
        if name.starts_with("XDG_") || name == "HOME" || name == "MY_TOKEN" {
            assert_eq!(of(name), value.to_str().unwrap(), "{name}");
        }
    }
    for secret in ["OPENCODE_SERVER_PASSWORD", "OPENCODE_CONFIG_CONTENT"] {
        assert_eq!(of(secret), "", "{secret}");
    }
    assert!(!env.contains(&endpoint.password.unwrap()));
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_commands_skills_logins_and_rules_of_the_user_work_in_every_backend() {
    let world = world();
    let config = world.user_config().parent().unwrap().to_owned();
    for dir in ["agents", "commands", "skills/say"] {
        fs_err::create_dir_all(config.join(dir)).unwrap();
    }
    let agent = "---\ndescription: reviews\nmode: primary\n---\nBe strict.";
    fs_err::write(config.join("agents/strict.md"), agent).unwrap();
    fs_err::write(config.join("commands/hey.md"), "---\ndescription: hey\n---\nSay hey.").unwrap();
    let skill = "---\nname: say\ndescription: says things\n---\nSay it.";
    fs_err::write(config.join("skills/say/SKILL.md"), skill).unwrap();
    fs_err::write(config.join("AGENTS.md"), "GLOBAL-RULE-17").unwrap();
    let (a, b) = (world.git_repo("a"), world.git_repo("b"));
    for repo in [&a, &b] {
        let client = oc(&ensure(&world, repo));
        let names = |value: Value| {
            value.as_array().unwrap().iter().map(|v| v["name"].clone()).collect::<Vec<_>>()
        };
        assert!(names(client.get("/agent", Some(repo)).await.unwrap()).contains(&json!("strict")));
        assert!(names(client.get("/command", Some(repo)).await.unwrap()).contains(&json!("hey")));
        assert!(names(client.get("/skill", Some(repo)).await.unwrap()).contains(&json!("say")));
        let turn = client.turn(repo, Script::new().text("ok").prompt("rules?")).await.unwrap();
        assert_eq!(turn.succeeded().text, "ok");
    }
    let heard =
        world.model().requests().iter().any(|r| format!("{r:?}").contains("GLOBAL-RULE-17"));
    assert!(heard, "the global AGENTS.md reaches the model");
    // A login made through one backend is the user's, and so everybody's.
    let client = oc(&ensure(&world, &a));
    let reply =
        client.call("PUT", "/auth/acme", None, Some(json!({"type": "api", "key": "k1"})), BOUND);
    reply.await.unwrap().ok().unwrap();
    let auth = world.home().join(".local/share/opencode/auth.json");
    let auth: Value = serde_json::from_str(&fs_err::read_to_string(auth).unwrap()).unwrap();
    assert_eq!(auth["acme"]["key"], "k1");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_caller_s_opencode_and_no_foreign_marker_gets_in() {
    let world = builder()
        .env("OPENCODE_DB", ":memory:")
        .env("OPENCODE_PURE", "1")
        .env("OPENCODE_CONFIG_CONTENT", r#"{"username":"me"}"#)
        .env("REPOD_BACKEND", "somebody/else/1/x")
        .build();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let env = proc::environ(pid(&endpoint));
    let has = |text: &str| env.iter().any(|line| line.starts_with(text));
    assert!(!has("OPENCODE_DB=") && !has("OPENCODE_PURE="));
    assert!(!has("REPOD_BACKEND=somebody"));
    assert!(has("OPENCODE_DISABLE_AUTOUPDATE="));
    let config = oc(&endpoint).get("/config", Some(&repo)).await.unwrap();
    assert_eq!((&config["username"], &config["autoupdate"]), (&json!("me"), &json!(false)));
    let daemon = crate::daemon_pid(&world);
    assert!(!proc::environ(daemon).iter().any(|line| line.starts_with("REPOD_BACKEND=")));
    // The daemon was not part of that backend, so ending it would not have ended the daemon.
    assert!(
        endpoint.warnings.iter().any(|w| w.contains("OPENCODE_PURE")),
        "{:?}",
        endpoint.warnings
    );
    world.finish();
}

#[test]
fn the_limit_of_open_files_is_raised_and_the_process_stands_alone() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = world
        .command("sh")
        .args(["-c", "ulimit -Sn 1024; exec \"$0\" ensure --json \"$1\""])
        .arg(env!("CARGO_BIN_EXE_repod"))
        .arg(&repo)
        .json::<repod_proto::Endpoint>();
    let limits = fs_err::read_to_string(format!("/proc/{}/limits", pid(&endpoint))).unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    let raised = numbers[0] >= 65_535;
    let said = endpoint.warnings.iter().any(|w| w.contains("open files"));
    assert!(raised || (numbers[0] == numbers[1] && said), "{line}: {:?}", endpoint.warnings);
    let stat = proc::stat(pid(&endpoint)).unwrap();
    assert_eq!((stat.session, stat.pgrp), (pid(&endpoint), pid(&endpoint)));
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_git_never_makes_the_user_s_commit_fail() {
    let world = world();
    let repo = world.git_repo("web");
    let client = oc(&ensure(&world, &repo));
    let polling = {
        let (client, repo) = (client.clone(), repo.clone());
        tokio::spawn(async move {
            loop {
                let _ = client.get("/vcs/status", Some(&repo)).await;
                let _ = client.get("/file/status", Some(&repo)).await;
            }
        })
    };
    // The agent's own `git status` too, as its tools run it.
    let session = client.create_session(&repo).await.unwrap();
    let script = "while [ -e .git/go ]; do git status >/dev/null; done";
    fs_err::write(repo.join(".git/go"), "").unwrap();
    let agent = {
        let (client, session) = (client.clone(), session.clone());
        tokio::spawn(async move { client.shell(&session, script, 5 * BOUND).await })
    };
    for i in 0..150 {
        // Touched files make `git status` want to refresh the index.
        for f in 0..40 {
            fs_err::write(repo.join(format!("f{f}")), format!("{i} {f}")).unwrap();
        }
        world.command("git").dir(&repo).args(["add", "-A"]).ok();
        world.command("git").dir(&repo).args(["commit", "-qm", "x"]).ok();
        world.repod(["status"]).arg(&repo).ok();
    }
    fs_err::remove_file(repo.join(".git/go")).unwrap();
    agent.await.unwrap().unwrap();
    polling.abort();
    world.finish();
}

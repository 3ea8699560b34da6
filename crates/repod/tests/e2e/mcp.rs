//! `repod mcp` as an agent of another make sees it: through the protocol's official SDK.

use crate::sleep::put_to_sleep;
use crate::{BOUND, backends, ensure, oc, status, world};
use repod_proto::{BackendState, LeaseInfo, MutationInfo};
use repod_testkit::world::Running;
use repod_testkit::{Script, World, proc, wait_until};
use serde_json::{Value, json};
use std::path::Path;

/// A client of the protocol with its server.
struct Agent {
    running: Running,
    hello: Value,
    calls: u32,
}

impl Agent {
    fn start(world: &World, dir: &Path, args: &[&str]) -> Self {
        let sdk = std::env::var_os("REPOD_MCP_SDK")
            .expect("no SDK to test with: run ./test, which fetches it, or set REPOD_MCP_SDK");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/mcp.mjs");
        let cmd = world.command("node").arg(program).arg(sdk).arg(env!("CARGO_BIN_EXE_repod"));
        let running = cmd.arg("mcp").args(args).dir(dir).spawn();
        let hello = running.wait_line("greeting", BOUND, |line| line.starts_with("{\"server\""));
        Self { running, hello: serde_json::from_str(&hello).unwrap(), calls: 0 }
    }

    /// Calls a tool, and returns the call's number.
    #[expect(clippy::needless_pass_by_value, reason = "it is made where it is given")]
    fn begin(&mut self, tool: &str, arguments: Value) -> u32 {
        self.calls += 1;
        let call = json!({"id": self.calls, "tool": tool, "arguments": arguments});
        self.running.send(&format!("{call}\n"));
        self.calls
    }

    fn answer(&self, call: u32) -> Value {
        let begin = format!("{{\"id\":{call},");
        let line = self.running.wait_line("answer", 2 * BOUND, |line| line.starts_with(&begin));
        serde_json::from_str(&line).unwrap()
    }

    /// What a call that succeeds answers: all its texts.
    fn call(&mut self, tool: &str, arguments: Value) -> String {
        let call = self.begin(tool, arguments);
        let answer = self.answer(call);
        assert_eq!(answer["result"]["isError"], json!(false), "{tool}: {answer}");
        texts(&answer)
    }

    /// What a call that fails says.
    fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let call = self.begin(tool, arguments);
        let answer = self.answer(call);
        assert_eq!(answer["result"]["isError"], json!(true), "{tool}: {answer}");
        texts(&answer)
    }

    fn server(&self) -> proc::Handle {
        let pid = self.hello["pid"].as_u64().unwrap();
        proc::Handle::open(u32::try_from(pid).unwrap()).unwrap()
    }

    /// Closes the server's input; it ends by itself.
    fn end(mut self) {
        let server = self.server();
        self.running.close_stdin();
        assert!(server.wait_exit(BOUND), "the server outlives its input");
        let output = self.running.wait(BOUND);
        assert!(!output.stdout.contains("\"error\":"), "{output:?}");
        assert_eq!(output.code, 0, "{output:?}");
    }
}

fn texts(answer: &Value) -> String {
    let content = answer["result"]["content"].as_array().unwrap();
    let texts: Vec<_> = content.iter().map(|part| part["text"].as_str().unwrap()).collect();
    texts.join("\n")
}

fn leases(world: &World) -> Vec<LeaseInfo> {
    world.repod(["leases", "--json"]).json()
}

fn mutations(world: &World) -> Vec<MutationInfo> {
    world.repod(["mutations", "--json"]).json()
}

#[test]
fn an_agent_of_any_make_reads_every_repository_and_nothing_else() {
    let world = world();
    let repo = world.git_repo("web");
    let plain = world.plain_dir("plain");
    fs_err::write(plain.join("note.txt"), "note\n").unwrap();
    fs_err::write(repo.join("logo.png"), b"\x89PNG\0").unwrap();
    let mut agent = Agent::start(&world, &repo, &[]);
    assert_eq!(agent.hello["server"]["name"], "repod");
    assert!(agent.hello["instructions"].as_str().unwrap().contains("repos_list"));
    let tools = agent.hello["tools"].as_array().unwrap().clone();
    let reading = |tool: &&Value| tool["annotations"]["readOnlyHint"] == true;
    let names = |tools: Vec<&Value>| -> Vec<String> {
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let reads = names(tools.iter().filter(reading).collect());
    assert_eq!(reads, ["leases", "repo_read", "repo_status", "repos_list"]);
    let writes = names(tools.iter().filter(|tool| !reading(tool)).collect());
    assert_eq!(writes, ["repo_apply_patch", "repo_edit", "repo_write"]);

    // Reading a git repository needs no daemon.
    assert_eq!(agent.call("repo_read", json!({"path": "README.md"})), "# web\n");
    let listing = agent.call("repo_read", json!({"path": "."}));
    assert!(listing.starts_with(".git/\nREADME.md\nlogo.png\n"), "{listing}");
    let said = agent.refused("repo_read", json!({"path": "logo.png"}));
    assert!(said.contains("is a binary file of 5 bytes"), "{said}");
    assert!(!world.layout().socket().exists(), "a daemon was started to read");

    // A directory without git is one when it is registered.
    let said = agent.refused("repo_read", json!({"path": plain.join("note.txt")}));
    assert!(said.starts_with("error (forbidden)") && said.contains("hint: "), "{said}");
    ensure(&world, &plain);
    assert_eq!(agent.call("repo_read", json!({"path": plain.join("note.txt")})), "note\n");
    let said = agent.refused("repo_read", json!({"path": "/etc/passwd"}));
    assert!(said.starts_with("error (forbidden)"), "{said}");
    let record = world.layout().repo(&ensure(&world, &plain).repo_id).dir().join("endpoint.json");
    assert!(record.exists());
    let said = agent.refused("repo_read", json!({"path": record}));
    assert!(said.contains("repod's own state"), "{said}");

    // What is known is told without a secret.
    let endpoint = ensure(&world, &repo);
    let told = [
        agent.call("repos_list", json!({})),
        agent.call("repo_status", json!({"path": "README.md"})),
        agent.running.stdout(),
    ];
    assert!(told[0].contains(endpoint.repo_id.as_str()) && told[0].contains("plain"), "{told:?}");
    assert!(told[1].contains("\"ready\""), "{told:?}");
    for text in told {
        assert!(!text.contains(&endpoint.password.clone().unwrap()), "{text}");
        assert!(!text.contains(&endpoint.capability_url.clone().unwrap()), "{text}");
    }
    assert_eq!(agent.call("leases", json!({})), "[]");
    let said = agent.refused("repo_read", json!({"pfad": "README.md"}));
    assert!(said.contains("path"), "{said}");
    agent.end();
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_of_any_make_writes_is_written_by_the_repository_s_own_backend() {
    let world = world();
    let (home, repo) = (world.git_repo("home"), world.git_repo("web"));
    ensure(&world, &repo);
    put_to_sleep(&world, &repo).await;
    assert!(backends(&world).is_empty());
    let mut agent = Agent::start(&world, &home, &[]);

    let file = repo.join("src/new.txt");
    let said = agent.call("repo_write", json!({"path": file, "content": "one\r\ntwo\r\nend"}));
    assert!(said.contains("branch `main`") && said.contains("src/new.txt"), "{said}");
    assert!(said.contains("+two"), "{said}");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "one\r\ntwo\r\nend");
    let endpoint = status(&world, &repo).summary.endpoint;
    assert_eq!(endpoint.state, BackendState::Ready, "the backend that wrote it is awake");
    assert_eq!(world.git(&repo, ["status", "--porcelain"]), "?? src/");

    // A path relative to the server's directory; `src/new.txt` has two kinds of line ends now.
    let edit = |old: &str, new: &str, path: &str| json!({"path": path, "old_string": old, "new_string": new});
    let said = agent.call("repo_edit", edit("two", "2", "../web/src/new.txt"));
    assert!(said.contains("-two") && said.contains("+2"), "{said}");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "one\r\n2\r\nend");
    let all = json!({"path": file, "old_string": "\r\n", "new_string": "\n", "replace_all": true});
    agent.call("repo_edit", all);
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "one\n2\nend");

    let patch = "--- a/README.md\n+++ b/README.md\n@@ -1 +1,2 @@\n # web\n+more\n\
        --- /dev/null\n+++ b/added.txt\n@@ -0,0 +1 @@\n+added";
    let said = agent.call("repo_apply_patch", json!({"path": repo, "patch": patch}));
    assert!(said.contains("README.md") && said.contains("added.txt"), "{said}");
    assert_eq!(fs_err::read_to_string(repo.join("README.md")).unwrap(), "# web\nmore\n");
    assert_eq!(fs_err::read_to_string(repo.join("added.txt")).unwrap(), "added\n");
    let changed = world.git(&repo, ["status", "--porcelain"]);
    assert_eq!(
        changed.lines().map(str::trim).collect::<Vec<_>>(),
        ["M README.md", "?? added.txt", "?? src/"]
    );
    assert_eq!(world.git(&home, ["status", "--porcelain"]), "");

    // The journal explains all of it; the fence rose, and nobody holds the branch any more.
    let journal = mutations(&world);
    let tools: Vec<_> = journal.iter().map(|entry| entry.tool.as_str()).collect();
    let expected = ["mcp:repo_apply_patch", "mcp:repo_edit", "mcp:repo_edit", "mcp:repo_write"];
    assert_eq!(tools, expected);
    assert!(journal.iter().all(|entry| entry.to.repo_id == endpoint.repo_id), "{journal:?}");
    assert!(journal.windows(2).all(|pair| pair[0].fence > pair[1].fence), "{journal:?}");
    let names = format!("{journal:?}");
    assert!(names.contains("a-test's-client"), "{names}");
    assert!(leases(&world).is_empty());
    agent.end();
    world.finish();
}

#[test]
fn what_can_t_be_written_changes_nothing_and_says_what_to_do() {
    let world = world();
    let repo = world.git_repo("web");
    fs_err::write(repo.join("twice.txt"), "same\nsame\n").unwrap();
    fs_err::write(repo.join("blob"), b"\0\xff").unwrap();
    world.git(&repo, ["add", "."]);
    world.git(&repo, ["commit", "--quiet", "--message", "more"]);
    let mut agent = Agent::start(&world, &repo, &[]);
    let edit = |path: &str, old: &str, new: &str| json!({"path": path, "old_string": old, "new_string": new});
    let said = agent.refused("repo_edit", edit("twice.txt", "same", "x"));
    assert!(
        said.contains("occurs 2 times, on lines 1, 2") && said.contains("replace_all"),
        "{said}"
    );
    let said = agent.refused("repo_edit", edit("README.md", "nothing", "x"));
    assert!(said.contains("does not occur") && said.contains("repo_read"), "{said}");
    let said = agent.refused("repo_edit", edit("missing.txt", "a", "b"));
    assert!(said.contains("does not exist"), "{said}");
    let said = agent.refused("repo_edit", edit("blob", "a", "b"));
    assert!(said.contains("UTF-8") && said.contains("repo_apply_patch"), "{said}");
    // The second file doesn't fit, so the first isn't changed either.
    let patch = "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-# web\n+# changed\n\
        --- a/twice.txt\n+++ b/twice.txt\n@@ -1,2 +1,2 @@\n-other\n+x\n same\n";
    let said = agent.refused("repo_apply_patch", json!({"path": ".", "patch": patch}));
    assert!(said.starts_with("error (") && said.contains("twice.txt"), "{said}");
    agent.refused("repo_apply_patch", json!({"path": ".", "patch": "no patch at all"}));
    let outside = world.root().join("outside.txt");
    let said = agent.refused("repo_write", json!({"path": outside, "content": "x"}));
    assert!(said.starts_with("error ("), "{said}");
    let own = world.layout().dir().join("repod.toml");
    let said = agent.refused("repo_write", json!({"path": own, "content": "x"}));
    assert!(said.contains("repod's own state"), "{said}");
    assert!(!outside.exists() && !own.exists());
    assert_eq!(world.git(&repo, ["status", "--porcelain"]), "");
    agent.end();
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_waits_in_line_like_a_session_and_what_it_takes_back_is_never_written() {
    let world = world();
    let repo = world.git_repo("web");
    let session_client = oc(&ensure(&world, &repo));
    let session = session_client.create_session(&repo).await.unwrap();
    let script = Script::new().write("a.txt", "first").gate("go on").text("1");
    session_client.start_turn(&session, script.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;

    let mut agent = Agent::start(&world, &repo, &[]);
    let waiters = || leases(&world).iter().map(|lease| lease.waiters.len()).sum::<usize>();
    let taken_back = agent.begin("repo_write", json!({"path": "a.txt", "content": "taken back"}));
    wait_until("the agent in line", BOUND, async || (waiters() == 1).then_some(())).await;
    let line = leases(&world);
    assert!(line[0].waiters[0].title.contains("mcp:a-test's-client"), "{line:?}");
    // Reading passes those who wait.
    assert_eq!(agent.call("repo_read", json!({"path": "a.txt"})), "first");
    agent.running.send(&format!("{}\n", json!({"cancel": taken_back})));
    wait_until("out of line", BOUND, async || (waiters() == 0).then_some(())).await;

    let call = agent.begin("repo_write", json!({"path": "b.txt", "content": "second"}));
    wait_until("the agent in line again", BOUND, async || (waiters() == 1).then_some(())).await;
    assert!(!repo.join("b.txt").exists());
    world.model().open("go on");
    let answer = agent.answer(call);
    assert_eq!(answer["result"]["isError"], json!(false), "{answer}");
    session_client.wait_idle(&session, &repo, BOUND).await;
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "first");
    assert_eq!(fs_err::read_to_string(repo.join("b.txt")).unwrap(), "second");
    agent.end();
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_little_patience_is_told_who_has_the_branch() {
    let world = world();
    let repo = world.git_repo("web");
    let session_client = oc(&ensure(&world, &repo));
    let session = session_client.create_session(&repo).await.unwrap();
    let script = Script::new().write("a.txt", "first").gate("go on").text("1");
    session_client.start_turn(&session, script.prompt("write")).await.unwrap();
    wait_until("the lease", BOUND, async || (leases(&world).len() == 1).then_some(())).await;
    let mut agent = Agent::start(&world, &repo, &["--wait", "1s"]);
    let said = agent.refused("repo_write", json!({"path": "a.txt", "content": "second"}));
    assert!(said.starts_with("error (lease_") && said.contains(&session), "{said}");
    assert!(said.contains("hint: "), "{said}");
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "first");
    world.model().open("go on");
    session_client.wait_idle(&session, &repo, BOUND).await;
    agent.end();
    world.finish();
}

#[test]
fn an_agent_that_may_start_nothing_starts_nothing() {
    let world = world();
    let repo = world.git_repo("web");
    let mut agent = Agent::start(&world, &repo, &["--no-start"]);
    assert_eq!(agent.call("repo_read", json!({"path": "README.md"})), "# web\n");
    let write = json!({"path": "a.txt", "content": "x"});
    assert!(agent.refused("repo_write", write.clone()).starts_with("error (not_running)"));
    ensure(&world, &repo);
    world.repod(["stop"]).arg(&repo).ok();
    assert!(agent.refused("repo_write", write).starts_with("error (not_running)"));
    assert!(!repo.join("a.txt").exists());
    assert!(backends(&world).is_empty());
    agent.end();
    world.finish();
}

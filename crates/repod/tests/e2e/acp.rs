//! `repod acp` as an editor sees it: through the protocol's official SDK.

use crate::shim::{path_of, shim};
use crate::{BOUND, backends, builder, daemon_pid, ensure, oc, world};
use repod_testkit::world::Running;
use repod_testkit::{Permissions, Script, World, proc};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// An editor with its agent.
struct Editor {
    running: Running,
    calls: u32,
    pid: u32,
}

impl Editor {
    fn start(world: &World, dir: &Path) -> Self {
        Self::with(world, dir, env!("CARGO_BIN_EXE_repod").as_ref(), None, Value::Null)
    }

    /// With these capabilities, and this program's `acp`.
    fn with(
        world: &World,
        dir: &Path,
        program: &Path,
        path: Option<OsString>,
        capabilities: Value,
    ) -> Self {
        let sdk = std::env::var_os("REPOD_ACP_SDK")
            .expect("no SDK to test with: run ./test, which fetches it, or set REPOD_ACP_SDK");
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/acp.mjs");
        let mut cmd = world.command("node").arg(driver).arg(sdk).arg(program).arg("acp").dir(dir);
        if let Some(path) = path {
            cmd = cmd.env("PATH", path);
        }
        let running = cmd.spawn();
        let hello = running.wait_line("the agent", BOUND, |line| line.starts_with("{\"pid\""));
        let hello: Value = serde_json::from_str(&hello).unwrap();
        let pid = u32::try_from(hello["pid"].as_u64().unwrap()).unwrap();
        let mut editor = Self { running, calls: 0, pid };
        let capabilities = if capabilities.is_null() { json!({}) } else { capabilities };
        let hello = editor
            .call("initialize", &json!({"protocolVersion": 1, "clientCapabilities": capabilities}));
        assert_eq!(hello["protocolVersion"], 1);
        assert_eq!(hello["agentCapabilities"]["loadSession"], true);
        assert_eq!(hello["agentInfo"]["name"], "repod");
        editor
    }

    fn begin(&mut self, call: &str, params: &Value) -> u32 {
        self.calls += 1;
        let line = json!({"id": self.calls, "call": call, "params": params});
        self.running.send(&format!("{line}\n"));
        self.calls
    }

    fn answer(&self, call: u32) -> Value {
        let begin = format!("{{\"id\":{call},");
        let line = self.running.wait_line("answer", 2 * BOUND, |line| line.starts_with(&begin));
        serde_json::from_str(&line).unwrap()
    }

    fn call(&mut self, call: &str, params: &Value) -> Value {
        let number = self.begin(call, params);
        let answer = self.answer(number);
        assert!(answer["failed"].is_null(), "{call}: {answer}");
        answer["result"].clone()
    }

    fn new_session(&mut self, dir: &Path) -> String {
        let made = self.call("session/new", &json!({"cwd": dir, "mcpServers": []}));
        made["sessionId"].as_str().unwrap().to_owned()
    }

    fn prompt(&mut self, session: &str, text: &str) -> u32 {
        let prompt = json!([{"type": "text", "text": text}]);
        self.begin("session/prompt", &json!({"sessionId": session, "prompt": prompt}))
    }

    /// A whole turn that ends well.
    fn turn(&mut self, session: &str, text: &str) {
        let call = self.prompt(session, text);
        let answer = self.answer(call);
        assert_eq!(answer["result"]["stopReason"], "end_turn", "{answer}");
    }

    /// Waits until the agent asks something; its number and what.
    fn asked(&self, method: &str) -> (u64, Value) {
        let what = format!(",\"method\":\"{method}\"");
        let line = self.running.wait_line("a request of the agent", BOUND, |line| {
            line.starts_with("{\"asked\"") && line.contains(&what)
        });
        let asked: Value = serde_json::from_str(&line).unwrap();
        (asked["asked"].as_u64().unwrap(), asked["params"].clone())
    }

    fn reply(&mut self, asked: u64, result: &Value) {
        let line = json!({"answer": asked, "result": result});
        self.running.send(&format!("{line}\n"));
    }

    fn cancel(&mut self, session: &str) {
        let line = json!({"notify": "session/cancel", "params": {"sessionId": session}});
        self.running.send(&format!("{line}\n"));
    }

    /// Updates so far, of one kind.
    fn updates(&self, kind: &str) -> Vec<Value> {
        let output = self.running.stdout();
        let lines = output.lines().filter(|line| line.starts_with("{\"update\""));
        let updates = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let updates = updates.map(|update| update["update"]["update"].clone());
        updates.filter(|update| update["sessionUpdate"] == kind).collect()
    }

    fn said(&self, kind: &str) -> String {
        let updates = self.updates(kind);
        updates.iter().map(|update| update["content"]["text"].as_str().unwrap()).collect()
    }

    fn wait_said(&self, text: &str) {
        self.running.wait_line("the text", BOUND, |line| {
            line.starts_with("{\"update\"") && line.contains(text)
        });
    }

    /// Closes the agent's input; it ends by itself.
    fn end(mut self) {
        let agent = proc::Handle::open(self.pid).unwrap();
        self.running.close_stdin();
        assert!(agent.wait_exit(BOUND), "the agent outlives its input");
        let output = self.running.wait(BOUND);
        assert!(output.stdout.ends_with("{\"exit\":0}\n"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_s_turn_is_streamed_from_the_repository_s_own_backend() {
    let world = world();
    let repo = world.git_repo("web");
    let mut editor = Editor::start(&world, &repo);
    let made = editor.call("session/new", &json!({"cwd": repo, "mcpServers": []}));
    let session = made["sessionId"].as_str().unwrap().to_owned();
    assert_eq!(made["modes"]["currentModeId"], "build", "{made}");
    let options = made["configOptions"].as_array().unwrap();
    let model = options.iter().find(|option| option["id"] == "model").unwrap();
    assert_eq!(model["currentValue"], "scripted/plain", "{made}");

    let script = Script::new().reasoning("hm").write("a.txt", "one\n");
    let script = script.paced("all is done", 3, Duration::from_millis(50));
    editor.turn(&session, &script.prompt("write"));
    assert_eq!(editor.said("agent_message_chunk"), "all is done");
    assert!(editor.updates("agent_message_chunk").len() > 1, "it is streamed");
    assert_eq!(editor.said("agent_thought_chunk"), "hm");
    let calls = editor.updates("tool_call");
    assert_eq!(calls.len(), 1, "{calls:?}");
    let done = editor.updates("tool_call_update").pop().unwrap();
    assert_eq!((&done["status"], &done["kind"]), (&json!("completed"), &json!("edit")), "{done}");
    assert_eq!(done["content"][0]["type"], "diff", "{done}");
    assert_eq!(done["content"][0]["newText"], "one\n", "{done}");
    assert_eq!(done["locations"][0]["path"], json!(repo.join("a.txt")), "{done}");
    assert_eq!(fs_err::read_to_string(repo.join("a.txt")).unwrap(), "one\n");

    // What a plain client sees is the same conversation.
    let endpoint = ensure(&world, &repo);
    let others = oc(&endpoint).messages(&session).await.unwrap();
    assert_eq!(others.len(), 3, "{others:?}");
    let listed = editor.call("session/list", &json!({"cwd": repo}));
    assert_eq!(listed["sessions"][0]["sessionId"], json!(session), "{listed}");

    // Another agent and another model are chosen for the turns to come.
    editor.call("session/set_mode", &json!({"sessionId": session, "modeId": "plan"}));
    let other =
        json!({"sessionId": session, "configId": "model", "value": "scripted/gpt-5-scripted"});
    editor.call("session/set_config_option", &other);
    editor.turn(&session, &Script::new().text("planned").prompt("plan"));
    let last = oc(&endpoint).messages(&session).await.unwrap().pop().unwrap();
    assert_eq!(last["info"]["agent"], "plan", "{last}");
    assert_eq!(last["info"]["modelID"], "gpt-5-scripted", "{last}");
    editor.end();
    assert_eq!(backends(&world).len(), 1, "the backend goes on");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_the_editor_s_to_give() {
    let world = builder().permissions(Permissions::Ask).build();
    let repo = world.git_repo("web");
    let files = json!({"fs": {"readTextFile": true, "writeTextFile": true}});
    let program = Path::new(env!("CARGO_BIN_EXE_repod"));
    let mut editor = Editor::with(&world, &repo, program, None, files);
    let session = editor.new_session(&repo);
    let script = Script::new().write("a.txt", "one\n").text("written");
    let turn = editor.prompt(&session, &script.prompt("write"));
    let (asked, what) = editor.asked("permission");
    let kinds: Vec<_> =
        what["options"].as_array().unwrap().iter().map(|o| o["kind"].clone()).collect();
    assert_eq!(kinds, ["allow_once", "allow_always", "reject_once"], "{what}");
    assert!(!repo.join("a.txt").exists());
    editor.reply(asked, &json!({"outcome": {"outcome": "selected", "optionId": "once"}}));
    // A file that was written is given to the editor that takes files.
    let (asked, what) = editor.asked("write");
    assert_eq!((&what["path"], &what["content"]), (&json!(repo.join("a.txt")), &json!("one\n")));
    editor.reply(asked, &json!({}));
    assert_eq!(editor.answer(turn)["result"]["stopReason"], "end_turn");
    assert_eq!(editor.said("agent_message_chunk"), "written");
    assert!(repo.join("a.txt").exists());

    // What the editor has of a linked file is what the model is told.
    let link = json!({"type": "resource_link", "name": "a.txt", "uri": format!("file://{}", repo.join("a.txt").display())});
    let text = json!({"type": "text", "text": Script::new().text("read").prompt("read")});
    let turn =
        editor.begin("session/prompt", &json!({"sessionId": session, "prompt": [text, link]}));
    let (asked, _) = editor.asked("read");
    editor.reply(asked, &json!({"content": "not saved yet"}));
    assert_eq!(editor.answer(turn)["result"]["stopReason"], "end_turn");
    let told = oc(&ensure(&world, &repo)).messages(&session).await.unwrap();
    assert!(format!("{told:?}").contains("not saved yet"), "{told:?}");
    editor.end();

    // Nobody is asked twice, and what is rejected is not written.
    let mut editor = Editor::start(&world, &repo);
    let session = editor.new_session(&repo);
    let script = Script::new().write("b.txt", "two\n").text("not written");
    let turn = editor.prompt(&session, &script.prompt("write"));
    let (asked, _) = editor.asked("permission");
    editor.reply(asked, &json!({"outcome": {"outcome": "selected", "optionId": "reject"}}));
    editor.answer(turn);
    assert!(!repo.join("b.txt").exists());
    editor.end();
    world.finish();
}

#[test]
fn a_cancelled_turn_ends_and_the_conversation_goes_on() {
    let world = world();
    let repo = world.git_repo("web");
    let mut editor = Editor::start(&world, &repo);
    let session = editor.new_session(&repo);
    let script = Script::new().bash("sleep 600").text("never");
    let turn = editor.prompt(&session, &script.prompt("work"));
    editor.running.wait_line("the tool", BOUND, |line| line.contains("\"in_progress\""));
    // The next one waits its turn, and is not cancelled by what came before it.
    editor.cancel(&session);
    let next = editor.prompt(&session, &Script::new().text("goes on").prompt("more"));
    assert_eq!(editor.answer(turn)["result"]["stopReason"], "cancelled");
    assert_eq!(editor.answer(next)["result"]["stopReason"], "end_turn");
    editor.wait_said("goes on");
    assert!(!editor.said("agent_message_chunk").contains("never"));
    // An editor that leaves in the middle leaves no turn behind.
    let script = Script::new().bash("echo $$ > pid; exec sleep 601").text("never");
    editor.prompt(&session, &script.prompt("work"));
    let pid = loop {
        if let Ok(pid) = fs_err::read_to_string(repo.join("pid"))
            && let Ok(pid) = pid.trim().parse()
        {
            break pid;
        }
        std::thread::yield_now();
    };
    let tool = proc::Handle::open(pid).unwrap();
    editor.end();
    assert!(tool.wait_exit(BOUND), "the turn outlives its editor");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_outlives_the_daemon_and_the_editor() {
    let world = world();
    let repo = world.git_repo("web");
    let mut editor = Editor::start(&world, &repo);
    let session = editor.new_session(&repo);
    let script = Script::new().write("a.txt", "one\n").text("first");
    let first = script.prompt("write");
    editor.turn(&session, &first);
    // The daemon dies in the middle of a turn, and the turn ends before the agent hears of anything
    // again: all of that is told as if nothing had been.
    let script = Script::new().bash("echo before").gate("go on").text(" after");
    let turn = editor.prompt(&session, &script.prompt("again"));
    editor.running.wait_line("the tool's end", BOUND, |line| {
        line.contains("before") && line.contains("\"completed\"")
    });
    let old = backends(&world);
    let daemon = proc::Handle::open(daemon_pid(&world)).unwrap();
    let agent = proc::Handle::open(editor.pid).unwrap();
    agent.stop().unwrap();
    daemon.kill().unwrap();
    assert!(daemon.wait_exit(BOUND));
    world.model().open("go on");
    oc(&ensure(&world, &repo)).wait_idle(&session, &repo, BOUND).await;
    agent.cont().unwrap();
    assert_eq!(editor.answer(turn)["result"]["stopReason"], "end_turn");
    assert_eq!(editor.said("agent_message_chunk"), "first after");
    assert_eq!(backends(&world), old, "the backend went on");
    editor.end();

    let mut editor = Editor::start(&world, &repo);
    editor.call("session/load", &json!({"sessionId": session, "cwd": repo, "mcpServers": []}));
    assert_eq!(editor.said("agent_message_chunk"), "first after");
    assert!(editor.said("user_message_chunk").starts_with(&first));
    let call = &editor.updates("tool_call")[0];
    assert_eq!(
        (&call["status"], &call["content"][0]["type"]),
        (&json!("completed"), &json!("diff")),
        "{call}"
    );
    editor.turn(&session, &Script::new().text("third").prompt("more"));
    let unknown = json!({"sessionId": "ses_unknown", "cwd": repo, "mcpServers": []});
    let call = editor.begin("session/load", &unknown);
    assert_eq!(editor.answer(call)["failed"]["code"], -32002);
    editor.end();
    world.finish();
}

#[test]
fn editors_of_one_repository_share_its_backend_also_through_the_shim() {
    let world = world();
    let repo = world.git_repo("web");
    let shim = shim(&world);
    let path = path_of(&[shim.parent().unwrap()]);
    let mut one = Editor::start(&world, &repo);
    let mut other = Editor::with(&world, &repo, &shim, Some(path), Value::Null);
    let (a, b) = (one.new_session(&repo), other.new_session(&repo));
    assert_ne!(a, b);
    let turns = [
        one.prompt(&a, &Script::new().text("from a").prompt("go")),
        other.prompt(&b, &Script::new().text("from b").prompt("go")),
    ];
    assert_eq!(one.answer(turns[0])["result"]["stopReason"], "end_turn");
    assert_eq!(other.answer(turns[1])["result"]["stopReason"], "end_turn");
    assert_eq!(one.said("agent_message_chunk"), "from a");
    assert_eq!(other.said("agent_message_chunk"), "from b");
    assert_eq!(backends(&world).len(), 1);
    // The one takes up what the other began.
    one.call("session/resume", &json!({"sessionId": b, "cwd": repo, "mcpServers": []}));
    one.turn(&b, &Script::new().text(" goes on").prompt("more"));
    assert_eq!(one.said("agent_message_chunk"), "from a goes on");
    one.end();
    other.end();
    assert_eq!(backends(&world).len(), 1);
    world.finish();
}

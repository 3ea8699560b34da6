//! Records what a real OpenCode sends, as fixtures for the translator: the stream of each turn as
//! it came, and the session's messages afterwards. The first events may be missing: OpenCode says
//! `server.connected` before it listens to its own events. Run by hand, once for each version of OpenCode:
//!
//! ```sh
//! REPOD_OPENCODE=…/opencode REPOD_RECORD=crates/repod-opencode/tests/streams/1.18.33 \
//!   cargo test -p repod-opencode --test record -- --ignored
//! ```

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use repod_opencode::BackendClient;
use repod_testkit::{
    Oc, PATCH_MODEL, Permissions, Prompt, Script, ToolCall, World, patch_add, patch_delete,
    patch_update, wait_until,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BOUND: Duration = Duration::from_mins(1);

/// This one is kept as it came; that of the second version could be thinned too.
const WHOLE: &str = "text";
/// What is left out of the others: more than half of a stream, and the same in all of them.
const THINNED: [&str; 4] = ["sync", "session.updated", "session.diff", "file.watcher.updated"];

fn thinned(stream: &str) -> String {
    let is_kept =
        |event: &&str| !THINNED.iter().any(|kind| event.contains(&format!("\"type\":\"{kind}\"")));
    stream.split_inclusive("\n\n").filter(is_kept).collect()
}

/// The stream of one server, from the moment it was opened.
struct Recorder {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Recorder {
    async fn open(url: &str) -> Self {
        let port = url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        let client = BackendClient::new(port, String::new());
        let mut body = client.global_events(BOUND).await.unwrap();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reading = tokio::spawn(async move {
            while let Some(Ok(piece)) = body.next().await {
                into.lock().unwrap().extend_from_slice(&piece);
            }
        });
        Self { bytes, reading }
    }

    /// How often this was said of the session.
    fn count(&self, kind: &str, session: &str) -> usize {
        let bytes = self.bytes.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let kind = format!("\"type\":\"{kind}\"");
        text.lines().filter(|line| line.contains(&kind) && line.contains(session)).count()
    }

    async fn wait(&self, kind: &str, session: &str, times: usize) {
        wait_until(kind, BOUND, async || (self.count(kind, session) >= times).then_some(())).await;
    }
}

struct Studio {
    world: World,
    repo: PathBuf,
    into: PathBuf,
}

impl Studio {
    fn new(permissions: Permissions) -> Self {
        let into = std::env::var_os("REPOD_RECORD").expect("REPOD_RECORD names a directory");
        let into = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(into);
        fs_err::create_dir_all(&into).unwrap();
        let world = World::bare_builder().permissions(permissions).build();
        let repo = world.git_repo("web");
        fs_err::write(repo.join("notes.txt"), "one\ntwo\nthree\n").unwrap();
        Self { world, repo, into }
    }

    /// Records one session: its turns are played by `play`.
    async fn record(&self, name: &str, play: impl AsyncFnOnce(&Oc, &str, &Path, &Recorder)) {
        let server = self.world.bare(&self.repo);
        let oc = server.oc();
        // The first turn of an instance tells of its plugins and catalogues.
        let _ = oc.turn(&self.repo, "hello").await.unwrap().succeeded();
        let recorder = Recorder::open(server.url()).await;
        recorder.wait("server.connected", "", 1).await;
        let session = oc.create_session(&self.repo).await.unwrap();
        play(&oc, &session, &self.repo, &recorder).await;
        let messages = wait_until("the last message's end", BOUND, async || {
            let messages = oc.messages(&session).await.ok()?;
            let ended = messages.last()?["info"]["time"]["completed"].is_number();
            ended.then_some(messages)
        })
        .await;
        // What the stream has before this one, it has of the session.
        let last = oc.create_session(&self.repo).await.unwrap();
        recorder.wait("session.created", &last, 1).await;
        recorder.reading.abort();
        let stream = recorder.bytes.lock().unwrap().clone();
        let stream = String::from_utf8(stream).unwrap();
        let stream = if name == WHOLE { stream } else { thinned(&stream) };
        self.save(&format!("{name}.sse"), &stream);
        self.save(&format!("{name}.json"), &Value::from(messages).to_string());
        drop(server);
    }

    /// Writes it without the paths of this machine.
    fn save(&self, name: &str, text: &str) {
        let root = self.world.root().display().to_string();
        fs_err::write(self.into.join(name), text.replace(&root, "/world")).unwrap();
    }
}

async fn turn(oc: &Oc, session: &str, recorder: &Recorder, prompt: impl Into<Prompt>) {
    let before = recorder.count("session.idle", session);
    oc.prompt_async(session, prompt).await.unwrap();
    recorder.wait("session.idle", session, before + 1).await;
}

#[tokio::test]
#[ignore = "records fixtures; run by hand"]
async fn turns_are_recorded() {
    let studio = Studio::new(Permissions::Allow);
    studio
        .record("text", async |oc, session, _, recorder| {
            let pause = Duration::from_millis(20);
            let script = Script::new().reasoning("Let me think.\nTwice.").paced(
                "Hello \"world\" ünïcode 🦀 <dcp-message-id>m0001</dcp-message-id>done",
                9,
                pause,
            );
            turn(oc, session, recorder, script).await;
            turn(oc, session, recorder, Script::new().text("A second turn.")).await;
        })
        .await;
    studio
        .record("tools", async |oc, session, repo, recorder| {
            let script = Script::new()
                .read(repo.join("notes.txt"))
                .tools([
                    ToolCall::write(repo.join("new.txt"), "a\nb\n"),
                    ToolCall::bash("echo out; echo err >&2; exit 3"),
                ])
                .edit(repo.join("new.txt"), "a\n", "A\n")
                .edit(repo.join("new.txt"), "not there", "x")
                .text("All done.");
            turn(oc, session, recorder, script).await;
        })
        .await;
    studio
        .record("patch", async |oc, session, repo, recorder| {
            let script = Script::new()
                .apply_patch(patch_add(repo.join("added.txt"), "x\ny\n"))
                .apply_patch(patch_update(repo.join("notes.txt"), "two\n", "TWO\n"))
                .apply_patch(patch_delete(repo.join("added.txt")))
                .text("Patched.");
            let prompt = Prompt::from(script).model(PATCH_MODEL);
            turn(oc, session, recorder, prompt).await;
        })
        .await;
    studio
        .record("subagent", async |oc, session, _, recorder| {
            let child = Script::new().bash("echo from the child").text("The child is done.");
            let script = Script::new().task(&child).text("The parent is done.");
            turn(oc, session, recorder, script).await;
        })
        .await;
    studio
        .record("error", async |oc, session, _, recorder| {
            turn(oc, session, recorder, Script::new().fail(400)).await;
        })
        .await;
    studio
        .record("abort", async |oc, session, _, recorder| {
            let script = Script::new().bash("echo begun; sleep 60").text("never said");
            oc.prompt_async(session, script).await.unwrap();
            recorder.wait("message.part.updated", "begun\\n", 1).await;
            oc.abort(session).await.unwrap();
            recorder.wait("session.idle", session, 2).await;
            turn(oc, session, recorder, Script::new().text("After the abort.")).await;
        })
        .await;
}

#[tokio::test]
#[ignore = "records fixtures; run by hand"]
async fn permissions_are_recorded() {
    let studio = Studio::new(Permissions::Ask);
    studio
        .record("permission", async |oc, session, repo, recorder| {
            let script = Script::new()
                .write(repo.join("asked.txt"), "x\n")
                .bash("echo never run")
                .text("never said");
            oc.prompt_async(session, script).await.unwrap();
            for (reply, times) in [("once", 1), ("reject", 2)] {
                recorder.wait("permission.asked", session, times).await;
                let asked = wait_until("the permission", BOUND, async || {
                    oc.permissions(repo).await.ok()?.into_iter().next()
                })
                .await;
                let id = asked["id"].as_str().unwrap();
                oc.reply_permission(id, repo, reply).await.unwrap();
                recorder.wait("permission.replied", id, 1).await;
            }
            recorder.wait("session.idle", session, 1).await;
        })
        .await;
}

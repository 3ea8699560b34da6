//! translate: how fast streams of the real OpenCode become the events of turns, on one core: bytes to
//! events, to whose they are, to what they mean. Nothing is shared between two rounds but the stream,
//! which is recorded before. The time is the core's own, so that who else is on the machine doesn't count.

use crate::figures::{median, verdict};
use crate::stage::Stage;
use repod_opencode::SseDecoder;
use repod_opencode::v1_18::agent::{Incoming, Kin, TranslateOptions, Translator};
use repod_testkit::{Oc, Script, ToolCall};
use serde_json::Value;
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

const ROUNDS: usize = 15;
/// Bytes of one round.
const ROUND: usize = 32 * 1024 * 1024;
/// What comes off a socket at once.
const PIECE: usize = 16 * 1024;
const EVENT_MAX: usize = 4 * 1024 * 1024;
const TARGET: f64 = 300.0;
/// How long a recorded turn may take.
const BOUND: Duration = Duration::from_mins(2);
/// Between two words.
const PAUSE: Duration = Duration::from_millis(5);

/// How much is done with a recording.
#[derive(Clone, Copy)]
enum Way {
    Decode,
    Read,
    Translate,
}

pub(crate) fn translate(repod: &Path) {
    println!(
        "\n== translate: streams of the real OpenCode, one core (target: {TARGET} MB/s in all)"
    );
    let stage = Stage::real(repod);
    for (what, script) in turns(&stage.world.repos().join("web")) {
        let stream = record(&stage, &script);
        let [decode, read, all] =
            [Way::Decode, Way::Read, Way::Translate].map(|way| speed(&stream, way));
        println!(
            "   {what:<12} {:>4} KiB  {all:>7.0} MB/s   {}   (decode {decode:.0}, and read {read:.0})",
            stream.len() / 1024,
            verdict(all >= TARGET)
        );
    }
    stage.world.finish();
}

/// What is recorded.
fn turns(repo: &Path) -> [(&'static str, Script); 3] {
    let text = "A sentence of what an agent says about what it has done, and why it did. ";
    let code = "    let value = compute(&input, \"text\")?;\n".repeat(40);
    let file = repo.join("made.rs");
    let tools = Script::new()
        .write(&file, &code)
        .tools([ToolCall::read(&file), ToolCall::bash("git log --stat | head -50")])
        .edit(&file, code.lines().next().unwrap_or_default(), "    let value = 1;")
        .bash("cat made.rs")
        .text("It is done.");
    let child = Script::new().read(&file).bash("cat made.rs").paced(text.repeat(4), 20, PAUSE);
    let child = Script::new().task(&child).text("It is so.");
    let said = Script::new().reasoning(text.repeat(8)).paced(text.repeat(16), 80, PAUSE);
    [("text", said), ("tool calls", tools), ("a subagent", child)]
}

/// Plays a turn, and keeps all that the backend tells meanwhile.
fn record(stage: &Stage, script: &Script) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let oc = Oc::new(format!("http://127.0.0.1:{}", stage.backend.port));
    let oc = oc.with_auth("opencode", &stage.backend.password);
    runtime.expect("a runtime").block_on(async {
        let session = oc.create_session(&stage.world.repos().join("web")).await.expect("a session");
        let mut events = oc.global_events().await.expect("it tells");
        events.record();
        oc.prompt_async(&session, script.prompt("go on")).await.expect("it takes the prompt");
        let ends = |event: &Value| {
            event["type"] == "session.idle" && event["properties"]["sessionID"] == *session
        };
        events.next_where("the end of the turn", BOUND, ends).await.expect("it ends");
        events.into_tape()
    })
}

/// Megabytes in a second, of the middle round.
fn speed(stream: &[u8], way: Way) -> f64 {
    let times = ROUND / stream.len() + 1;
    let took: Vec<Duration> = (0..=ROUNDS)
        .map(|_| {
            let begun = on_core();
            for _ in 0..times {
                play(stream, way);
            }
            on_core().saturating_sub(begun)
        })
        .skip(1)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = (times * stream.len()) as f64;
    bytes / 1e6 / median(took).as_secs_f64()
}

/// How long this thread has been on a core.
fn on_core() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// One recording, as a daemon hears it that follows all its sessions.
fn play(stream: &[u8], way: Way) {
    let mut decoder = SseDecoder::new(EVENT_MAX);
    let mut kin = Kin::default();
    let mut sessions: HashMap<String, Translator> = HashMap::new();
    let mut out = Vec::new();
    for piece in stream.chunks(PIECE) {
        decoder.each(piece, |data| {
            if matches!(way, Way::Decode) {
                black_box(data);
                return;
            }
            let Some(event) = Incoming::read(data) else { return };
            if matches!(way, Way::Read) {
                black_box(&event);
                return;
            }
            kin.note(&event);
            let root = kin.root(event.session());
            if !sessions.contains_key(root) {
                let made = Translator::new(root, TranslateOptions::default());
                sessions.insert(root.to_owned(), made);
            }
            if let Some(translator) = sessions.get_mut(root) {
                black_box(translator.feed(event, &mut out));
            }
            for event in out.drain(..) {
                black_box(event);
            }
        });
    }
}

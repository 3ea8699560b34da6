//! translate: how fast recorded streams become the events of turns, on one core: bytes to events,
//! to whose they are, to what they mean. Nothing is shared between two rounds but the recording.
//! The time is the core's own, so that who else is on the machine doesn't count.

use crate::figures::{median, verdict};
use repod_opencode::SseDecoder;
use repod_opencode::v1_18::agent::{Incoming, Kin, TranslateOptions, Translator};
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

/// How much is done with a recording.
#[derive(Clone, Copy)]
enum Way {
    Decode,
    Read,
    Translate,
}

pub(crate) fn translate(_repod: &Path) {
    println!(
        "\n== translate: recorded streams of 1.18.33, one core (target: {TARGET} MB/s in all)"
    );
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../repod-opencode/tests/streams/1.18.33");
    let recordings = [
        ("text", "a text turn, as it came"),
        ("tools", "tool calls, without `sync` copies"),
        ("subagent", "a subagent, without `sync` copies"),
    ];
    for (name, what) in recordings {
        let file = dir.join(format!("{name}.sse"));
        let Ok(stream) = fs_err::read(&file) else {
            println!("   {name}: no recording here: left out");
            continue;
        };
        let [decode, read, all] =
            [Way::Decode, Way::Read, Way::Translate].map(|way| speed(&stream, way));
        println!(
            "   {what:<34} {all:>7.0} MB/s   {}   (decode {decode:.0}, and read {read:.0})",
            verdict(all >= TARGET)
        );
    }
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

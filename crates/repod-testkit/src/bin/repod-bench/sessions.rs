//! sessions: what agent sessions cost: to resume, to keep, and until the first word.

use crate::figures::{quantile, verdict};
use crate::stage::Stage;
use repod_testkit::{Oc, Script, World};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SESSIONS: usize = 100;
const RESUMES: usize = 500;
const WORDS: usize = 15;

pub(crate) fn sessions(repod: &Path) {
    println!("\n== sessions: on the real OpenCode, one repo");
    let stage = Stage::real(repod);
    let repo = stage.world.repos().join("web");
    let socket = stage.world.layout().socket();
    let ensure = |name: &str| {
        let answer = post(&socket, "/v1/sessions", &json!({ "path": repo, "session_id": name }));
        assert!(answer["agent_session_id"].is_string(), "{answer}");
    };
    // What the first of anything costs is not what a hundred more do.
    (0..20).for_each(|n| ensure(&format!("first{n}")));
    let before = rss(stage.daemon());
    (0..SESSIONS).for_each(|n| ensure(&format!("idle{n}")));
    let added = rss(stage.daemon()).saturating_sub(before);
    println!(
        "   {SESSIONS} idle sessions add  {added:>7} KiB   {} (target: <= 2048)",
        verdict(added <= 2048)
    );
    let mut times = Vec::new();
    for n in 0..RESUMES {
        let begun = Instant::now();
        ensure(&format!("idle{}", n % SESSIONS));
        times.push(begun.elapsed());
    }
    let p50 = quantile(&mut times, 0.5);
    println!(
        "   resume, p50            {p50:>10.1?}   {} (target: <= 2 ms)",
        verdict(p50 <= Duration::from_millis(2))
    );
    println!("   resume, p99            {:>10.1?}", quantile(&mut times, 0.99));
    first_word(repod, &stage, &repo);
    stage.world.finish();
}

/// Through `repod prompt`, after the backend itself has sent it on its own stream.
fn first_word(repod: &Path, stage: &Stage, repo: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let oc = Oc::new(format!("http://127.0.0.1:{}", stage.backend.port));
    let oc = oc.with_auth("opencode", &stage.backend.password);
    let mut late = Vec::new();
    for n in 0..=WORDS {
        let gate = format!("word{n}");
        let prompt = Script::new().gate(&gate).text("first").prompt("say");
        let mut child = Command::new(repod)
            .args(["prompt", "--json", "--session", "words", "--repo"])
            .arg(repo)
            .arg(prompt)
            .env_clear()
            .envs(stage.world.environment().iter().cloned())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let reader = std::thread::spawn(move || {
            let mut lines = out.lines().map_while(Result::ok);
            lines.find(|line| line.contains(r#""type":"text""#)).map(|_| Instant::now())
        });
        let own = runtime.block_on(async {
            let mut events = oc.global_events().await.expect("it tells");
            wait(&stage.world, &gate).await;
            stage.world.model().open(&gate);
            let bound = Duration::from_secs(30);
            let is_word = |event: &Value| event["type"] == "message.part.delta";
            events.next_where("the first word", bound, is_word).await.expect("it comes");
            Instant::now()
        });
        let told = reader.join().expect("it reads").expect("the word");
        child.wait().expect("it ends");
        // The first turn of a directory warms it.
        if n > 0 {
            late.push(told.saturating_duration_since(own));
        }
    }
    let p50 = quantile(&mut late, 0.5);
    println!(
        "   first word, behind     {p50:>10.1?}   {} (target: <= 10 ms)",
        verdict(p50 <= Duration::from_millis(10))
    );
}

async fn wait(world: &World, gate: &str) {
    repod_testkit::wait_until("the model", Duration::from_secs(60), async || {
        (world.model().waiting_at(gate) > 0).then_some(())
    })
    .await;
}

fn rss(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("a number")
}

fn post(socket: &Path, path: &str, body: &Value) -> Value {
    let mut stream = UnixStream::connect(socket).expect("the daemon listens");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: repod\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    serde_json::from_str(body).expect("JSON")
}

//! Many sessions in many worktrees at once, and what becomes of their turns when streams break and
//! processes die.
//!
//! By default a smaller number; all of it (100 sessions, 10 repos, 30 worktrees, 5 turns each, three times)
//! with `REPOD_TEST_FULL=1`.

use super::{begin, read};
use crate::{BOUND, CROWD, backends, builder, client, daemon_pid};
use repod_client::{Client, SessionName};
use repod_opencode::v1_18::agent::{TranslateOptions, transcripts};
use repod_proto::agent::{Transcript, TurnEnd, TurnOutcome};
use repod_testkit::{Oc, Script, Step, ToolCall, World, proc};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

struct Size {
    repos: usize,
    worktrees: usize,
    sessions: usize,
    turns: usize,
}

fn size() -> Size {
    match std::env::var_os("REPOD_TEST_FULL").is_some_and(|value| value == "1") {
        true => Size { repos: 10, worktrees: 30, sessions: 100, turns: 5 },
        false => Size { repos: 2, worktrees: 4, sessions: 8, turns: 4 },
    }
}

/// The directories sessions work in: linked worktrees, spread over the repos.
fn directories(world: &World, size: &Size) -> Vec<PathBuf> {
    let repos: Vec<_> = (0..size.repos).map(|n| world.git_repo(&format!("repo{n}"))).collect();
    let worktree = |n: usize| world.worktree(&repos[n % size.repos], &format!("tree{n}"));
    (0..size.worktrees).map(worktree).collect()
}

/// What one session's turns came to.
struct Done {
    name: String,
    directory: PathBuf,
    conversation: String,
    turns: Vec<(TurnEnd, Transcript)>,
}

/// A turn whose every word names its session, so that a word in the wrong one is seen.
fn script(who: &str, turn: usize, directory: &Path) -> Script {
    let file = directory.join(format!("{who}.txt"));
    let pace = Duration::from_millis(3);
    // A step with a text alone would end the turn.
    let first = Step {
        reasoning: Some(format!("{who} thinks about {turn}")),
        text: Some(format!("{who} begins {turn}. ")),
        deltas: 4,
        delay_ms: 3,
        tools: vec![ToolCall::bash(format!("echo {who} {turn}"))],
        ..Step::default()
    };
    Script::new().step(first).write(file, format!("{who} {turn}\n")).paced(
        format!("{who} ends {turn}: ✓ and some more words to be cut in pieces"),
        9,
        pace,
    )
}

async fn work(client: Client, name: String, directory: PathBuf, turns: usize) -> Done {
    let session = loop {
        match client.ensure_session(super::request(&directory, &name)).await {
            Ok(ensured) => break SessionName::of(&ensured.session),
            // Its backend or its daemon has just died.
            Err(error) => {
                say(&format!("{name}: {error}"));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    let mut done = Vec::new();
    for turn in 0..turns {
        let told =
            read(&mut begin(&client, &session, &script(&name, turn, &directory)).await).await;
        done.push((told.end().clone(), told.transcript()));
        if told.end().outcome != TurnOutcome::Completed {
            say(&format!("{name} turn {turn}: {:?}", told.end()));
        }
    }
    let shown = client.session(&session).await.unwrap();
    let conversation = shown.session.agent_session_id.unwrap();
    Done { name, directory, conversation, turns: done }
}

/// Runs them all, and something beside them that gets in their way.
async fn run_all(
    world: &World,
    directories: &[PathBuf],
    size: &Size,
    trouble: Trouble,
) -> Vec<Done> {
    // The daemon is started in the world's environment, not in this process's.
    crate::ensure(world, &directories[0]);
    let client = client(world);
    let stop = Arc::new(AtomicBool::new(false));
    let mut all = JoinSet::new();
    for n in 0..size.sessions {
        let directory = directories[n % directories.len()].clone();
        all.spawn(work(client.clone(), format!("{trouble:?}{n}"), directory, size.turns));
    }
    let making = async {
        match trouble {
            Trouble::None => std::future::pending().await,
            Trouble::Deaths => kill_at_random(world, &stop).await,
        }
    };
    let mut done = Vec::new();
    tokio::pin!(making);
    loop {
        tokio::select! {
            next = all.join_next() => match next {
                Some(next) => done.push(next.unwrap()),
                None => break,
            },
            () = &mut making => {}
        }
    }
    stop.store(true, Ordering::Relaxed);
    done
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Deaths,
}

/// A backend every few seconds, and now and then the daemon.
async fn kill_at_random(world: &World, stop: &AtomicBool) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A repo is parked after five starts in a minute: few deaths, and each another's.
        if count > 3 {
            std::future::pending::<()>().await;
        }
        let pid = if count % 3 == 1 {
            daemon_pid(world)
        } else {
            let all = backends(world);
            let Some(pid) = all.get(count as usize % all.len().max(1)) else { continue };
            *pid
        };
        if let Ok(process) = proc::Handle::open(pid) {
            say(&format!("kill {pid}: {}", proc::cmdline(pid)));
            process.kill().unwrap();
            assert!(process.wait_exit(BOUND));
        }
    }
}

/// What OpenCode has is what was told, turn by turn, byte for byte; and nothing of another session.
async fn check(world: &World, done: &[Done], all_completed: bool) {
    let mut completed = 0;
    for Done { name, directory, conversation, turns } in done {
        let oc = Oc::of(&crate::ensure(world, directory));
        let messages = oc.messages(conversation).await.unwrap();
        let has = transcripts(&messages, &TranslateOptions::default());
        let mut has = has.into_iter().map(|(_, transcript)| transcript);
        for (turn, (outcome, told)) in turns.iter().enumerate() {
            let is_completed = outcome.outcome == TurnOutcome::Completed;
            assert!(!all_completed || is_completed, "{name} {turn}: {outcome:?}");
            // A backend may be killed before it is ready, too: then a turn can't begin.
            let error = outcome.error.as_ref().map(|error| error.name.as_str());
            let is_told = outcome.outcome == TurnOutcome::Interrupted
                || matches!(error, Some("start_failed" | "backend_parked" | "backend_broke"));
            assert!(is_completed || is_told, "{name} {turn}: {outcome:?}");
            if !is_completed {
                continue;
            }
            completed += 1;
            // Turns that were interrupted before their prompt was sent are not there.
            let stored = has.find(|stored| stored == told);
            assert!(stored.is_some(), "{name} {turn}: {told:#?} is not among {messages:#?}");
            assert!(told.text.ends_with("in pieces") && told.reasoning.starts_with(name.as_str()));
            assert_eq!(told.text.matches(name.as_str()).count(), 2, "{}", told.text);
            assert_eq!(told.tool_calls.len(), 2);
        }
    }
    say(&format!(
        "{completed} of {} turns completed",
        done.iter().map(|it| it.turns.len()).sum::<usize>()
    ));
    assert!(completed > 0);
    let client = client(world);
    for Done { name, turns, directory, .. } in done {
        let session = SessionName::in_repo(name, directory).unwrap();
        let detail = client.session(&session).await.unwrap();
        assert_eq!(detail.turns.len(), turns.len(), "{name}: one record for each turn");
        for (record, (outcome, _)) in detail.turns.iter().rev().zip(turns) {
            let is = match outcome.outcome {
                TurnOutcome::Completed => "completed",
                TurnOutcome::Interrupted => "interrupted",
                _ => "failed",
            };
            assert_eq!(record.state, is, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_at_once_are_told_as_opencode_has_them() {
    let _one_at_a_time = CROWD.lock().await;
    let size = size();
    let world = builder().settings("[policy]\nwrite_wait = \"10m\"\n").build();
    let directories = directories(&world, &size);
    let done = run_all(&world, &directories, &size, Trouble::None).await;
    check(&world, &done, true).await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_the_stream_of_events_broken_every_second() {
    let _one_at_a_time = CROWD.lock().await;
    let size = size();
    let world = builder()
        .settings("[policy]\nwrite_wait = \"10m\"\n")
        .env("REPOD_FAULT_STREAM_MS", "1000")
        .build();
    let directories = directories(&world, &size);
    let done = run_all(&world, &directories, &size, Trouble::None).await;
    check(&world, &done, true).await;
    assert!(streams(&world) > 5, "it was not broken");
    world.finish();
}

/// Streams of events opened so far, as the metrics have them.
fn streams(world: &World) -> u64 {
    let socket = world.layout().socket();
    let output = world.command("curl").args(["-s", "--unix-socket"]).arg(socket);
    let text = output.arg("http://repod/metrics").ok().stdout;
    let rows = text.lines().filter(|line| line.starts_with("repod_hub_streams_total"));
    rows.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_backends_and_daemons_that_die() {
    let _one_at_a_time = CROWD.lock().await;
    let size = size();
    let world = builder().settings("[policy]\nwrite_wait = \"10m\"\n").build();
    let directories = directories(&world, &size);
    let done = run_all(&world, &directories, &size, Trouble::Deaths).await;
    check(&world, &done, false).await;
    world.finish();
}

#[expect(clippy::print_stdout, reason = "shown when the test fails")]
fn say(text: &str) {
    println!("{text}");
}

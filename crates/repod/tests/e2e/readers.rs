//! Two hundred readers of one busy backend that dies again and again.
//!
//! By default a shorter run; the whole of it (two minutes and more, 20 deaths) with
//! `REPOD_TEST_READERS=full`. A repo is parked after five starts within a minute, so an operator's
//! `repod restart` right after every third death says that it is meant to go on: it joins the start
//! that follows anyway, and the count begins anew.

use crate::{BOUND, daemon_pid, ensure, oc, pid, world};
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use repod_proto::Endpoint;
use repod_testkit::{Oc, Script, World, proc, wait_until};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const READERS: usize = 200;
/// Much more than the daemon's memory may grow once its ring is full.
const FLAT_KIB: u64 = 24 * 1024;

struct Run {
    deaths: u32,
    lasts: Duration,
}

fn run() -> Run {
    let full = std::env::var_os("REPOD_TEST_READERS").is_some_and(|value| value == "full");
    match full {
        true => Run { deaths: 20, lasts: Duration::from_mins(2) },
        false => Run { deaths: 5, lasts: Duration::from_secs(20) },
    }
}

/// All events by number, from whoever saw them first.
type Log = Arc<Mutex<BTreeMap<u64, Bytes>>>;

/// Whether it is a piece of an answer. Its name stands near the begin.
fn is_delta(data: &Bytes) -> bool {
    String::from_utf8_lossy(&data[..data.len().min(400)]).contains("message.part.delta")
}

/// Opens `/global/event`; with `window` bytes the kernel takes little for a reader that doesn't.
async fn open(endpoint: &Endpoint, window: Option<u32>) -> Incoming {
    let url: hyper::Uri = endpoint.url.as_deref().unwrap().parse().unwrap();
    let authority = url.authority().unwrap().as_str();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    if let Some(window) = window {
        socket.set_recv_buffer_size(window).unwrap();
    }
    let stream = socket.connect(authority.parse().unwrap()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let pair = format!("{}:{}", endpoint.username, endpoint.password.as_deref().unwrap());
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    let request = hyper::Request::get("/global/event")
        .header("host", authority)
        .header("authorization", format!("Basic {basic}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Reads until the stream ends, which it should not; checks each event against what others got.
async fn read(mut body: Incoming, log: Log, at: Arc<AtomicU64>) -> String {
    let (mut rest, mut id) = (Vec::new(), None::<u64>);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return "the stream broke".to_owned() };
        rest.extend_from_slice(frame.data_ref().unwrap());
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        for line in String::from_utf8(whole).unwrap().split('\n') {
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.split_once('-').unwrap().1.parse().unwrap());
            } else if let Some(data) = line.strip_prefix("data: ")
                && let Some(number) = id.take()
            {
                let before = at.swap(number, Ordering::Relaxed);
                assert!(before == 0 || number == before + 1, "{number} after {before}");
                let mut log = log.lock().unwrap();
                let known = log.entry(number).or_insert_with(|| Bytes::from(data.to_owned()));
                assert!(known == data.as_bytes(), "two events with the number {number}");
            } else if line.starts_with(": repod:") {
                return line.to_owned();
            }
        }
    }
    "the stream ended".to_owned()
}

/// Turns one after the other, long and short, some of which die with their backend.
async fn keep_busy(client: Oc, repo: std::path::PathBuf, stop: Arc<AtomicBool>) -> u32 {
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        let script = Script::new().paced("word ".repeat(60), 60, Duration::from_millis(20));
        // Text that makes the events large, so that a reader who takes none falls behind.
        let prompt = script.prompt(&"filler ".repeat(40_000));
        let Ok(session) = client.create_session(&repo).await else { continue };
        turns += u32::from(client.turn_in(&session, prompt).await.is_ok());
    }
    turns
}

fn memory_kib(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many event streams each backend was asked for, by its own log.
fn streams(world: &World, endpoint: &Endpoint) -> HashMap<String, u32> {
    let data = world.layout().repo(&endpoint.repo_id).dir().join("data");
    let log = fs_err::read_to_string(data.join("opencode/log/opencode.log")).unwrap();
    let mut streams = HashMap::new();
    for line in log.lines().filter(|line| line.contains("global event connected")) {
        let run = line.split(' ').find(|word| word.starts_with("run=")).unwrap();
        *streams.entry(run.to_owned()).or_default() += 1;
    }
    streams
}

/// Established connections to the backend's own port.
fn connections_to(endpoint: &Endpoint) -> usize {
    let remote = format!(":{:04X}", endpoint.backend.as_ref().unwrap().port);
    let table = fs_err::read_to_string("/proc/net/tcp").unwrap();
    let words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| words[2].ends_with(&remote) && words[3] == "01").count()
}

fn kill_backend(world: &World, repo: &Path) {
    let process = proc::Handle::open(pid(&ensure(world, repo))).unwrap();
    process.kill().unwrap();
    assert!(process.wait_exit(BOUND));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_readers_see_one_sequence_through_the_deaths_of_their_backend() {
    let world = world();
    let repo = world.git_repo("web");
    let (endpoint, run) = (ensure(&world, &repo), run());
    let daemon = daemon_pid(&world);
    let (log, mut readers, mut at) = (Log::default(), JoinSet::new(), Vec::new());
    for _ in 0..READERS {
        let body = open(&endpoint, None).await;
        at.push(Arc::new(AtomicU64::new(0)));
        readers.spawn(read(body, Arc::clone(&log), Arc::clone(at.last().unwrap())));
    }
    let lazy = open(&endpoint, Some(4096)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let busy = tokio::spawn(keep_busy(oc(&endpoint), repo.clone(), Arc::clone(&stop)));

    let (began, mut memory, mut connections) = (Instant::now(), Vec::new(), Vec::new());
    for death in 1..=run.deaths {
        let due = run.lasts * death / (run.deaths + 1);
        wait_until("the next death", run.lasts, async || (began.elapsed() > due).then_some(()))
            .await;
        // It dies while it is busy, not while it boots.
        let after = log.lock().unwrap().last_key_value().map_or(0, |(number, _)| *number);
        wait_until("an answer on its way", BOUND, async || {
            let log = log.lock().unwrap();
            let deltas = log.range(after + 1..).filter(|(_, data)| is_delta(data)).count();
            (deltas > 10).then_some(())
        })
        .await;
        connections.push(connections_to(&ensure(&world, &repo)));
        kill_backend(&world, &repo);
        if death % 3 == 0 {
            world.repod(["restart"]).arg(&repo).ok();
        }
        memory.push(memory_kib(daemon));
    }
    wait_until("the end", run.lasts, async || (began.elapsed() > run.lasts).then_some(())).await;
    let long = Duration::from_mins(3);
    let lasted = began.elapsed();
    // The lazy one is cut once the others are some 8 MiB ahead, however long that takes here.
    wait_until("8 MiB of events", long, async || {
        let bytes: usize = log.lock().unwrap().values().map(Bytes::len).sum();
        (bytes > 8 << 20).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let turns = busy.await.unwrap();
    let last = wait_until("all to be as far", BOUND, async || {
        let last = log.lock().unwrap().last_key_value().map(|(number, _)| *number);
        at.iter().all(|at| Some(at.load(Ordering::Relaxed)) == last).then_some(last).flatten()
    })
    .await;
    memory.push(memory_kib(daemon));
    let first = *log.lock().unwrap().first_key_value().unwrap().0;
    println!(
        "{READERS} readers saw the same {} events ({turns} whole turns) over {} deaths in \
         {lasted:?}; the daemon's memory in KiB: {memory:?}",
        last - first + 1,
        run.deaths
    );
    let ended = readers.try_join_next();
    assert!(ended.is_none(), "only the lazy reader is cut: {ended:?}");
    let why = tokio::time::timeout(BOUND, read(lazy, Log::default(), Arc::default())).await;
    println!("the lazy reader: {why:?}");
    assert!(why.is_ok(), "the lazy reader should have been cut");
    let middle = memory[memory.len() / 2];
    assert!(memory.last().unwrap().saturating_sub(middle) < FLAT_KIB, "not flat: {memory:?}");
    let streams = streams(&world, &endpoint);
    println!("streams by backend: {streams:?}");
    println!("connections to each backend: {connections:?}");
    // OpenCode writes its log late; of those killed before, nothing is known by it.
    assert!(!streams.is_empty());
    assert!(streams.values().all(|count| *count == 1), "one at a time: {streams:?}");
    // One for events, and those of the few requests there are at that moment.
    assert!(connections.iter().all(|count| (1..=8).contains(count)), "{connections:?}");
    drop(readers);
    world.finish();
}

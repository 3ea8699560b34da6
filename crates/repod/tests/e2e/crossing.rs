//! Eight sessions of four repos write across them at random, while the daemon and the backends are
//! killed at random: nothing hangs, is lost, doubled, or written by anybody but its own repo's backend.
#![expect(clippy::print_stdout, reason = "what happened, for whoever reads a failure")]

mod books;
mod sessions;

use crate::{BOUND, backends, client, world};
use books::Books;
use repod_testkit::{World, Writers, proc, wait_until};
use sessions::{Jobs, Session};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The log of each repo, which many write: each adds its line before the last.
const LOG: &str = "log.txt";
const EMPTY: &str = "BEGIN\nEND\n";
const REPOS: usize = 4;
const SESSIONS: usize = 8;

/// Below what repod takes for a loop: five starts of a backend in 60 s, eight of a daemon.
const DEATHS: (usize, Duration) = (3, Duration::from_secs(60));

/// For some writes, and for all.
const BOUNDS: (Duration, Duration) = (Duration::from_mins(10), Duration::from_mins(20));

/// The repos, and what their ids are.
struct Scene {
    world: World,
    repos: Vec<PathBuf>,
    ids: Vec<String>,
}

async fn scene() -> Scene {
    let world = world();
    let repos: Vec<_> = ["a", "b", "c", "d"].map(|name| world.git_repo(name)).into();
    assert_eq!(repos.len(), REPOS);
    let mut ids = Vec::new();
    for repo in &repos {
        fs_err::write(repo.join(LOG), EMPTY).unwrap();
        world.git(repo, ["add", "."]);
        world.git(repo, ["commit", "-qm", "a log"]);
        ids.push(client(&world).ensure_running(repo).await.unwrap().repo_id.to_string());
    }
    Scene { world, repos, ids }
}

/// Kills somebody again and again, until it is dropped.
async fn reap(world: &World, mut random: fastrand::Rng) {
    let mut deaths: BTreeMap<String, VecDeque<Instant>> = BTreeMap::new();
    loop {
        // So that a slow machine gets on as well, by what the models were asked; then at any moment.
        let next = world.model().count() + random.u64(4..14);
        wait_until("more turns", BOUNDS.1, async || (world.model().count() >= next).then_some(()))
            .await;
        tokio::time::sleep(Duration::from_millis(random.u64(..400))).await;
        let is_daemon = |cmdline: &str| cmdline == "repod daemon";
        let serving = backends(world);
        let mut victims: Vec<_> = world.processes();
        victims.retain(|it| is_daemon(&it.cmdline) || serving.contains(&it.pid));
        let name = |pid: u32| {
            let process = victims.iter().find(|it| it.pid == pid)?;
            let marker = process.env("REPOD_BACKEND").filter(|_| !is_daemon(&process.cmdline));
            Some(marker.and_then(|it| it.split('/').nth(1)).unwrap_or("daemon").to_owned())
        };
        let pids: Vec<u32> = victims.iter().map(|it| it.pid).collect();
        let Some(pid) = random.choice(pids) else { continue };
        let Some(name) = name(pid) else { continue };
        let mine = deaths.entry(name.clone()).or_default();
        mine.retain(|at| at.elapsed() < DEATHS.1);
        if mine.len() >= DEATHS.0 {
            continue;
        }
        if proc::Handle::open(pid).and_then(|it| it.kill()).is_ok() {
            mine.push_back(Instant::now());
            println!("killed: {name} ({pid})");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_writes_across_repos_survive_random_deaths() {
    let full = std::env::var_os("REPOD_TEST_FULL").is_some();
    let seed = std::env::var("REPOD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("REPOD_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = scene().await;
    let writers = Writers::watch(&scene.repos).unwrap();

    let writes = if full { 200 } else { 56 };
    let jobs = Jobs::new();
    let mut sessions = Vec::new();
    for at in 0..SESSIONS {
        let wanted = jobs.random(&mut random, at % REPOS, writes / SESSIONS);
        sessions.push(Session::new(&scene, at % REPOS, wanted, random.fork()).await);
    }
    let began = Instant::now();
    let driven = sessions.iter_mut().map(|session| session.drive(&scene, &jobs));
    let all = futures_util::future::join_all(driven);
    let bound = if full { BOUNDS.1 } else { BOUNDS.0 };
    tokio::select! {
        done = tokio::time::timeout(bound, all) => { done.expect("nothing waits for ever"); }
        () = reap(&scene.world, random.fork()) => {}
    }
    println!("{writes} writes in {:?}", began.elapsed());

    let daemon = client(&scene.world);
    wait_until("nobody writes", BOUND, async || {
        daemon.leases().await.ok()?.is_empty().then_some(())
    })
    .await;
    let journal = wait_until("nothing is unsettled", BOUND, async || {
        let all = daemon.mutations(Some(10_000)).await.ok()?;
        all.iter().all(|it| it.outcome != repod_proto::MutationOutcome::Pending).then_some(all)
    })
    .await;
    let mut attempts = Vec::new();
    for session in &sessions {
        attempts.extend(session.attempts(&scene).await);
    }
    let books = Books { scene: &scene, attempts, journal };
    books.check_files();
    books.check_journal();
    books.check_git();
    books.check_writers(&writers.finish().unwrap());
    scene.world.finish();
}

//! More than ten repositories at once, which share nothing and never meet `database is locked`.

use crate::{BOUND, CROWD, backends, oc, pid, ps, world};
use repod_proto::Endpoint;
use repod_testkit::{Script, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn up(world: &World, repos: &[PathBuf]) -> Vec<Endpoint> {
    world.repod(["up", "--json"]).args(repos).bound(4 * BOUND).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_repositories_work_at_once_and_share_nothing() {
    let _one_at_a_time = CROWD.lock().await;
    let world = world();
    let repos: Vec<_> = (0..12).map(|i| world.git_repo(&format!("repo{i}"))).collect();
    let endpoints = up(&world, &repos);
    let pids: BTreeSet<_> = endpoints.iter().map(pid).collect();
    let ports: BTreeSet<_> = endpoints.iter().map(|e| e.backend.as_ref().unwrap().port).collect();
    assert_eq!((pids.len(), ports.len()), (12, 12));

    let turns = repos.iter().zip(&endpoints).map(|(repo, endpoint)| {
        let (repo, client) = (repo.clone(), oc(endpoint));
        tokio::spawn(async move {
            let name = repo.file_name().unwrap().to_str().unwrap().to_owned();
            let script = Script::new().write(repo.join("made.txt"), format!("{name}\n")).text("ok");
            let turn = client.turn(&repo, script.prompt("write")).await.unwrap();
            assert_eq!(turn.succeeded().text, "ok");
        })
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.unwrap();
    }
    for repo in &repos {
        let name = repo.file_name().unwrap().to_str().unwrap();
        assert_eq!(fs_err::read_to_string(repo.join("made.txt")).unwrap(), format!("{name}\n"));
    }

    // Nothing that keeps state is open in two of them.
    let mut holders: BTreeMap<PathBuf, BTreeSet<u32>> = BTreeMap::new();
    for pid in &pids {
        for file in world.open_files(*pid) {
            let name = file.to_string_lossy().into_owned();
            let stateful = [".db", ".sqlite", "-wal", "-shm", ".lock", ".json", ".jsonl"];
            if stateful.iter().any(|end| name.ends_with(end)) || name.contains("/locks/") {
                holders.entry(file).or_default().insert(*pid);
            }
        }
    }
    assert!(holders.len() >= 12, "every backend has its database open: {holders:?}");
    let shared: Vec<_> = holders.iter().filter(|(_, pids)| pids.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:?}");

    world.repod(["stop", "--all"]).ok();
    assert!(backends(&world).is_empty());
    let marked: Vec<_> =
        world.processes().into_iter().filter(|p| p.env("REPOD_BACKEND").is_some()).collect();
    assert!(marked.is_empty(), "{marked:?}");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_backends_with_three_sessions_each_never_fail_a_turn_for_two_minutes() {
    let _one_at_a_time = CROWD.lock().await;
    let world = world();
    let repos: Vec<_> = (0..10).map(|i| world.git_repo(&format!("repo{i}"))).collect();
    let endpoints = up(&world, &repos);
    let until = Instant::now() + Duration::from_secs(120);
    let mut sessions = Vec::new();
    for (repo, endpoint) in repos.iter().zip(&endpoints) {
        for s in 0..3 {
            let (repo, client) = (repo.clone(), oc(endpoint));
            sessions.push(tokio::spawn(async move {
                let session = client.create_session(&repo).await.unwrap();
                let mut turns = 0_u32;
                while Instant::now() < until {
                    let file = repo.join(format!("s{s}.txt"));
                    let script = Script::new()
                        .write(&file, format!("turn {turns}\n"))
                        .bash("git log --oneline | head -3")
                        .text("ok");
                    let turn = client.turn_in(&session, script.prompt("go on")).await.unwrap();
                    assert_eq!(turn.succeeded().text, "ok");
                    turns += 1;
                }
                turns
            }));
        }
    }
    let mut total = 0;
    for session in sessions {
        let turns = session.await.unwrap();
        assert!(turns > 0);
        total += turns;
    }
    println!("{total} turns in 30 sessions of 10 backends, none failed");
    for (row, before) in ps(&world).iter().zip(&endpoints) {
        assert_eq!(row.endpoint.generation, before.generation);
    }
    for repo in world.layout().repos().read_dir().unwrap() {
        let log = repo.unwrap().path().join("data/opencode/log/opencode.log");
        let text = fs_err::read_to_string(&log).unwrap_or_default();
        assert!(!text.contains("database is locked"), "{}", log.display());
    }
    world.finish();
}

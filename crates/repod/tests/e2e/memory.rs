//! The memory log: it says what the kernel says, and what keeps growing is found and recycled.

use crate::{BOUND, CROWD, builder, ensure, oc, pid, status};
use repod_proto::{BackendState, MemorySample};
use repod_testkit::{Oc, Script, World, proc, wait_until};
use std::path::Path;

fn history(world: &World, path: &Path) -> Vec<MemorySample> {
    let printed = world.repod(["status", "--history", "--json"]).arg(path).ok().stdout;
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line of `smaps_rollup`, summed over the backend and all below it, in bytes.
fn kernel(leader: u32, name: &str) -> u64 {
    let mut tree = vec![leader];
    let mut sum = 0;
    while let Some(pid) = tree.pop() {
        tree.extend(proc::children(pid));
        let text = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        sum += kib.unwrap_or_default() * 1024;
    }
    sum
}

fn agree(a: u64, b: u64) -> bool {
    a.abs_diff(b) * 50 <= a.max(b)
}

/// What the last measurement said, where that is what the kernel says.
async fn agreeing(world: &World, repo: &Path, leader: u32) -> MemorySample {
    // It frees and takes memory while one looks: a moment of calm must come.
    wait_until("agreement", BOUND, async || {
        let seen = ["Rss", "Pss", "Anonymous", "Swap"].map(|name| kernel(leader, name));
        let memory = status(world, repo).summary.memory?;
        let usage = memory.usage;
        let said = [usage.rss, usage.pss, usage.anonymous, usage.swap];
        let all = said.iter().zip(&seen).all(|(said, seen)| agree(*said, *seen));
        (all && usage.unread == 0).then_some(memory)
    })
    .await
}

/// Begins a turn that stays open: busy, but doing nothing. An idle backend would be put to sleep for the
/// growth of its first turn, which at the pace of these tests counts as a leak.
async fn occupy(client: &Oc, repo: &Path) {
    client.turn(repo, Script::new().bash("true").text("ok").prompt("hi")).await.unwrap();
    let session = client.create_session(repo).await.unwrap();
    let script = Script::new().gate("go on").text("done").prompt("hi");
    client.start_turn(&session, script).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_log_of_twelve_agrees_with_the_kernel_within_two_percent() {
    let _one_at_a_time = CROWD.lock().await;
    let world = builder().settings("[limits]\nmemory_sample = \"500ms\"\n").build();
    let repos: Vec<_> = (0..12).map(|n| world.git_repo(&format!("repo{n}"))).collect();
    let mut endpoints = Vec::new();
    for repo in &repos {
        let endpoint = ensure(&world, repo);
        occupy(&oc(&endpoint), repo).await;
        endpoints.push(endpoint);
    }
    for (repo, endpoint) in repos.iter().zip(&endpoints) {
        let sample = agreeing(&world, repo, pid(endpoint)).await;
        let usage = sample.usage;
        assert!(usage.pss > 50 << 20 && usage.threads > 1 && usage.fds > 10, "{usage:?}");
        assert!(usage.processes >= 1, "{usage:?}");
        let all = history(&world, repo);
        assert!(all.iter().all(|line| line.generation == endpoint.generation), "{all:?}");
        assert!(all.contains(&sample), "{all:?}");
        assert!(all.is_sorted_by(|a, b| a.at < b.at));
    }
    // With fewer to share with, what is shared is dearer for each: known at once, not a minute later.
    let before = status(&world, &repos[0]).summary.memory.unwrap().usage;
    for repo in &repos[1..] {
        world.repod(["stop"]).arg(repo).ok();
    }
    let after = agreeing(&world, &repos[0], pid(&endpoints[0])).await.usage;
    assert!(after.pss > before.pss, "{before:?} {after:?}");
    world.model().open("go on");
    let table = world.repod(["status", "--history"]).arg(&repos[0]).ok().stdout;
    assert!(table.contains("WATCHES"), "{table}");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_keeps_growing_is_flagged_and_recycled_once_it_is_idle() {
    // As many samples as at the usual pace, in half a minute instead of five.
    let settings = "[limits]\nmemory_sample = \"1s\"\nidle = \"10m\"\n";
    let _one_at_a_time = CROWD.lock().await;
    let world = builder().settings(settings).build();
    let leaky = world.git_repo("leaky");
    let sound: Vec<_> = (0..11).map(|n| world.git_repo(&format!("sound{n}"))).collect();
    let plugin = leaky.join("grow.js");
    // Bounded, lest a test that fails eats the machine.
    let text = "const kept = []\nexport const Grow = async () => {\n  const timer = setInterval(() => {\n    \
                if (kept.length < 500) kept.push(Buffer.alloc(1 << 20, 1))\n    \
                else clearInterval(timer)\n  }, 100)\n  return {}\n}\n";
    fs_err::write(&plugin, text).unwrap();
    let config = serde_json::json!({ "plugin": [format!("file://{}", plugin.display())] });
    fs_err::write(leaky.join("opencode.json"), config.to_string()).unwrap();
    let endpoints: Vec<_> = sound.iter().map(|repo| ensure(&world, repo)).collect();
    let client = oc(&ensure(&world, &leaky));
    let session = client.create_session(&leaky).await.unwrap();
    let script = Script::new().gate("go on").text("done").prompt("hi");
    client.start_turn(&session, script).await.unwrap();
    let growth = wait_until("the finding", BOUND, async || {
        status(&world, &leaky).summary.memory.and_then(|memory| memory.growing)
    })
    .await;
    println!("{growth:?}");
    assert!(growth.bytes_per_hour > 1 << 30 && growth.grown_bytes > 40 << 20, "{growth:?}");
    let shown = world.repod(["status"]).arg(&leaky).ok().stdout;
    assert!(shown.contains("its memory keeps growing"), "{shown}");
    let found = world.repod(["audit", "--json"]).arg(world.root()).run();
    assert!(found.stdout.contains("RP513"), "{}", found.stdout);
    let state = |repo: &Path| status(&world, repo).summary.endpoint.state;
    assert_eq!(state(&leaky), BackendState::Ready, "it is busy");
    world.model().open("go on");
    wait_until("sleep", BOUND, async || (state(&leaky) == BackendState::Hibernated).then_some(()))
        .await;
    assert!(history(&world, &leaky).iter().any(|sample| sample.growing.is_some()));
    for (repo, endpoint) in sound.iter().zip(&endpoints) {
        let now = status(&world, repo).summary.endpoint;
        assert_eq!((now.state, now.generation), (BackendState::Ready, endpoint.generation));
        assert!(history(&world, repo).iter().all(|sample| sample.growing.is_none()));
    }
    world.finish();
}

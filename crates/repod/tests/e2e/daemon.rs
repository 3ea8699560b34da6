//! The daemon dies; nobody notices.

use crate::{BOUND, backends, daemon_pid, ensure, oc, pid, world};
use repod_testkit::{Script, proc, wait_until};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_is_back_within_a_second_and_the_turn_goes_on() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    let client = oc(&before);
    let session = client.create_session(&repo).await.unwrap();
    let words = Script::new().gate("half").bash("echo done > made.txt").text("finished");
    client.start_turn(&session, words.prompt("go")).await.unwrap();
    wait_until("the turn to reach the model", BOUND, async || {
        (world.model().waiting_at("half") > 0).then_some(())
    })
    .await;

    let old = daemon_pid(&world);
    let killed = Instant::now();
    proc::Handle::open(old).unwrap().kill().unwrap();
    // Nobody asks for a daemon here: `--no-start` only looks.
    let new = wait_until("the daemon to be back", BOUND, async || {
        let versions: serde_json::Value = world.repod(["version", "--json"]).json();
        versions["daemon"]["pid"].as_u64().filter(|pid| *pid != u64::from(old))
    })
    .await;
    let took = killed.elapsed();
    println!("back after {took:?} with pid {new}");
    assert!(took < Duration::from_secs(1), "{took:?}");

    let after = ensure(&world, &repo);
    assert_eq!((pid(&after), after.generation), (pid(&before), before.generation));
    assert_eq!((&after.url, &after.password), (&before.url, &before.password));
    world.model().open("half");
    client.wait_idle(&session, &repo, BOUND).await;
    let turn = client.last_turn(&session).await.unwrap().succeeded();
    assert_eq!(turn.text, "finished");
    assert_eq!(fs_err::read_to_string(repo.join("made.txt")).unwrap(), "done\n");
    assert_eq!(backends(&world), [pid(&before)]);
    world.finish();
}

#[test]
fn a_daemon_and_its_standby_killed_together_are_replaced_by_the_next_command() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    let daemons: Vec<_> =
        world.processes().into_iter().filter(|p| p.cmdline.starts_with("repod daemon")).collect();
    assert_eq!(daemons.len(), 2, "{daemons:?}");
    // The standby first, so that it can't take over.
    for standby_first in [true, false] {
        for process in &daemons {
            if process.cmdline.contains("--standby") == standby_first {
                proc::Handle::open(process.pid).unwrap().kill().unwrap();
            }
        }
    }
    let after = ensure(&world, &repo);
    assert_eq!((pid(&after), after.generation), (pid(&before), before.generation));
    world.finish();
}

#[test]
fn a_killed_standby_is_replaced() {
    let world = world();
    ensure(&world, &world.git_repo("web"));
    let standby =
        || world.processes().into_iter().find(|p| p.cmdline.contains("--standby")).map(|p| p.pid);
    let first = standby().unwrap();
    proc::Handle::open(first).unwrap().kill().unwrap();
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(wait_until("another", BOUND, async || standby().filter(|pid| *pid != first)));
    world.finish();
}

#[test]
fn shutdown_leaves_the_backends_and_the_next_daemon_adopts_them() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    world.repod(["shutdown"]).ok();
    assert_eq!(world.repod(["ps", "--no-start"]).code(), 3);
    assert_eq!(backends(&world), [pid(&before)]);
    let after = ensure(&world, &repo);
    assert_eq!((pid(&after), after.generation), (pid(&before), before.generation));
    world.repod(["shutdown", "--backends"]).ok();
    assert!(world.processes().is_empty(), "{:?}", world.processes());
    world.finish();
}

#[test]
fn a_second_daemon_in_the_foreground_is_refused() {
    let world = world();
    ensure(&world, &world.git_repo("web"));
    let second = world.repod(["daemon"]).run();
    assert_eq!(second.code, 75, "{second:?}");
    assert!(second.stderr.contains("already runs"), "{}", second.stderr);
    world.finish();
}

#[test]
fn systemd_hands_over_the_socket_and_is_told_when_the_daemon_is_ready() {
    let world = world();
    let repo = world.git_repo("web");
    let told = world.root().join("notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&told).unwrap();
    notify.set_read_timeout(Some(BOUND)).unwrap();
    // What systemd does: it listens, and the daemon gets the socket as descriptor 3.
    let script = "$^F = 9; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; \
        bind($s, sockaddr_un($ARGV[0])) or die; listen($s, 9) or die; \
        POSIX::dup2(fileno($s), 3); ($ENV{LISTEN_FDS}, $ENV{LISTEN_PID}) = (1, $$); \
        exec $ARGV[1], 'daemon'";
    let daemon = world
        .command("perl")
        .args(["-MSocket", "-MPOSIX", "-e", script])
        .arg(world.layout().socket())
        .arg(env!("CARGO_BIN_EXE_repod"))
        .env("NOTIFY_SOCKET", &told)
        .spawn();
    let mut words = [0; 64];
    let length = notify.recv(&mut words).unwrap();
    assert!(words[..length].starts_with(b"READY=1"));
    let endpoint = ensure(&world, &repo);
    assert_eq!(daemon_pid(&world), daemon.pid());
    // A service manager brings its daemon back itself, and what it was told is not for backends.
    assert!(!world.processes().iter().any(|p| p.cmdline.contains("--standby")));
    assert!(!proc::environ(pid(&endpoint)).iter().any(|line| line.starts_with("NOTIFY_SOCKET=")));
    world.repod(["shutdown", "--backends"]).ok();
    drop(daemon.wait(BOUND));
    // systemd goes on listening there.
    assert!(world.layout().socket().exists());
    world.finish();
}

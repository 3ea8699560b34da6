//! The fixture itself: its environment, its commands, and that it notices what is left behind.

use repod_testkit::{World, proc};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);

#[test]
fn commands_see_the_world_and_nothing_else() {
    let world = World::bare_builder().env("MINE", "1").build();
    let env = world.command("env").ok().stdout;
    let mut names: Vec<&str> = env.lines().filter_map(|l| l.split_once('=')).map(|l| l.0).collect();
    names.sort_unstable();
    let (git, rest): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|n| n.starts_with("GIT_"));
    assert_eq!(git.len(), 6);
    let expected = [
        "HOME",
        "LANG",
        "MINE",
        "NO_COLOR",
        "PATH",
        "REPOD_HOME",
        "REPOD_OPENCODE",
        "TERM",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    ];
    assert_eq!(rest, expected);
    let socket = world.layout().socket();
    assert!(socket.as_os_str().len() < 60, "{}", socket.display());
    world.finish();
}

#[test]
fn repositories_are_real() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("web");
    let tree = world.worktree(&repo, "feature");
    assert_eq!(world.git(&repo, ["rev-list", "--count", "HEAD"]), "1");
    assert_eq!(world.git(&tree, ["branch", "--show-current"]), "feature");
    assert_eq!(world.git(&repo, ["branch", "--show-current"]), "main");
    assert!(!world.plain_dir("plain").join(".git").exists());
    world.finish();
}

#[test]
fn a_command_s_output_code_and_input_are_at_hand() {
    let world = World::bare_builder().build();
    let sh = |script: &str| world.command("sh").args(["-c", script]);
    let output = sh("cat; echo err >&2; exit 3").stdin("in").run();
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (3, "in", "err\n"));
    assert_eq!(sh("kill -TERM $$").code(), 143);
    let numbers: Vec<u32> = sh("echo '[1,2]'").json();
    assert_eq!(numbers, [1, 2]);

    let mut running = sh("echo ready; read x; echo got $x").spawn();
    running.wait_line("ready", BOUND, |line| line == "ready");
    running.send("it\n");
    assert_eq!(running.wait(BOUND).ok().stdout, "ready\ngot it\n");
    world.finish();
}

#[test]
fn a_command_that_hangs_is_ended_at_the_bound() {
    let world = World::bare_builder().build();
    let command = world.command("sleep").arg("300").bound(Duration::from_millis(50));
    let panic = catch_unwind(AssertUnwindSafe(|| command.run())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("`sleep 300` did not end within 50ms"), "{message}");
    assert_eq!(world.processes(), []);
    world.finish();
}

#[test]
fn a_process_left_behind_fails_the_test_and_is_ended() {
    let world = World::bare_builder().build();
    // It ignores SIGTERM, has a session of its own and holds no pipe of ours: the hard case.
    let script = "trap '' TERM; while :; do sleep 0.2; done >/dev/null 2>&1 &";
    world.command("setsid").args(["sh", "-c", script]).ok();
    let left = world.processes();
    let shell = left.iter().find(|p| p.cmdline.contains("trap")).unwrap();
    assert_eq!(shell.env("HOME"), world.home().to_str());
    let panic = catch_unwind(AssertUnwindSafe(|| world.finish())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains(&format!("{} sh -c trap", shell.pid)), "{message}");
    assert!(!proc::is_running(shell.pid));
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_a_failure() {
    let world = World::bare_builder().build();
    let command = world.command("sh").args(["-c", "sleep 300 &"]);
    let panic = catch_unwind(AssertUnwindSafe(|| command.run())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("keeps its output open"), "{message}");
    assert!(catch_unwind(AssertUnwindSafe(|| world.finish())).is_err());
}

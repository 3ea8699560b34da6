//! cli: warm `repod ensure` as a whole process, beside watchman.

use crate::figures::{find, median, ratio, timed, verdict};
use repod_proto::Endpoint;
use repod_testkit::World;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Warm `repod ensure` as a whole process.
pub(crate) fn cli(repod: &Path) {
    println!(
        "\n== cli: warm `repod ensure`, whole process (target: <= 2 ms, and <= watchman get-sockname)"
    );
    let world = World::builder(repod).build();
    let repo = world.git_repo("web");
    let _: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
    let watchman = find("watchman");
    let state = world.root().join("wm");
    fs_err::create_dir_all(&state).expect("a directory");
    let sock = state.join("sock");
    let log = state.join("log");
    let wm_args: Vec<String> = vec![
        format!("--sockname={}", sock.display()),
        format!("--logfile={}", log.display()),
        format!("--statefile={}", state.join("state").display()),
        format!("--pidfile={}", state.join("pid").display()),
        "get-sockname".into(),
    ];
    let wm: Vec<&str> = wm_args.iter().map(String::as_str).collect();
    if let Some(watchman) = &watchman {
        spawn(&world, watchman, &wm, &repo);
    } else {
        println!("   watchman is not installed (apt-get install watchman): left out");
    }
    let (mut ours, mut theirs, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..400 {
        floor.push(spawn(&world, Path::new("/bin/true"), &[], &repo));
        ours.push(spawn(&world, repod, &["ensure"], &repo));
        if let Some(watchman) = &watchman {
            theirs.push(spawn(&world, watchman, &wm, &repo));
        }
    }
    let (floor, ours_median) = (median(floor), median(ours));
    println!("   /bin/true              {floor:>10.2?}");
    println!(
        "   repod ensure           {ours_median:>10.2?}   {}",
        verdict(ours_median <= Duration::from_millis(2))
    );
    if watchman.is_some() {
        let theirs = median(theirs);
        let times = ratio(ours_median, theirs);
        println!(
            "   watchman get-sockname  {theirs:>10.2?}   repod is {times:.2} x   {}",
            verdict(times <= 1.0)
        );
        let mut end = wm;
        end.pop();
        end.push("shutdown-server");
        if let Some(watchman) = &watchman {
            spawn(&world, watchman, &end, &repo);
        }
    }
    world.finish();
}

/// Runs a program to its end with nothing to say.
fn spawn(world: &World, program: &Path, args: &[&str], dir: &Path) -> Duration {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env_clear().envs(world.environment().iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    timed(|| {
        let status = command.status().expect("the program runs");
        assert!(status.success(), "{} {args:?}: {status}", program.display());
    })
}

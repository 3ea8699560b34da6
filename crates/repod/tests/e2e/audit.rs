//! `repod audit`: each seeded fault is found with its process and its path, and nothing else is.

use crate::{BOUND, builder, ensure, pid};
use repod_testkit::world::Running;
use repod_testkit::{Oc, Script, World, proc, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Open files these tests want: few enough for any machine, more than the seeded limit.
const NOFILE: u64 = 2048;
const LOW: u64 = 1000;

fn audited() -> World {
    builder().settings(format!("[limits]\nnofile = {NOFILE}\n")).build()
}

/// A server's address and process.
struct Served {
    running: Running,
    pid: u32,
    url: String,
}

impl Served {
    fn port(&self) -> u16 {
        port_of(&self.url)
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// A plain `opencode serve`, as a user starts it, by `wrap` (a shell's line before `exec`).
async fn serve(
    world: &World,
    dir: &Path,
    args: &[&str],
    password: bool,
    wrap: &str,
) -> Option<Served> {
    let line = format!("{wrap} exec \"$@\"");
    let command = world.command("sh").args(["-c", line.as_str(), "sh"]).arg(world.opencode());
    let command =
        command.arg("serve").args(args).dir(dir).env("OPENCODE_DISABLE_MODELS_FETCH", "1");
    let command = if password { command.env("OPENCODE_SERVER_PASSWORD", "pw") } else { command };
    let running = command.spawn();
    let pid = running.pid();
    let look = async || match url_in(&running.stdout()) {
        None if proc::is_running(pid) => None,
        ended_or_listening => Some(ended_or_listening),
    };
    let url = wait_until("the server to listen or to end", BOUND, look).await?;
    Some(Served { running, pid, url })
}

fn url_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("listening on http"))?;
    line.split_whitespace().last().map(str::to_owned)
}

/// Kernel settings as this test wants them.
fn sysctl(world: &World, watches: u64, instances: u64) -> PathBuf {
    let root = world.root().join(format!("sys{watches}"));
    fs_err::create_dir_all(root.join("fs/inotify")).unwrap();
    fs_err::write(root.join("fs/inotify/max_user_watches"), format!("{watches}\n")).unwrap();
    fs_err::write(root.join("fs/inotify/max_user_instances"), format!("{instances}\n")).unwrap();
    root
}

/// What is found of this world: (rule, pid, path), and the exit code.
fn audit(world: &World, sysctl: &Path, more: &[&str]) -> (BTreeSet<(String, u32, String)>, i32) {
    let command = world.repod(["audit", "--json", "--sysctl"]).arg(sysctl).args(more);
    let output = command.arg(world.root()).run();
    let report: Value = output.json();
    let mut found = BTreeSet::new();
    for finding in report["findings"].as_array().unwrap() {
        for evidence in finding["evidence"].as_array().unwrap() {
            let pid = evidence["pid"].as_u64().unwrap_or_default();
            let path =
                evidence["path"].as_str().or(evidence["variable"].as_str()).unwrap_or_default();
            found.insert((
                finding["id"].as_str().unwrap().to_owned(),
                u32::try_from(pid).unwrap(),
                path.to_owned(),
            ));
        }
    }
    assert_eq!(report["skipped"], serde_json::json!([]), "{report:#}");
    (found, output.code)
}

fn soft_nofile(pid: u32) -> u64 {
    let text = fs_err::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(u64::MAX)
}

/// Two SDK programs in `dir`: each with a server of its own.
fn programs(world: &World, dir: &Path) -> Vec<Running> {
    let sdk =
        std::env::var_os("REPOD_SDK").expect("no SDK to test with: run ./test, or set REPOD_SDK");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/audit.mjs");
    let path = crate::shim::path_of(&[world.opencode().parent().unwrap()]);
    let start = || {
        let command = world.command("node").arg(program).arg(&sdk).dir(dir).env("PATH", &path);
        let running = command.env("OPENCODE_DISABLE_MODELS_FETCH", "1").spawn();
        running.wait_line("its server", 2 * BOUND, |line| line.starts_with("ready "));
        running
    };
    vec![start(), start()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brownfield_is_found_fault_by_fault_and_under_repod_it_is_clean() {
    let world = audited();
    let repos: Vec<PathBuf> =
        ["a", "b", "c", "d", "e"].iter().map(|name| world.git_repo(name)).collect();
    let local = ["--hostname", "127.0.0.1", "--port"];
    let at = |port| [&local[..], &[port]].concat();
    // 4096 may be somebody else's on this machine: then another fixed port has the same fault.
    let mut fixed = None;
    for port in ["4096", "14096", "24096"] {
        if fixed.is_none() {
            fixed = serve(&world, &repos[0], &at(port), false, "").await;
        }
    }
    let fixed = fixed.expect("a fixed port that is free");
    Oc::new(&fixed.url).get("/session", None).await.unwrap();
    let second = serve(&world, &repos[0], &at("0"), true, "").await.unwrap();
    // As npm's `opencode-ai` has it.
    let npms = world.root().join("opencode.exe");
    fs_err::hard_link(world.opencode(), &npms)
        .or_else(|_| fs_err::copy(world.opencode(), &npms).map(drop))
        .unwrap();
    let npms = format!("shift; set -- '{}' \"$@\";", npms.display());
    let plain = serve(&world, &repos[1], &at("0"), true, &npms).await.unwrap();
    let wide = serve(&world, &repos[2], &["--hostname", "0.0.0.0", "--port", "0"], true, "")
        .await
        .unwrap();
    let low =
        serve(&world, &repos[3], &at("0"), true, &format!("ulimit -n {LOW} &&")).await.unwrap();

    // Its shell ends at once, and with it the session it was born into.
    let log = world.root().join("orphan.log");
    let line = "\"$0\" serve --hostname 127.0.0.1 --port 0 >\"$1\" 2>&1 & echo $!";
    let orphan = world.command("setsid").args(["sh", "-c", line]).arg(world.opencode()).arg(&log);
    let orphan: u32 = orphan
        .env("OPENCODE_SERVER_PASSWORD", "pw")
        .dir(&repos[4])
        .ok()
        .stdout
        .trim()
        .parse()
        .unwrap();
    let orphan = proc::Handle::open(orphan).unwrap();
    let orphan_url = || url_in(&fs_err::read_to_string(&log).unwrap_or_default());
    wait_until("the orphan to listen", BOUND, async || orphan_url().is_some().then_some(())).await;

    // Its parent becomes a program that never looks after its children.
    let line = "\"$0\" serve --port 0 >/dev/null 2>&1 & echo $!; exec sleep 600";
    let parent =
        world.command("sh").args(["-c", line]).arg(world.opencode()).dir(&repos[4]).spawn();
    let zombie: u32 = parent.wait_line("a pid", BOUND, |_| true).trim().parse().unwrap();
    wait_until("both to be what they will be", BOUND, async || {
        let opencode = proc::cmdline(zombie).starts_with(world.opencode().to_str().unwrap());
        // A shell that is still one would look after its child.
        (opencode && proc::cmdline(parent.pid()).starts_with("sleep")).then_some(())
    })
    .await;
    proc::Handle::open(zombie).unwrap().kill().unwrap();
    wait_until("a zombie", BOUND, async || proc::is_zombie(zombie).then_some(())).await;
    let programs = programs(&world, &repos[1]);
    let sdk: Vec<u32> = programs.iter().map(|program| child(program.pid())).collect();
    let sdk_ports: Vec<u16> = programs.iter().map(|p| port_of(p.stdout().trim())).collect();

    // Two sessions of two servers write in one checkout, each while the other does.
    let (one, two) = (Oc::new(&fixed.url), Oc::new(&second.url).with_auth("opencode", "pw"));
    for (server, name) in [(&one, "one.txt"), (&two, "two.txt")] {
        let session = server.create_session(&repos[0]).await.unwrap();
        let script = Script::new().write(repos[0].join(name), "x\n").gate("go on").text("done");
        server.prompt_async(&session, script).await.unwrap();
    }
    wait_until("both to have written", BOUND, async || {
        (world.model().waiting_at("go on") == 2).then_some(())
    })
    .await;

    let live =
        [&[fixed.pid, second.pid, plain.pid, wide.pid, low.pid, orphan.pid()], &sdk[..]].concat();
    let mut expected = BTreeSet::new();
    let mut expect = |rule: &str, pid: u32, path: &Path| {
        expected.insert((rule.to_owned(), pid, path.to_str().unwrap().to_owned()));
    };
    for pid in &live {
        for (rule, dir) in [
            ("RP101", ".local/share"),
            ("RP103", ".local/state"),
            ("RP104", ".config"),
            ("RP105", ".cache"),
        ] {
            expect(rule, *pid, &world.home().join(dir).join("opencode"));
        }
        for file in world
            .open_files(*pid)
            .iter()
            .filter(|file| file.to_str().unwrap().contains("opencode.db"))
        {
            expect("RP102", *pid, file);
        }
        if soft_nofile(*pid) < NOFILE {
            expect("RP501", *pid, &std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap());
        }
    }
    let ports = [
        (fixed.pid, fixed.port(), &repos[0]),
        (second.pid, second.port(), &repos[0]),
        (plain.pid, plain.port(), &repos[1]),
        (wide.pid, wide.port(), &repos[2]),
        (low.pid, low.port(), &repos[3]),
        (orphan.pid(), port_of(&orphan_url().unwrap()), &repos[4]),
        (sdk[0], sdk_ports[0], &repos[1]),
        (sdk[1], sdk_ports[1], &repos[1]),
    ];
    for (pid, port, dir) in ports {
        if port == 4096 || pid == fixed.pid {
            expect("RP201", pid, dir);
        }
    }
    expect("RP202", wide.pid, &repos[2]);
    expect("RP203", fixed.pid, &repos[0]);
    for pid in &sdk {
        expect("RP203", *pid, &repos[1]);
        expect("RP301", *pid, &repos[1]);
    }
    expect("RP401", fixed.pid, &repos[0]);
    expect("RP401", second.pid, &repos[0]);
    expect("RP501", low.pid, &repos[3]);
    expect("RP502", 0, Path::new("fs.inotify.max_user_watches"));
    expect("RP503", 0, Path::new("fs.inotify.max_user_instances"));
    expect("RP601", orphan.pid(), &repos[4]);
    expect("RP602", zombie, Path::new(""));
    let (found, code) = audit(&world, &sysctl(&world, 8192, 128), &[]);
    assert_eq!(found, expected);
    assert_eq!(code, 4);
    assert!(!world.layout().socket().exists(), "an audit starts no daemon");

    world.model().open("go on");
    drop(programs);
    for pid in sdk {
        if let Ok(handle) = proc::Handle::open(pid) {
            let _ = handle.terminate();
            assert!(handle.wait_exit(BOUND));
        }
    }
    orphan.kill().unwrap();
    assert!(orphan.wait_exit(BOUND));
    for server in [fixed, second, plain, wide, low] {
        drop(server.running);
    }
    drop(parent);
    let sysctl = sysctl(&world, 1 << 20, 1024);
    assert_eq!(audit(&world, &sysctl, &[]), (BTreeSet::new(), 0), "nothing of it is left");
    let _ = world.repod(["up"]).args(&repos).bound(3 * BOUND).ok();
    assert_eq!(audit(&world, &sysctl, &[]), (BTreeSet::new(), 0), "under repod");
    world.finish();
}

/// The one child a program has.
fn child(pid: u32) -> u32 {
    let children = proc::children(pid);
    assert_eq!(children.len(), 1, "{children:?}");
    // An npm wrapper would be in between; the tests' OpenCode is the program itself.
    children[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_a_stale_entry_and_open_files_are_found_and_what_is_safe_is_put_right() {
    let world = audited();
    let (repo, sysctl) = (world.git_repo("web"), sysctl(&world, 1 << 20, 1024));
    let endpoint = ensure(&world, &repo);
    let deep = repo.join("deep");
    fs_err::create_dir_all(&deep).unwrap();
    let rogue =
        serve(&world, &deep, &["--hostname", "127.0.0.1", "--port", "0"], true, "").await.unwrap();
    let (mut found, code) = audit(&world, &sysctl, &[]);
    // It takes 4096 where nobody has it.
    found.retain(|(rule, ..)| rule != "RP201");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!((found, code), ([("RP302".into(), rogue.pid, path(&deep))].into(), 4));
    drop(rogue.running);

    let _ = world.repod(["shutdown"]).ok();
    let backend = proc::Handle::open(pid(&endpoint)).unwrap();
    backend.kill().unwrap();
    assert!(backend.wait_exit(BOUND));
    let dir = world.layout().repo(&endpoint.repo_id);
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs_err::set_permissions(dir.endpoint(), mode(0o644)).unwrap();
    let expected: BTreeSet<_> = [
        ("RP603".to_owned(), backend.pid(), path(&dir.endpoint())),
        ("RP604".to_owned(), 0, path(&dir.endpoint())),
    ]
    .into();
    let before = fs_err::read(dir.endpoint()).unwrap();
    assert_eq!(audit(&world, &sysctl, &[]), (expected, 4));
    assert_eq!(fs_err::read(dir.endpoint()).unwrap(), before, "looking changes nothing");
    assert_eq!(audit(&world, &sysctl, &["--fix"]), (BTreeSet::new(), 0));
    assert_eq!(pid(&ensure(&world, &repo)), pid(&ensure(&world, &repo)), "and the entry is of use");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_has_changed_and_other_tools_can_read_a_report() {
    let world = audited();
    let (repo, sysctl) = (world.git_repo("web"), sysctl(&world, 1 << 20, 1024));
    let endpoint = ensure(&world, &repo);
    let file = world.layout().repo(&endpoint.repo_id).endpoint();
    let watch = world.repod(["audit", "--watch", "--json", "--sysctl"]).arg(&sysctl);
    let watch = watch.arg(world.root()).spawn();
    let first = watch.wait_line("a first report", BOUND, |line| line.starts_with('{'));
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["findings"], serde_json::json!([]), "{first:#}");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs_err::set_permissions(&file, mode(0o644)).unwrap();
    watch.wait_line("the finding", BOUND, |line| line.contains("its mode is 644"));
    fs_err::set_permissions(&file, mode(0o600)).unwrap();
    wait_until("its end", BOUND, async || {
        let lines = watch.stdout().lines().map(str::to_owned).collect::<Vec<_>>();
        let last: Value = serde_json::from_str(lines.last()?).ok()?;
        (lines.len() == 3 && last["findings"] == serde_json::json!([])).then_some(())
    })
    .await;
    watch.handle().signal(Signal::INT).unwrap();
    assert_eq!(watch.wait(BOUND).code, 130);

    fs_err::set_permissions(&file, mode(0o644)).unwrap();
    let sarif = world.repod(["audit", "--sarif", "--sysctl"]).arg(&sysctl).arg(world.root()).run();
    assert_eq!(sarif.code, 4);
    let log: Value = sarif.json();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 1, "{log:#}");
    let result = &run["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"RP604".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert!(place.as_str().unwrap().ends_with("/endpoint.json"), "{log:#}");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["id"] == "RP604"), "{log:#}");
    world.finish();
}

//! Under the name `opencode`: what is led to the repo's backend, and what becomes the real binary.

use crate::{BOUND, backends, builder, ensure, oc, ps, world};
use repod_testkit::{Script, World, wait_until};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Says what it is called with and in which environment, and ends with 7.
const FAKE: &str = r#"#!/bin/sh
case "$1" in --version) echo 1.18.33; exit 0 ;; esac
printf 'arg:%s\n' "$@"
env | sed 's/^/env:/'
cat
exit 7
"#;

/// The shim, installed where it is by default.
pub(crate) fn shim(world: &World) -> PathBuf {
    world.repod(["shim", "install"]).ok();
    world.repod_home().join("shim/opencode")
}

pub(crate) fn executable(path: &Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn path_of(dirs: &[&Path]) -> OsString {
    let old = std::env::var_os("PATH").unwrap();
    let dirs = dirs.iter().map(|dir| dir.to_path_buf());
    std::env::join_paths(dirs.chain(std::env::split_paths(&old))).unwrap()
}

fn lines(output: &str, kind: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_prefix(kind)).map(str::to_owned).collect()
}

/// OpenCode's files in the user's own directories that only a runtime makes.
pub(crate) fn user_s_database(world: &World) -> bool {
    world.home().join(".local/share/opencode/opencode.db").exists()
}

#[test]
fn it_is_installed_shown_and_removed_without_a_daemon() {
    let world = world();
    let real = world.root().join("bin/opencode");
    executable(&real, FAKE);
    let dir = world.repod_home().join("shim");
    let status = |path: OsString| {
        let cmd = world.repod(["shim", "status", "--json"]).env("PATH", path);
        cmd.env_remove("REPOD_OPENCODE").run()
    };
    let before = status(path_of(&[&world.root().join("bin")]));
    assert_eq!(before.code, 1);
    assert_eq!(before.json::<Value>()["installed"], false);

    let said = world.repod(["shim", "install"]).ok().stdout;
    assert!(said.contains(&format!("export PATH='{}':\"$PATH\"", dir.display())), "{said}");
    world.repod(["shim", "install"]).ok();
    let behind: Value = status(path_of(&[&world.root().join("bin"), &dir])).json();
    assert_eq!((&behind["installed"], &behind["active"]), (&json!(true), &json!(false)));
    assert_eq!(behind["first_on_path"], real.to_str().unwrap());
    let first: Value = status(path_of(&[&dir, &world.root().join("bin")])).json();
    assert_eq!((&first["installed"], &first["active"]), (&json!(true), &json!(true)));
    assert_eq!(first["opencode"], real.to_str().unwrap());

    let other = world.root().join("other");
    world.repod(["shim", "install", "--dir"]).arg(&other).ok();
    assert!(other.join("opencode").is_symlink());
    for dir in [&dir, &other] {
        world.repod(["shim", "uninstall", "--dir"]).arg(dir).ok();
        assert!(!dir.exists());
    }
    assert!(world.processes().is_empty());
    world.finish();
}

#[test]
fn what_is_the_user_s_own_becomes_the_real_binary() {
    let world = world();
    let shim = shim(&world);
    let bin = world.root().join("bin");
    executable(&bin.join("opencode"), FAKE);
    let path = path_of(&[shim.parent().unwrap(), &bin]);
    let call = |args: &[&str]| {
        let cmd = world.command(&shim).args(args).env("PATH", &path);
        cmd.env_remove("REPOD_OPENCODE").stdin("typed\n").run()
    };
    for args in [
        &["auth", "login", "two words", "", "--x=$y"][..],
        &["nonsense", "--flag"],
        &["attach", "http://127.0.0.1:1"],
        &["serve", "--help"],
    ] {
        let output = call(args);
        assert_eq!(output.code, 7, "{output:?}");
        assert_eq!(lines(&output.stdout, "arg:"), args, "{output:?}");
        assert!(output.stdout.ends_with("typed\n"), "{output:?}");
        for (name, value) in world.environment() {
            let line = format!("env:{}={}", name.display(), value.display());
            let own = !matches!(name.to_str(), Some("PATH" | "REPOD_OPENCODE"));
            assert!(!own || output.stdout.lines().any(|l| l == line), "{line}: {output:?}");
        }
    }
    assert_eq!(call(&["--version"]).stdout, "1.18.33\n");

    // The terminal is the user's own.
    executable(&bin.join("opencode"), "#!/bin/sh\n[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && exit 9\n");
    let line = format!("{} auth login", shim.display());
    let cmd = world.command("script").args(["-qefc", &line, "/dev/null"]).env("PATH", &path);
    assert_eq!(cmd.env_remove("REPOD_OPENCODE").run().code, 9);

    // A wrapper that finds the shim instead of OpenCode: an error, not a loop.
    executable(&bin.join("opencode"), "#!/bin/sh\nexec opencode \"$@\"\n");
    let output = call(&["auth"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("leads back to repod's shim"), "{output:?}");
    fs_err::remove_file(bin.join("opencode")).unwrap();
    let none = world.command(&shim).arg("auth").env("PATH", shim.parent().unwrap());
    let output = none.env_remove("REPOD_OPENCODE").run();
    assert!(output.code == 1 && output.stderr.contains("hint: "), "{output:?}");
    assert!(world.processes().is_empty());
    world.finish();
}

#[test]
fn a_terminal_and_a_prompt_are_led_to_the_backend() {
    let world = world();
    let shim = shim(&world);
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let (url, directory) = (endpoint.url.clone().unwrap(), repo.to_str().unwrap());
    let fake = world.root().join("bin/opencode");
    executable(&fake, FAKE);
    let sub = repo.join("deep/er");
    fs_err::create_dir_all(&sub).unwrap();
    let cases: [(&Path, &[&str], &[&str]); 4] = [
        (&sub, &["-c"], &["attach", &url, "--dir", directory, "-c"]),
        (world.root(), &["src/web", "-m", "a/b"], &["attach", &url, "--dir", directory]),
        (&sub, &["run", "say hi"], &["run", "--attach", &url, "--dir", directory, "say hi"]),
        (
            world.root(),
            &["run", "--dir", "src/web", "--", "-x"],
            &["run", "--attach", &url, "--dir", directory, "--", "-x"],
        ),
    ];
    for (dir, args, expected) in cases {
        let cmd = world.command(&shim).args(args).dir(dir).env("REPOD_OPENCODE", &fake);
        let output = cmd.stdin("").run();
        assert_eq!(output.code, 7, "{output:?}");
        assert_eq!(lines(&output.stdout, "arg:"), expected, "{output:?}");
        let env = lines(&output.stdout, "env:");
        let password = format!("OPENCODE_SERVER_PASSWORD={}", endpoint.password.clone().unwrap());
        assert!(env.contains(&password) && env.contains(&"OPENCODE_DB=:memory:".to_owned()));
        assert_eq!(output.stderr.contains("-m a/b is not used"), args.contains(&"-m"));
    }
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn run_prompts_the_repo_s_own_backend() {
    let world = world();
    let shim = shim(&world);
    let repo = world.git_repo("web");
    // By stdin: OpenCode quotes the words of its arguments.
    let prompt = Script::new().text("from the backend").prompt("go");
    let output = world.command(&shim).args(["run", "go"]).dir(&repo).stdin(prompt).ok();
    assert!(output.stdout.contains("from the backend"), "{output:?}");
    let sessions = oc(&ensure(&world, &repo)).get("/session", Some(&repo)).await.unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
    assert_eq!(sessions[0]["directory"], repo.to_str().unwrap());
    assert!(!user_s_database(&world));
    assert_eq!(ps(&world).len(), 1);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_commands_show_what_the_repo_s_backend_has() {
    let world = world();
    let shim = shim(&world);
    let (web, api) = (world.git_repo("web"), world.git_repo("api"));
    let client = oc(&ensure(&world, &web));
    let turn = client.turn(&web, Script::new().text("ok").prompt("hello")).await.unwrap();
    let session = turn.succeeded().session;
    let call = |dir: &Path, args: &[&str]| world.command(&shim).args(args).dir(dir).ok().stdout;
    let list = |dir: &Path| call(dir, &["session", "list", "--format", "json"]);
    assert!(list(&web).contains(&session));
    // Asked before it was ever started: it is, and has none.
    assert!(!list(&api).contains("ses_"));
    assert_eq!(ps(&world).len(), 2);
    // Asked when its backend is stopped: it stays stopped.
    world.repod(["stop"]).arg(&web).ok();
    assert!(list(&web).contains(&session));
    assert!(call(&web, &["export", &session]).contains("hello"));
    assert!(call(&web, &["models"]).contains("scripted/plain"));
    let sessions = |stats: String| {
        let line = stats.lines().find(|line| line.contains("Sessions")).unwrap().to_owned();
        line.split_whitespace().find_map(|word| word.parse::<u32>().ok()).unwrap()
    };
    assert_eq!((sessions(call(&web, &["stats"])), sessions(call(&api, &["stats"]))), (1, 0));
    let live = ps(&world).iter().filter(|row| row.endpoint.state.is_live()).count();
    assert_eq!(live, 1);
    assert!(!user_s_database(&world));
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_commands_write_where_the_repo_s_backend_reads() {
    let config = json!({
        "mcp": { "notes": { "type": "local", "command": ["true"], "enabled": false } },
        "agent": { "scribe": { "description": "writes", "mode": "subagent" } },
    });
    let world = builder().config(config).build();
    let shim = shim(&world);
    let (web, api) = (world.git_repo("web"), world.git_repo("api"));
    let client = oc(&ensure(&world, &web));
    let turn = client.turn(&web, Script::new().text("ok").prompt("hello")).await.unwrap();
    let session = turn.succeeded().session;
    let call = |dir: &Path, args: &[&str]| world.command(&shim).args(args).dir(dir).ok().stdout;
    let file = world.root().join("session.json");
    fs_err::write(&file, call(&web, &["export", &session])).unwrap();
    call(&api, &["import", file.to_str().unwrap()]);
    let endpoint = ensure(&world, &api);
    let found = oc(&endpoint).messages(&session).await.unwrap();
    assert!(format!("{found:?}").contains("hello"), "{found:?}");

    let database = world.layout().repo(&endpoint.repo_id).dir().join("data/opencode/opencode.db");
    assert_eq!(call(&api, &["db", "path"]).trim_end(), database.to_str().unwrap());
    let count = call(&api, &["db", "--format", "json", "select count(*) as n from session"]);
    assert!(count.contains("\"n\": 1") || count.contains("\"n\":1"), "{count}");
    call(&api, &["session", "delete", &session]);
    assert!(!call(&api, &["session", "list", "--format", "json"]).contains(&session));
    assert!(call(&web, &["session", "list", "--format", "json"]).contains(&session));
    // What the user has configured for all repositories is there as well.
    assert!(call(&api, &["agent", "list"]).contains("scribe (subagent)"));
    assert!(call(&api, &["mcp", "list"]).contains("notes"));
    assert!(!user_s_database(&world));
    world.finish();
}

#[test]
fn the_user_s_own_commands_are_the_real_ones_on_the_user_s_own_data() {
    let world = world();
    let shim = shim(&world);
    let repo = world.git_repo("web");
    let data = world.home().join(".local/share/opencode");
    fs_err::create_dir_all(&data).unwrap();
    let login = json!({ "scripted": { "type": "api", "key": "x" } });
    fs_err::write(data.join("auth.json"), login.to_string()).unwrap();
    for args in [
        &["auth", "list"][..],
        &["completion"],
        &["upgrade", "--help"],
        &["uninstall", "--dry-run", "--force", "--keep-data"],
        &["debug", "nonsense"],
        &["nonsense"],
    ] {
        let call = |program: &Path| {
            let output = world.command(program).args(args).dir(&repo).stdin("").run();
            (output.code, output.stdout, output.stderr)
        };
        // The first time it makes its database, and says so.
        call(world.opencode());
        let (real, through) = (call(world.opencode()), call(&shim));
        assert_eq!(through, real, "{args:?}");
        assert_eq!(real.1.contains("1 credentials"), args[0] == "auth", "{real:?}");
        assert_eq!(real.0 != 0, args[0] == "debug", "{real:?}");
    }
    assert!(world.processes().is_empty(), "no daemon for these");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_opencode_is_a_terminal_on_the_backend() {
    let world = world();
    let shim = shim(&world);
    let repo = world.git_repo("web");
    ensure(&world, &repo);
    for (dir, arg) in [(&*repo, ""), (world.root(), "src/web"), (world.root(), "--project=src/web")]
    {
        let line = format!("stty rows 24 cols 100; exec {} {arg}", shim.display());
        let cmd = world.command("script").args(["-qefc", &line, "/dev/null"]).dir(dir);
        let terminal = cmd.env("TERM", "xterm-256color").spawn();
        let attached = async || (ps(&world)[0].clients >= Some(1)).then_some(());
        wait_until("the terminal", BOUND, attached).await;
        let all = world.processes();
        let expected = format!("--dir {}", repo.display());
        assert!(
            all.iter()
                .any(|p| p.cmdline.contains("attach http://") && p.cmdline.contains(&expected)),
            "{all:?}"
        );
        assert_eq!(backends(&world).len(), 1);
        terminal.handle().terminate().unwrap();
        terminal.wait(BOUND);
        let left = async || (ps(&world)[0].clients == Some(0)).then_some(());
        wait_until("its end", BOUND, left).await;
    }
    assert!(!user_s_database(&world));
    world.finish();
}

#[test]
fn repod_run_puts_it_first_on_the_path() {
    let world = world();
    let repo = world.git_repo("web");
    let cmd = world.repod(["run"]).arg(&repo).args(["--", "sh", "-c", "command -v opencode"]);
    let shim = world.repod_home().join("shim/opencode");
    assert_eq!(cmd.ok().stdout.trim_end(), shim.to_str().unwrap());
    world.finish();
}

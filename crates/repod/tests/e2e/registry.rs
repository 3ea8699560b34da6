//! The files on disk: what is stale is cleared, what can't be understood is kept and said.

use crate::{backends, ensure, pid, ps, world};
use repod_proto::{BackendState, Endpoint, ErrorBody, ErrorCode};
use repod_testkit::{World, proc};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn record(world: &World, endpoint: &Endpoint) -> PathBuf {
    world.layout().repo(&endpoint.repo_id).endpoint()
}

#[test]
fn the_registry_is_as_documented() {
    let world = world();
    let repo = world.git_repo("web");
    let endpoint = ensure(&world, &repo);
    let dir = world.layout().repo(&endpoint.repo_id);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(world.repod_home()), 0o700);
    assert_eq!(mode(dir.dir().to_owned()), 0o700);
    for xdg in ["data", "config", "cache", "state"] {
        assert_eq!(mode(dir.dir().join(xdg)), 0o700, "{xdg}");
    }
    assert_eq!(mode(dir.endpoint()), 0o600);
    assert_eq!(mode(world.layout().socket()), 0o600);
    let port = fs_err::read_to_string(dir.port()).unwrap();
    assert_eq!(endpoint.url.unwrap(), format!("http://127.0.0.1:{}", port.trim()));
    assert!(dir.lock().exists());
    let record: Value =
        serde_json::from_str(&fs_err::read_to_string(dir.endpoint()).unwrap()).unwrap();
    assert_eq!(record["state"], "ready");
    assert_eq!(record["password"].as_str().unwrap().len(), 64);
    // The password is in no argument list and in no log.
    let password = endpoint.password.unwrap();
    for process in world.processes() {
        assert!(!process.cmdline.contains(&password), "{process:?}");
    }
    for log in [world.layout().log(), dir.backend_log()] {
        assert!(!fs_err::read_to_string(log).unwrap().contains(&password));
    }
    world.finish();
}

#[test]
fn a_stranger_with_the_recorded_pid_lives_and_the_backend_starts() {
    let world = world();
    let repo = world.git_repo("web");
    let first = ensure(&world, &repo);
    world.repod(["shutdown", "--backends"]).ok();
    let stranger = world.command("sleep").arg("600").spawn();
    // Before the reboot the pid was the backend's; now it is somebody else's.
    for forge_start_time in [false, true] {
        let file = record(&world, &first);
        let mut forged: Value =
            serde_json::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap();
        let ticks = if forge_start_time { proc::start_time(stranger.pid()).unwrap() } else { 1 };
        let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        forged["state"] = "ready".into();
        forged["backend"] = serde_json::json!({
            "pid": stranger.pid(), "start_ticks": ticks, "boot_id": boot.trim(), "port": 40000,
            "password": "x", "marker": "m", "version": "1.18.33",
            "started_at": "2026-01-01T00:00:00Z", "log_offset": 0,
        });
        fs_err::write(&file, forged.to_string()).unwrap();
        let rows = ps(&world);
        assert_eq!(rows[0].endpoint.state, BackendState::Stopped, "{rows:?}");
        let endpoint = ensure(&world, &repo);
        assert_eq!(endpoint.state, BackendState::Ready);
        assert_ne!(pid(&endpoint), stranger.pid());
        world.repod(["stop"]).arg(&repo).ok();
        world.repod(["shutdown"]).ok();
        assert!(proc::is_running(stranger.pid()));
    }
    stranger.handle().kill().unwrap();
    world.finish();
}

#[test]
fn a_broken_record_stops_its_own_repo_and_is_kept() {
    let world = world();
    let (bad, good) = (world.git_repo("bad"), world.git_repo("good"));
    let endpoint = ensure(&world, &bad);
    ensure(&world, &good);
    world.repod(["shutdown", "--backends"]).ok();
    let file = record(&world, &endpoint);
    let whole = fs_err::read_to_string(&file).unwrap();
    let newer = whole.replace("\"version\": 1,", "\"version\": 99,");
    assert_ne!(newer, whole);
    let cases = [
        ("", ErrorCode::StateCorrupt),
        ("{\"version\": 1", ErrorCode::StateCorrupt),
        ("[]", ErrorCode::StateCorrupt),
        (&whole[..whole.len() / 2], ErrorCode::StateCorrupt),
        (&newer, ErrorCode::StateTooNew),
    ];
    for (text, code) in cases {
        fs_err::write(&file, text).unwrap();
        let output = world.repod(["ensure", "--json"]).arg(&bad).run();
        let error = output.json::<ErrorBody>().error;
        assert_eq!((error.code, output.code), (code, 1), "{text}");
        assert!(error.hint.is_some());
        assert_eq!(fs_err::read_to_string(&file).unwrap(), text, "kept");
        assert_eq!(ensure(&world, &good).state, BackendState::Ready);
        let row =
            ps(&world).into_iter().find(|row| row.endpoint.repo_id == endpoint.repo_id).unwrap();
        assert_eq!(row.error.unwrap().code, code);
        world.repod(["shutdown"]).ok();
    }
    fs_err::write(&file, &whole).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let error = world.repod(["ensure", "--json"]).arg(&bad).run().json::<ErrorBody>().error;
    assert_eq!(error.code, ErrorCode::StateForeign);
    // Repaired while the daemon runs: the next request sees it.
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(ensure(&world, &bad).generation.0, 2);
    world.finish();
}

#[test]
fn a_backend_whose_record_was_moved_away_is_ended_before_another_starts() {
    let world = world();
    let repo = world.git_repo("web");
    let before = ensure(&world, &repo);
    world.repod(["shutdown"]).ok();
    fs_err::remove_file(record(&world, &before)).unwrap();
    let after = ensure(&world, &repo);
    assert_ne!(pid(&after), pid(&before));
    assert_eq!(backends(&world), [pid(&after)]);
    world.finish();
}

#[test]
fn gc_clears_what_is_stale_and_touches_no_repository() {
    let world = world();
    let (gone, kept) = (world.git_repo("gone"), world.git_repo("kept"));
    let endpoint = ensure(&world, &gone);
    ensure(&world, &kept);
    world.repod(["stop"]).arg(&gone).ok();
    std::fs::remove_dir_all(&gone).unwrap();
    let dry: Value = world.repod(["gc", "--dry-run", "--json"]).json();
    assert_eq!(dry["forgotten"], serde_json::json!([endpoint.repo_id]));
    assert_eq!(ps(&world).len(), 2);
    let report: Value = world.repod(["gc", "--json"]).json();
    assert_eq!(report["forgotten"], serde_json::json!([endpoint.repo_id]));
    assert_eq!(ps(&world).len(), 1);
    let dir = world.layout().repo(&endpoint.repo_id);
    assert!(dir.dir().join("data").exists(), "data is kept");
    assert_eq!(world.git(&kept, ["status", "--porcelain"]), "");
    world.finish();
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let world = world();
    let repo = world.git_repo("web");
    // A small file system of its own, seen by this script alone.
    let script = r#"
        set -eu
        mount -t tmpfs -o size=96m,mode=700 none "$REPOD_HOME"
        "$0" ensure --json "$1" > "$2/first"
        "$0" stop "$1" > /dev/null
        cp "$REPOD_HOME"/repos/*/endpoint.json "$2/before"
        dd if=/dev/zero of="$REPOD_HOME/filler" bs=4k 2>/dev/null || true
        "$0" ensure --json "$1" > "$2/full" && exit 7
        cp "$REPOD_HOME"/repos/*/endpoint.json "$2/during"
        rm "$REPOD_HOME/filler"
        "$0" ensure --json "$1" > "$2/after"
        "$0" shutdown --backends > /dev/null
    "#;
    let out = world.root().to_owned();
    let namespace = ["--map-root-user", "--mount", "sh", "-c", script];
    let cmd = world.command("unshare").args(namespace);
    cmd.arg(env!("CARGO_BIN_EXE_repod")).arg(&repo).arg(&out).ok();
    let read = |name: &str| fs_err::read_to_string(out.join(name)).unwrap();
    let full: ErrorBody = serde_json::from_str(&read("full")).unwrap();
    assert_eq!(full.error.code, ErrorCode::StateIo, "{full:?}");
    assert!(full.error.hint.unwrap().contains("disk full"));
    assert_eq!(read("before"), read("during"), "the record is as it was");
    let after: Endpoint = serde_json::from_str(&read("after")).unwrap();
    assert_eq!(after.state, BackendState::Ready);
    world.finish();
}

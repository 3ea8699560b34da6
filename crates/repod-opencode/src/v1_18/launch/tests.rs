use super::*;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

struct World {
    _dir: tempfile::TempDir,
    spec: LaunchSpec,
    user_home: PathBuf,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let user_home = root.join("u");
    let home = user_home.join(".opencode");
    let state_dir = home.join("repos/web-0123456789ab");
    fs_err::create_dir_all(&state_dir).unwrap();
    fs_err::create_dir_all(root.join("web")).unwrap();
    let user_env = [("HOME", user_home.as_os_str()), ("PATH", OsStr::new("/usr/bin:/bin"))];
    let spec = LaunchSpec {
        binary: Binary { path: "/bin/opencode".into(), version: semver::Version::new(1, 18, 33) },
        state_dir,
        root: root.join("web"),
        home,
        port: 40211,
        password: "s3cret".into(),
        guard: None,
        marker: "web:1".into(),
        user_env: user_env.map(|(k, v)| (k.into(), v.into())).into(),
        extra_env: BTreeMap::new(),
        extra_args: vec!["--log-level".into(), "WARN".into()],
    };
    World { _dir: dir, spec, user_home }
}

fn snapshot(dir: &Path) -> Vec<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = Vec::new();
    for entry in files::entries(dir).unwrap() {
        let metadata = fs_err::symlink_metadata(&entry).unwrap();
        all.push((entry.clone(), metadata.ino()));
        if metadata.is_dir() {
            all.extend(snapshot(&entry));
        }
    }
    all.sort();
    all
}

#[test]
fn preparing_twice_changes_nothing_and_heals_what_is_missing() {
    let world = world();
    let first = Launch::prepare(&world.spec).unwrap();
    let before = snapshot(&world.user_home);
    assert_eq!(Launch::prepare(&world.spec).unwrap(), first);
    assert_eq!(snapshot(&world.user_home), before);

    let state = &world.spec.state_dir;
    for dir in ["data", "config", "cache", "state", "data/opencode"] {
        let mode = fs_err::metadata(state.join(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{dir}");
    }
    fs_err::remove_file(state.join("config/repod/guard.js")).unwrap();
    fs_err::remove_file(state.join("data/opencode/auth.json")).unwrap();
    fs_err::remove_dir_all(state.join("cache")).unwrap();
    Launch::prepare(&world.spec).unwrap();
    assert_eq!(snapshot(&world.user_home).len(), before.len());
}

#[test]
fn the_command_is_complete_and_holds_no_secret_in_sight() {
    let world = world();
    let launch = Launch::prepare(&world.spec).unwrap();
    let args: Vec<_> = launch.args.iter().map(|arg| arg.to_str().unwrap()).collect();
    let fixed = ["serve", "--hostname", "127.0.0.1", "--port", "40211"];
    assert_eq!(args, [&fixed[..], &["--log-level", "WARN"]].concat());
    assert_eq!(launch.cwd, world.spec.root);
    let content = launch.env[OsStr::new("OPENCODE_CONFIG_CONTENT")].to_str().unwrap();
    let content: serde_json::Value = serde_json::from_str(content).unwrap();
    let guard = content["plugin"][0][0].as_str().unwrap().strip_prefix("file://").unwrap();
    assert_eq!(fs_err::read_to_string(guard).unwrap(), GUARD);
    assert!(!content.to_string().contains("s3cret"));
    assert!(!format!("{launch:?} {:?}", world.spec).contains("s3cret"));
}

#[test]
fn logins_point_to_the_users_and_a_real_file_is_kept() {
    let world = world();
    Launch::prepare(&world.spec).unwrap();
    let data = world.spec.state_dir.join("data/opencode");
    let users = world.user_home.join(".local/share/opencode");
    assert_eq!(fs_err::read_link(data.join("auth.json")).unwrap(), users.join("auth.json"));
    assert!(users.is_dir() && !users.join("auth.json").exists());
    let mcp = data.join("mcp-auth.json");
    fs_err::remove_file(&mcp).unwrap();
    fs_err::write(&mcp, "{\"token\":1}").unwrap();
    let launch = Launch::prepare(&world.spec).unwrap();
    assert_eq!(fs_err::read_to_string(&mcp).unwrap(), "{\"token\":1}");
    assert!(launch.warnings.iter().any(|w| w.contains("mcp-auth.json")), "{:?}", launch.warnings);
}

#[test]
fn the_default_home_is_stubbed_for_npm_and_another_is_not_touched() {
    let mut world = world();
    Launch::prepare(&world.spec).unwrap();
    assert!(world.user_home.join(".opencode/package-lock.json").exists());
    let elsewhere = world.user_home.join("elsewhere");
    fs_err::create_dir_all(&elsewhere).unwrap();
    world.spec.home = elsewhere.clone();
    Launch::prepare(&world.spec).unwrap();
    assert!(files::entries(&elsewhere).unwrap().is_empty());
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut world = world();
    let utf8 = world.spec.root.clone();
    world.spec.root = OsString::from_vec(b"/src/caf\xe9".to_vec()).into();
    assert!(matches!(Launch::prepare(&world.spec), Err(LaunchError::NotUtf8(_))));
    assert!(files::entries(&world.spec.state_dir).unwrap().is_empty());
    world.spec.root = utf8;
    world.spec.user_env.insert("OPENCODE_CONFIG_CONTENT".into(), "{// no".into());
    let error = Launch::prepare(&world.spec).unwrap_err();
    assert!(error.to_string().starts_with("OPENCODE_CONFIG_CONTENT can't be used"), "{error}");
    assert!(error.hint().contains("JSON"));
    world.spec.user_env.remove(OsStr::new("HOME"));
    assert!(matches!(Launch::prepare(&world.spec), Err(LaunchError::NoHome)));
}

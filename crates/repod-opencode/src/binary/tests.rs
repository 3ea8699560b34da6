use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn executable(path: &Path, content: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, content).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn npm_package(modules: &Path, name: &str, version: &str, binary: &[u8]) -> PathBuf {
    let dir = modules.join(name);
    executable(&dir.join("bin/opencode"), binary);
    let json = format!(r#"{{"name":"{name}","version":"{version}"}}"#);
    fs_err::write(dir.join("package.json"), json).unwrap();
    dir.join("bin/opencode")
}

fn path_env(dirs: &[&Path]) -> BTreeMap<OsString, OsString> {
    let joined = std::env::join_paths(dirs.iter().map(|d| d.as_os_str())).unwrap();
    let mut own = joined;
    // A script needs its interpreter's directory only for what it calls.
    own.push(":/usr/bin:/bin");
    BTreeMap::from([(OsString::from("PATH"), own)])
}

const ELF: &[u8] = b"\x7fELF-not-really";

#[test]
fn the_setting_beats_the_environment_and_that_beats_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs_err::canonicalize(dir.path()).unwrap();
    let set = npm_package(&root.join("a"), "opencode-linux-x64", "1.18.1", ELF);
    let named = npm_package(&root.join("b"), "opencode-linux-x64", "1.18.2", ELF);
    let on_path = npm_package(&root.join("c"), "opencode-linux-x64", "1.18.3", ELF);
    let mut env = path_env(&[on_path.parent().unwrap()]);
    assert_eq!(Binary::locate(None, &env).unwrap().version, Version::new(1, 18, 3));
    env.insert("REPOD_OPENCODE".into(), named.into());
    assert_eq!(Binary::locate(None, &env).unwrap().version, Version::new(1, 18, 2));
    let found = Binary::locate(Some(&set), &env).unwrap();
    assert_eq!(found, Binary { path: set, version: Version::new(1, 18, 1) });
}

#[test]
fn repods_own_shim_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs_err::canonicalize(dir.path()).unwrap();
    executable(&root.join("bin/repod"), ELF);
    fs_err::create_dir_all(root.join("shim")).unwrap();
    fs_err::os::unix::fs::symlink("../bin/repod", root.join("shim/opencode")).unwrap();
    let real = npm_package(&root, "opencode-linux-x64", "1.18.33", ELF);
    let env = path_env(&[&root.join("shim"), real.parent().unwrap()]);
    assert_eq!(Binary::locate(None, &env).unwrap().path, real);
    let named = Binary::locate(Some(&root.join("shim/opencode")), &env);
    assert!(matches!(named, Err(BinaryError::IsRepod { .. })));
    let alone = BTreeMap::from([("PATH".into(), root.join("shim").into_os_string())]);
    assert!(matches!(Binary::locate(None, &alone), Err(BinaryError::Missing { setting: None })));
}

#[test]
fn an_npm_wrapper_is_resolved_to_the_binary_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let modules = fs_err::canonicalize(dir.path()).unwrap().join("node_modules");
    let wrapper = npm_package(&modules, "opencode-ai", "1.18.33", b"#!/usr/bin/env node\n");
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let real = npm_package(&modules, &format!("opencode-linux-{arch}"), "1.18.33", ELF);
    assert_eq!(Binary::locate(Some(&wrapper), &path_env(&[])).unwrap().path, real);
}

#[test]
fn a_binary_without_a_package_is_asked_once_and_again_when_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs_err::canonicalize(dir.path()).unwrap();
    let count = root.join("count");
    let binary = root.join("tools/opencode");
    let script = |version: &str| {
        format!("#!/bin/sh\necho ran >> {}\necho {version}\n", count.display()).into_bytes()
    };
    executable(&binary, &script("1.18.40"));
    let env = path_env(&[]);
    for _ in 0..3 {
        let found = Binary::locate(Some(&binary), &env).unwrap();
        assert_eq!(found.version, Version::new(1, 18, 40));
    }
    assert_eq!(fs_err::read_to_string(&count).unwrap(), "ran\n");
    executable(&binary, &script("1.18.4100"));
    assert_eq!(Binary::locate(Some(&binary), &env).unwrap().version.patch, 4100);
}

#[test]
fn other_generations_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (version, fits) in [
        ("1.17.9", false),
        ("1.18.0", true),
        ("1.99.0", true),
        ("2.0.0", false),
        ("2.0.0-rc.1", false),
    ] {
        assert_eq!(is_supported(version), fits, "{version}");
        let binary = npm_package(&dir.path().join(version), "opencode-linux-x64", version, ELF);
        match Binary::locate(Some(&binary), &path_env(&[])) {
            Ok(_) => assert!(fits),
            Err(BinaryError::Unsupported { version: said, .. }) => {
                assert!(!fits);
                assert_eq!(said.to_string(), version);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!is_supported("local"));
}

#[test]
fn a_missing_binary_says_what_to_do() {
    let missing = Binary::locate(Some(Path::new("/no/such/opencode")), &path_env(&[])).unwrap_err();
    assert_eq!(missing.to_string(), "no executable `/no/such/opencode`");
    assert!(missing.hint().contains("repod.toml"));
}

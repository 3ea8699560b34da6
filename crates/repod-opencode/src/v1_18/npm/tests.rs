use super::*;

const VERSION: Version = Version::new(1, 18, 33);

fn put(path: &Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

fn needed(root: &Path) -> (Network, Vec<String>) {
    let mut warnings = Vec::new();
    (Network::needed(root, Path::new("/nonexistent"), &mut warnings), warnings)
}

#[test]
fn only_a_project_that_asks_for_packages_may_reach_npm() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert_eq!(needed(root), (Network::Off, vec![]));

    put(&root.join(".opencode/package.json"), r#"{"dependencies":{"@opencode-ai/plugin":"1"}}"#);
    put(&root.join(".opencode/tool/a.ts"), "import type { X } from \"@opencode-ai/plugin\"\n");
    assert_eq!(needed(root), (Network::Off, vec![]));

    put(&root.join(".opencode/tool/b.ts"), "import { tool } from \"@opencode-ai/plugin\"\n");
    let (network, warnings) = needed(root);
    assert_eq!(network, Network::WhenMissing);
    assert!(warnings[0].contains("needs @opencode-ai/plugin, not installed"), "{warnings:?}");

    // Installed here: no warning, but another worktree of the repo may lack it.
    put(&root.join(".opencode/node_modules/@opencode-ai/plugin/package.json"), "{}");
    assert_eq!(needed(root), (Network::WhenMissing, vec![]));

    put(&root.join(".opencode/package.json"), r#"{"dependencies":{"zod":"4"}}"#);
    assert!(needed(root).1[0].contains("needs zod"));
}

#[test]
fn the_users_own_global_npmrc_keeps_its_say() {
    let dir = tempfile::tempdir().unwrap();
    let packages = dir.path().join("packages");
    fs_err::create_dir_all(&packages).unwrap();
    let (npmrc, theirs) = (dir.path().join("npmrc"), dir.path().join("theirs"));
    fs_err::write(&theirs, "cafile=/etc/ca.pem").unwrap();
    let env = BTreeMap::from([("NPM_CONFIG_GLOBALCONFIG".into(), theirs.into_os_string())]);
    configure(&npmrc, &packages, Network::Off, &env).unwrap();
    let text = fs_err::read_to_string(&npmrc).unwrap();
    assert!(text.starts_with("cafile=/etc/ca.pem\n") && text.ends_with("offline=true\n"), "{text}");
    configure(&npmrc, &packages, Network::WhenMissing, &BTreeMap::new()).unwrap();
    assert!(!fs_err::read_to_string(&npmrc).unwrap().contains("\noffline"));
    assert_eq!(fs_err::read_to_string(packages.join(".npmrc")).unwrap(), "offline=false\n");
}

#[test]
fn the_users_opencode_directory_is_stubbed_only_when_nothing_there_needs_npm() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().join("fresh");
    fs_err::create_dir_all(&fresh).unwrap();
    write_home_stub(&fresh, &VERSION).unwrap();
    assert!(fresh.join("package-lock.json").exists() && fresh.join("node_modules").is_dir());

    // Cut short by a crash: completed the next time.
    fs_err::remove_dir(fresh.join("node_modules")).unwrap();
    write_home_stub(&fresh, &VERSION).unwrap();
    assert!(fresh.join("node_modules").is_dir());

    for (name, text) in [("package.json", "{\"name\":\"mine\"}"), ("tools/t.ts", "")] {
        let used = dir.path().join(name.replace('/', "-"));
        put(&used.join(name), text);
        write_home_stub(&used, &VERSION).unwrap();
        assert_eq!(fs_err::read_to_string(used.join(name)).unwrap(), text);
        assert!(!used.join("package-lock.json").exists());
    }
}

#[test]
fn missing_packages_of_the_user_are_named_with_the_command_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("plugins/p.js"), "import { tool } from '@opencode-ai/plugin'\n");
    let mut warnings = Vec::new();
    warn_of_missing_packages(dir.path(), &VERSION, &mut warnings);
    assert!(warnings[0].contains("@opencode-ai/plugin@1.18.33"), "{warnings:?}");
}

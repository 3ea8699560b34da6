use super::*;
use crate::Binary;

fn spec(user: &[(&str, &str)], extra: &[(&str, &str)]) -> LaunchSpec {
    LaunchSpec {
        binary: Binary { path: "/bin/opencode".into(), version: semver::Version::new(1, 18, 33) },
        state_dir: "/u/.opencode/repos/web-1".into(),
        root: "/src/web".into(),
        home: "/u/.opencode".into(),
        port: 4711,
        password: "s3cret".into(),
        guard: None,
        marker: "web:1".into(),
        user_env: user.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        extra_env: extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        extra_args: Vec::new(),
    }
}

struct Made {
    environment: Environment,
    warnings: Vec<String>,
}

impl Made {
    fn of(user: &[(&str, &str)], extra: &[(&str, &str)]) -> Self {
        let mut warnings = Vec::new();
        let environment = Environment::of(&spec(user, extra), Path::new("/npmrc"), &mut warnings);
        Self { environment, warnings }
    }

    fn backend(&self, name: &str) -> Option<&str> {
        self.environment.backend.get(OsStr::new(name)).map(|value| value.to_str().unwrap())
    }

    fn tool(&self, name: &str) -> Option<&str> {
        self.environment.tools.get(name).map(String::as_str)
    }
}

#[test]
fn the_backend_is_isolated_and_its_tools_are_not() {
    let made = Made::of(
        &[
            ("LANG", "C"),
            ("XDG_CONFIG_HOME", "/u/cfg"),
            ("NPM_CONFIG_GLOBALCONFIG", "/etc/npmrc"),
            ("REPOD_HOME", "/r"),
            ("REPOD_BACKEND", "other:9"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("AGENT", "1"),
        ],
        &[],
    );
    assert_eq!(made.backend("LANG"), Some("C"));
    assert_eq!(made.backend("XDG_CONFIG_HOME"), Some("/u/.opencode/repos/web-1/config"));
    assert_eq!(made.backend("OPENCODE_SERVER_PASSWORD"), Some("s3cret"));
    assert_eq!(made.backend("REPOD_BACKEND"), Some("web:1"));
    assert_eq!(made.backend("npm_config_globalconfig"), Some("/npmrc"));
    assert_eq!(made.backend("PWD"), Some("/src/web"));
    for gone in ["REPOD_HOME", "NOTIFY_SOCKET", "AGENT", "NPM_CONFIG_GLOBALCONFIG"] {
        assert_eq!(made.backend(gone), None, "{gone}");
    }
    assert_eq!(made.tool("XDG_CONFIG_HOME"), Some("/u/cfg"));
    assert_eq!(made.tool("XDG_DATA_HOME"), Some(""));
    assert_eq!(made.tool("NPM_CONFIG_GLOBALCONFIG"), Some("/etc/npmrc"));
    assert_eq!(made.tool("npm_config_globalconfig"), Some(""));
    assert_eq!(made.tool("OPENCODE_SERVER_PASSWORD"), Some(""));
    assert_eq!(made.tool("GIT_OPTIONAL_LOCKS"), Some("0"));
    assert_eq!(made.tool("REPOD_HOME"), Some("/r"));
    assert!(made.warnings.is_empty(), "{:?}", made.warnings);
}

#[test]
fn dropped_settings_are_named_but_not_shown() {
    let made = Made::of(
        &[
            ("OPENCODE_AUTH_CONTENT", "k3y"),
            ("OPENCODE_CONFIG_DIR", "/d"),
            ("OPENCODE_PURE", "1"),
            ("OPENCODE", "1"),
            ("OPENCODE_PID", "7"),
            ("OPENCODE_SERVER_PASSWORD", "theirs"),
        ],
        &[],
    );
    assert_eq!(made.warnings.len(), 1);
    let warning = &made.warnings[0];
    assert!(warning.contains("OPENCODE_AUTH_CONTENT, OPENCODE_CONFIG_DIR, OPENCODE_PURE;"));
    assert!(!warning.contains("k3y") && !warning.contains("OPENCODE_PID"), "{warning}");
    assert_eq!(made.backend("OPENCODE_PURE"), None);
}

#[test]
fn settings_win_over_all_but_the_isolation() {
    let made = Made::of(
        &[("A", "user"), ("OPENCODE_CONFIG_CONTENT", "{\"a\":1}")],
        &[
            ("A", "settings"),
            ("GIT_OPTIONAL_LOCKS", "1"),
            ("OPENCODE_PERMISSION", "{}"),
            ("OPENCODE_PURE", "1"),
            ("XDG_DATA_HOME", "/shared"),
        ],
    );
    assert_eq!(made.backend("A"), Some("settings"));
    assert_eq!(made.backend("GIT_OPTIONAL_LOCKS"), Some("1"));
    assert_eq!(made.tool("GIT_OPTIONAL_LOCKS"), None);
    assert_eq!(made.backend("OPENCODE_PERMISSION"), Some("{}"));
    assert_eq!(made.backend("OPENCODE_PURE"), None);
    assert_eq!(made.backend("XDG_DATA_HOME"), Some("/u/.opencode/repos/web-1/data"));
    assert_eq!(made.warnings.len(), 2, "{:?}", made.warnings);
    assert_eq!(made.environment.content, Some("{\"a\":1}".into()));
    let both = Made::of(
        &[("OPENCODE_CONFIG_CONTENT", "{\"a\":1}")],
        &[("OPENCODE_CONFIG_CONTENT", "{\"b\":1}")],
    );
    assert_eq!(both.environment.content, Some("{\"b\":1}".into()));
}

#[test]
fn a_daemon_born_inside_a_backend_does_not_pass_its_directories_on() {
    let made = Made::of(&[("XDG_DATA_HOME", "/u/.opencode/repos/api-2/data")], &[]);
    assert_eq!(made.tool("XDG_DATA_HOME"), Some(""));
}

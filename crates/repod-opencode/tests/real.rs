//! The launch recipe on the real binary: what a user has must be there, what repod adds must not
//! be felt, and nothing may be left in the user's home.
//!
//! Needs `REPOD_OPENCODE` (an OpenCode 1.18 binary); without it the tests fail, they don't skip.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use repod_opencode::{
    BackendClient, Binary, Launch, LaunchSpec, ProbeError, explain_exit, is_port_lost, ready_line,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tokio::net::TcpStream;

const START_LIMIT: Duration = Duration::from_secs(60);
const CALL_LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct-horse";

fn opencode() -> Binary {
    let Some(path) = std::env::var_os("REPOD_OPENCODE").filter(|path| !path.is_empty()) else {
        panic!("set REPOD_OPENCODE to an OpenCode 1.18 binary: this test runs the real one");
    };
    Binary::locate(Some(Path::new(&path)), &BTreeMap::new()).expect("a supported OpenCode")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn put(path: &Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

/// Every file below `dir`, relative to it; links are files.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    fn walk(at: &Path, base: &Path, all: &mut BTreeSet<PathBuf>) {
        for entry in fs_err::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if fs_err::symlink_metadata(&path).unwrap().is_dir() {
                walk(&path, base, all);
            } else {
                all.insert(path.strip_prefix(base).unwrap().to_owned());
            }
        }
    }
    let mut all = BTreeSet::new();
    walk(dir, dir, &mut all);
    all
}

/// A user's home with a repo and repod's home (elsewhere), and an npm registry that is dead.
struct World {
    dir: tempfile::TempDir,
    spec: LaunchSpec,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("repod-real-").tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let state_dir = at("home/repos/web-0123456789ab");
        for made in [&state_dir, &at("u"), &at("web"), &at("tmp")] {
            fs_err::create_dir_all(made).unwrap();
        }
        let git = ["-C", at("web").to_str().unwrap(), "init", "-q"].map(str::to_owned);
        assert!(Command::new("git").args(git).status().unwrap().success());
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let user_env: BTreeMap<OsString, OsString> = [
            ("HOME", at("u").into_os_string()),
            ("TMPDIR", at("tmp").into_os_string()),
            ("PATH", path),
            ("XDG_STATE_HOME", at("u/state").into_os_string()),
            ("npm_config_registry", "http://127.0.0.1:1".into()),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1".into()),
        ]
        .map(|(name, value)| (name.into(), value))
        .into();
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let no_fetch = ("OPENCODE_DISABLE_MODELS_FETCH".to_owned(), "1".to_owned());
        let spec = LaunchSpec {
            binary: opencode(),
            state_dir,
            root: at("web"),
            home: at("home"),
            port,
            password: PASSWORD.into(),
            guard: None,
            marker: "web-0123456789ab:1".into(),
            user_env,
            extra_env: BTreeMap::from([no_fetch]),
            extra_args: Vec::new(),
        };
        Self { dir, spec }
    }

    fn user(&self, name: &str) -> PathBuf {
        self.dir.path().join("u").join(name)
    }

    fn repo(&self, name: &str) -> PathBuf {
        self.spec.root.join(name)
    }

    fn command(&self) -> Command {
        let launch = Launch::prepare(&self.spec).unwrap();
        let mut command = Command::new(launch.program);
        command.args(launch.args).env_clear().envs(launch.env).current_dir(launch.cwd);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    fn start(&self) -> Backend {
        let mut child = self.command().stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, receive) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let port = BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .find_map(|line| ready_line(&line));
            let _ = send.send(port);
        });
        let backend = Backend { child, port: self.spec.port };
        let port = receive.recv_timeout(START_LIMIT).expect("it says that it listens, in time");
        assert_eq!(port, Some(self.spec.port));
        backend
    }

    /// Starts it, expecting that it ends by itself; what it printed to stderr.
    fn fail(&self) -> String {
        let mut child = self.command().stdout(Stdio::null()).spawn().unwrap();
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(!child.wait().unwrap().success());
        text
    }
}

/// A running backend; ended, with its group, when dropped.
struct Backend {
    child: Child,
    port: u16,
}

impl Backend {
    fn call(&self, method: &str, route: &str, body: &str) -> (u16, String) {
        let credentials = STANDARD.encode(format!("opencode:{PASSWORD}"));
        let request = Request::builder()
            .method(method)
            .uri(route)
            .header("host", "127.0.0.1")
            .header("authorization", format!("Basic {credentials}"))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .unwrap();
        block_on(async {
            let exchange = async {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
                let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                let answer = sender.send_request(request).await.unwrap();
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                (status, String::from_utf8(body.to_vec()).unwrap())
            };
            tokio::time::timeout(CALL_LIMIT, exchange).await.expect("an answer in time")
        })
    }

    fn json(&self, method: &str, route: &str, body: &str) -> serde_json::Value {
        let (status, text) = self.call(method, route, body);
        assert_eq!(status, 200, "{method} {route}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn session(&self) -> String {
        self.json("POST", "/session", "{}")["id"].as_str().unwrap().to_owned()
    }

    /// What a command of the agent prints.
    fn shell(&self, session: &str, command: &str) -> String {
        let body = serde_json::json!({ "agent": "build", "command": command }).to_string();
        let message = self.json("POST", &format!("/session/{session}/shell"), &body);
        let parts = message["parts"].as_array().unwrap();
        let output = parts.iter().find_map(|part| part["state"]["output"].as_str());
        output.unwrap_or_else(|| panic!("no output in {message}")).to_owned()
    }

    fn client(&self) -> BackendClient {
        BackendClient::new(self.port, PASSWORD.to_owned())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Tools survive the process; they die with their instance.
        let _ = block_on(self.client().dispose_all());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_the_user_has_is_there_and_nothing_else_appears_in_the_home() {
    let world = World::new();
    let config = world.user(".config/opencode");
    let agent = "---\ndescription: looks twice\nmode: primary\n---\nYou review.\n";
    put(&config.join("agents/reviewer.md"), agent);
    put(&config.join("commands/ship.md"), "---\ndescription: ships\n---\nShip it.\n");
    let schema = "https://opencode.ai/config.json";
    put(&config.join("opencode.json"), &format!(r#"{{"$schema":"{schema}","username":"ada"}}"#));
    put(&config.join("node_modules/dep/package.json"), r#"{"name":"dep","main":"index.js"}"#);
    put(&config.join("node_modules/dep/index.js"), "export const value = 'from-dep'\n");
    let plugin = "import { value } from 'dep'\nexport const P = async () => ({\n  'shell.env': async (_, o) => { o.env.FROM_DEP = value },\n})\n";
    put(&config.join("plugins/p.js"), plugin);
    let before = files(&world.user(""));

    let backend = world.start();
    let named = |list: &serde_json::Value, name: &str| {
        list.as_array().unwrap().iter().any(|entry| entry["name"] == name)
    };
    assert!(named(&backend.json("GET", "/agent", ""), "reviewer"));
    assert!(named(&backend.json("GET", "/command", ""), "ship"));
    assert_eq!(backend.json("GET", "/config", "")["username"], "ada");
    let session = backend.session();
    assert_eq!(backend.shell(&session, "echo $FROM_DEP").trim(), "from-dep");
    assert_eq!(files(&world.user("")), before);

    // A login made in the backend is the user's, and the link stays one.
    backend.json("PUT", "/auth/x", r#"{"type":"api","key":"k3y"}"#);
    let auth = fs_err::read_to_string(world.user(".local/share/opencode/auth.json")).unwrap();
    assert!(auth.contains("k3y"));
    let link = world.spec.state_dir.join("data/opencode/auth.json");
    assert!(fs_err::symlink_metadata(link).unwrap().is_symlink());
    let mut after = files(&world.user(""));
    after.remove(Path::new(".local/share/opencode/auth.json"));
    assert_eq!(after, before);
    let modules = world.spec.state_dir.join("config/opencode/node_modules");
    assert_eq!(files(&modules), BTreeSet::new());
}

#[test]
fn commands_of_the_agent_see_the_users_environment_and_no_secret() {
    let world = World::new();
    let backend = world.start();
    let session = backend.session();
    let env = backend.shell(&session, "env");
    let values: BTreeMap<_, _> = env.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| values.get(name).copied().unwrap_or_default();
    assert_eq!(value("XDG_STATE_HOME"), world.user("state").to_str().unwrap());
    for unset in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "npm_config_globalconfig"] {
        assert_eq!(value(unset), "", "{unset}");
    }
    assert_eq!(value("GIT_OPTIONAL_LOCKS"), "0");
    assert_eq!(value("HOME"), world.user("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(value("REPOD_BACKEND"), world.spec.marker);
    assert!(!env.contains(PASSWORD) && !env.contains("guard.js"), "{env}");
}

#[test]
fn a_project_with_opencode_files_does_not_wait_for_a_dead_npm() {
    let world = World::new();
    let agent = "---\ndescription: local\nmode: primary\n---\nHi.\n";
    put(&world.repo(".opencode/agent/local.md"), agent);
    let backend = world.start();
    let session = backend.session();
    assert!(backend.shell(&session, "pwd").contains("web"));
    assert!(!world.repo(".opencode/node_modules").exists());
    assert!(!world.repo(".opencode/package.json").exists());
    assert_eq!(files(&world.spec.state_dir.join("config/opencode/node_modules")), BTreeSet::new());
    assert!(!world.user(".npm").exists());
}

#[test]
fn the_client_sees_health_and_sessions() {
    let world = World::new();
    let backend = world.start();
    for _ in 0..2 {
        backend.session();
    }
    block_on(async {
        let client = backend.client();
        let health = client.health(CALL_LIMIT).await.unwrap();
        assert_eq!(health.version, world.spec.binary.version.to_string());
        let root = world.spec.root.to_str().unwrap();
        assert_eq!(client.session_count(root).await.unwrap(), 2);
        assert_eq!(client.session_count("/").await.unwrap(), 0);
        assert_eq!(client.busy_sessions(root).await.unwrap(), 0);
        let wrong = BackendClient::new(backend.port, "wrong".to_owned());
        assert!(matches!(wrong.health(CALL_LIMIT).await, Err(ProbeError::Unauthorized)));
        client.dispose_all().await.unwrap();
        client.health(CALL_LIMIT).await.unwrap();
    });
}

#[test]
fn a_broken_config_is_named() {
    let world = World::new();
    put(&world.user(".config/opencode/opencode.json"), "{\"model\": }");
    let cause = explain_exit(&world.fail()).unwrap();
    assert!(cause.contains("opencode.json` is not valid JSON: ValueExpected"), "{cause}");
    put(&world.user(".config/opencode/opencode.json"), "{\"model\": 5}");
    let cause = explain_exit(&world.fail()).unwrap();
    assert!(cause.contains("is invalid: Expected string"), "{cause}");

    // One in the repo fails requests, not the start.
    put(&world.user(".config/opencode/opencode.json"), "{}");
    put(&world.repo("opencode.json"), "{\"model\": 5}");
    let backend = world.start();
    let root = world.spec.root.to_str().unwrap().to_owned();
    let error = block_on(backend.client().session_count(&root)).unwrap_err();
    assert!(error.to_string().contains("ConfigInvalidError"), "{error}");
}

#[test]
fn a_lost_port_is_recognised() {
    let mut world = World::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    world.spec.port = taken.local_addr().unwrap().port();
    let printed = world.fail();
    assert!(is_port_lost(&printed), "{printed}");
    assert_eq!(explain_exit(&printed).unwrap(), "its port was taken by another process");
}

#[test]
fn the_version_is_learned_by_running_it_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("opencode");
    let real = opencode();
    if fs_err::hard_link(&real.path, &alone).is_err() {
        fs_err::copy(&real.path, &alone).unwrap();
    }
    let found = Binary::locate(Some(&alone), &BTreeMap::new()).unwrap();
    assert_eq!(found.version, real.version);
    assert_eq!(files(dir.path()).len(), 1);
}

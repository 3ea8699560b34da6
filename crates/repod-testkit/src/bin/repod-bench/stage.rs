//! What the gateway's parts have in common: a world with one repo and a way to its backend, and a
//! client that keeps its connection.

use repod_proto::Endpoint;
use repod_testkit::World;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const BOUND: Duration = Duration::from_secs(30);

/// A repo with its endpoint, and the backend behind it.
pub(crate) struct Stage {
    pub(crate) world: World,
    /// The gateway's port.
    pub(crate) port: u16,
    /// The header line that opens the endpoint.
    pub(crate) opens: String,
    pub(crate) backend: Backend,
}

/// A backend as its repo's record has it.
pub(crate) struct Backend {
    pub(crate) port: u16,
    /// The header line that opens it.
    pub(crate) opens: String,
    pub(crate) password: String,
}

impl Stage {
    /// Before the stand-in that answers at once.
    pub(crate) fn fake(repod: &Path) -> Self {
        let fake = repod.with_file_name("repod-fake");
        Self::of(World::builder(repod).env("REPOD_OPENCODE", fake).build())
    }

    /// Before the real OpenCode.
    pub(crate) fn real(repod: &Path) -> Self {
        Self::of(World::builder(repod).build())
    }

    fn of(world: World) -> Self {
        let repo = world.git_repo("web");
        let endpoint: Endpoint = world.repod(["ensure", "--json"]).arg(&repo).json();
        let url = endpoint.url.as_deref().expect("it is ready");
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let opens = basic(&endpoint.username, endpoint.password.as_deref().unwrap_or_default());
        let record = world.layout().repo(&endpoint.repo_id).endpoint();
        let record = fs_err::read(record).expect("a record");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
        let own = &record["backend"];
        let backend = Backend {
            port: own["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"),
            opens: basic("opencode", own["password"].as_str().unwrap_or_default()),
            password: own["password"].as_str().unwrap_or_default().to_owned(),
        };
        Self { world, port, opens, backend }
    }

    /// The daemon's process.
    pub(crate) fn daemon(&self) -> u32 {
        let processes = self.world.processes();
        processes.iter().find(|it| it.cmdline == "repod daemon").expect("a daemon").pid
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}")
}

/// A connection that is kept, and the request that is made on it again and again.
pub(crate) struct Kept {
    stream: TcpStream,
    request: Vec<u8>,
    heard: Vec<u8>,
}

impl Kept {
    pub(crate) fn open(port: u16, path: &str, opens: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(BOUND)).expect("a socket");
        let opens = if opens.is_empty() { String::new() } else { format!("{opens}\r\n") };
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{opens}\r\n");
        Self { stream, request: request.into_bytes(), heard: vec![0; 64 * 1024] }
    }

    /// One request, and all of its answer.
    pub(crate) fn ask(&mut self) {
        self.stream.write_all(&self.request).expect("it listens");
        let mut have = 0;
        loop {
            let got = self.stream.read(&mut self.heard[have..]).expect("it answers");
            assert!(got > 0, "it ended: {}", String::from_utf8_lossy(&self.heard[..have]));
            have += got;
            if is_whole(&self.heard[..have]) {
                return;
            }
        }
    }
}

/// Whether an answer is complete.
fn is_whole(heard: &[u8]) -> bool {
    let Some(end) = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&heard[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => heard.len() >= end + 4 + length,
        None => heard.ends_with(b"0\r\n\r\n"),
    }
}

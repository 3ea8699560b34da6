//! The gateway between a client and a backend that both speak in plain bytes, so that every fault
//! can be made exactly.

mod faults;
mod handles;
mod passing;
mod recording;
mod refusing;
mod slow;
mod smuggling;
mod suite;

use super::{Gateway, Limits, Patience, open};
use crate::backend::fake::Fake;
use crate::coordination::Coordination;
use crate::settings;
use base64::Engine as _;
use repod_proto::Home;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const BOUND: Duration = Duration::from_secs(10);

/// An endpoint before a fake backend.
struct Stage {
    gateway: Arc<Gateway>,
    fake: Fake,
    port: u16,
}

impl Stage {
    async fn new() -> Self {
        Self::holding(Duration::from_secs(5)).await
    }

    async fn holding(hold_timeout: Duration) -> Self {
        Self::within(hold_timeout, Limits::default()).await
    }

    async fn within(hold_timeout: Duration, limits: Limits) -> Self {
        let origins = vec!["https://app.example".to_owned()];
        let home = tempfile::tempdir().unwrap();
        let policy = settings::Settings::default().policy;
        let desk = Coordination::new(&Home::at(home.path()), policy);
        let settings = settings::Gateway { hold_timeout, origins, metrics_port: None };
        let gateway = Gateway::new(settings, desk);
        let gateway = Arc::new(Gateway { limits, ..gateway });
        let door = open(None, Patience::new()).await.unwrap();
        let port = door.port;
        let fake = Fake::new(port);
        gateway.serve(door, fake.handle.downgrade());
        Self { gateway, fake, port }
    }

    /// With a backend that treats every connection like this.
    async fn before<F>(serve: impl Fn(Talk) -> F + Send + 'static) -> (Self, Arc<AtomicUsize>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stage, (port, connections)) = (Self::new().await, backend(serve).await);
        stage.fake.ready(port);
        (stage, connections)
    }

    fn basic(&self) -> String {
        let view = self.fake.view();
        let ours = view.credentials().unwrap();
        let pair = format!("{}:{}", ours.username, ours.password);
        base64::engine::general_purpose::STANDARD.encode(pair)
    }

    fn token(&self) -> String {
        self.fake.view().credentials().unwrap().token.to_owned()
    }

    async fn connect(&self) -> Talk {
        Talk::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// Sends a request as an authorised client on a connection of its own, and reads everything.
    async fn ask(&self, line: &str, more: &str) -> String {
        self.ask_as(line, &format!("authorization: Basic {}\r\n{more}", self.basic())).await
    }

    async fn ask_as(&self, line: &str, head: &str) -> String {
        let mut talk = self.connect().await;
        talk.say(&format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{head}\r\n"))
            .await;
        talk.rest().await
    }

    fn refused(&self, name: &str) -> u64 {
        let mut counts = self.gateway.refusals();
        counts.find(|(reason, _)| reason.as_str() == name).unwrap().1
    }
}

/// A backend; the count is of its connections.
async fn backend<F>(serve: impl Fn(Talk) -> F + Send + 'static) -> (u16, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(Talk::new(stream)));
        }
    });
    (port, connections)
}

/// One end of a connection, in plain bytes.
struct Talk {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Talk {
    fn new(stream: TcpStream) -> Self {
        Self { stream, heard: Vec::new() }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything up to and with `mark`. Empty when the connection ended before.
    async fn hear(&mut self, mark: &str) -> String {
        let hearing = async {
            loop {
                let text = String::from_utf8_lossy(&self.heard).into_owned();
                if let Some(at) = text.find(mark) {
                    let end = at + mark.len();
                    self.heard.drain(..end);
                    return text[..end].to_owned();
                }
                if self.stream.read_buf(&mut self.heard).await.unwrap_or(0) == 0 {
                    return String::new();
                }
            }
        };
        let heard = tokio::time::timeout(BOUND, hearing).await;
        heard.unwrap_or_else(|_| panic!("`{mark}` was not heard: {:?}", self.heard))
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> String {
        let reading = self.stream.read_to_end(&mut self.heard);
        let _ = tokio::time::timeout(BOUND, reading).await.expect("the connection ends");
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }
}

/// Answers every request of a connection with its own head.
async fn echo(mut talk: Talk) {
    loop {
        let head = talk.hear("\r\n\r\n").await;
        if head.is_empty() {
            return;
        }
        let length = head.len();
        talk.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}")).await;
    }
}

/// A stream that goes on, a WebSocket that is open, a request without an answer yet.
async fn lasting(mut talk: Talk) {
    let head = talk.hear("\r\n\r\n").await;
    if head.contains("upgrade: websocket") {
        talk.say("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nopen").await;
    } else if head.starts_with("GET /stream") {
        talk.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nopen\r\n").await;
    }
    talk.hear("never").await;
}

/// One of each, under this prefix of the path.
async fn open_three(stage: &Stage, prefix: &str, header: &str) -> [Talk; 3] {
    let before = stage.fake.handle.clients().all();
    let open = async |path: &str, more: &str, mark: &str| {
        let mut talk = stage.connect().await;
        let head = format!("GET {prefix}/{path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
        talk.say(&format!("{head}{more}\r\n")).await;
        assert!(talk.hear(mark).await.ends_with(mark));
        talk
    };
    let socket = "connection: upgrade\r\nupgrade: websocket\r\n";
    let three = [
        open("stream", "", "open").await,
        open("socket", socket, "open").await,
        open("x", "", "").await,
    ];
    wait_for_clients(stage, before + 3).await;
    three
}

async fn wait_for_clients(stage: &Stage, count: usize) {
    let there = async || (stage.fake.handle.clients().all() == count).then_some(());
    repod_testkit::wait_until("the clients", BOUND, there).await;
}

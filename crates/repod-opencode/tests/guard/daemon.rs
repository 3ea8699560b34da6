//! A daemon that is nothing but its side of the guard's protocol: it notes all it is told, and
//! answers as the test wants.

use crate::copies::Copies;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use repod_testkit::wait_until;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const TOKEN: &str = "guard-token";
const BOUND: Duration = Duration::from_secs(30);

/// How asks are answered.
#[derive(Clone, Debug)]
pub(crate) enum Policy {
    /// `{"run":true}`.
    Run,
    /// With a lease of this fence.
    Lease(u64),
    /// `{"run":false}` with this message.
    Refuse(&'static str),
    /// Not before the policy changes.
    Hold,
    /// This status with an empty object.
    Status(u16),
}

/// What came in: `hello`, `ask`, `report`, and `gone` for an ask whose connection was closed.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) verb: &'static str,
    pub(crate) body: Value,
}

#[derive(Debug)]
struct Shared {
    messages: Mutex<Vec<Message>>,
    hellos: AtomicUsize,
    policy: watch::Sender<Policy>,
    /// How commits are answered: `Run` applies, the others as for asks.
    commits: watch::Sender<Policy>,
    copies: Mutex<Option<Copies>>,
}

impl Shared {
    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap()
    }

    fn note(&self, verb: &'static str, body: &Value) {
        self.messages().push(Message { verb, body: body.clone() });
    }
}

/// Runs until [`stop`](Self::stop) or its drop, which cut every connection.
pub(crate) struct FakeDaemon {
    socket: PathBuf,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    pub(crate) fn start(dir: &Path) -> Self {
        let shared = Arc::new(Shared {
            messages: Mutex::default(),
            hellos: AtomicUsize::new(0),
            policy: watch::Sender::new(Policy::Lease(1)),
            commits: watch::Sender::new(Policy::Run),
            copies: Mutex::default(),
        });
        let mut daemon = Self { socket: dir.join("d.sock"), shared, server: None };
        daemon.restart();
        daemon
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn restart(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let shared = Arc::clone(&self.shared);
        self.server = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let serve = service_fn(move |request| answer(Arc::clone(&shared), request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        }));
    }

    pub(crate) async fn stop(&mut self) {
        let server = self.server.take().expect("it runs");
        server.abort();
        let _ = server.await;
        fs_err::remove_file(&self.socket).unwrap();
    }

    pub(crate) fn set(&self, policy: Policy) {
        self.shared.policy.send_replace(policy);
    }

    pub(crate) fn set_commits(&self, policy: Policy) {
        self.shared.commits.send_replace(policy);
    }

    /// From now on, calls on files outside the home are foreign.
    pub(crate) fn route(&self, copies: Copies) {
        *self.shared.copies.lock().unwrap() = Some(copies);
    }

    /// Foreign calls must be asked for, whatever the rules say.
    pub(crate) fn must_ask(&self) {
        self.shared.copies.lock().unwrap().as_mut().unwrap().must_ask = true;
    }

    /// One more registered repository.
    pub(crate) fn register(&self, repo: &Path) {
        self.shared.copies.lock().unwrap().as_mut().unwrap().repos.push(repo.into());
    }

    /// This name leads to that file.
    pub(crate) fn resolve(&self, name: &Path, real: &Path) {
        let mut copies = self.shared.copies.lock().unwrap();
        copies.as_mut().unwrap().links.insert(name.into(), real.into());
    }

    /// What came in so far under this verb.
    pub(crate) fn all(&self, verb: &str) -> Vec<Value> {
        let messages = self.shared.messages();
        messages.iter().filter(|m| m.verb == verb).map(|m| m.body.clone()).collect()
    }

    /// Verbs and tools in the order they came, hellos left out.
    pub(crate) fn story(&self) -> Vec<String> {
        let messages = self.shared.messages();
        let told = messages.iter().filter(|m| m.verb != "hello");
        told.map(|m| match m.body["tool"].as_str() {
            Some(tool) => format!("{} {tool}", m.verb),
            None => m.verb.to_owned(),
        })
        .collect()
    }

    /// Forgets what came in.
    pub(crate) fn clear(&self) {
        self.shared.messages().clear();
    }

    pub(crate) async fn wait_for(&self, verb: &str, count: usize) -> Vec<Value> {
        let what = format!("{count} × {verb}");
        wait_until(&what, BOUND, async || {
            let all = self.all(verb);
            (all.len() >= count).then_some(all)
        })
        .await
    }

    pub(crate) async fn wait_open_hellos(&self, count: usize) {
        wait_until(&format!("{count} open hellos"), BOUND, async || {
            (self.shared.hellos.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// Notes that an ask or a hello has ended before its answer did.
struct Open {
    shared: Arc<Shared>,
    body: Value,
    is_hello: bool,
    answered: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_hello {
            self.shared.hellos.fetch_sub(1, Ordering::SeqCst);
        } else if !self.answered {
            self.shared.note("gone", &self.body);
        }
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

fn body(parts: impl StreamExt<Item = String> + Send + 'static) -> Body {
    StreamBody::new(parts.map(|text| Ok(Frame::data(Bytes::from(text)))).boxed())
}

fn document(status: u16, value: &Value) -> Response<Body> {
    let text = value.to_string();
    Response::builder().status(status).body(body(stream::iter([text]))).unwrap()
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(bytes) = request.into_body().collect().await else {
        return Ok(document(400, &json!({})));
    };
    let message: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
    if message["token"] != TOKEN {
        return Ok(document(401, &json!({})));
    }
    match path.as_str() {
        "/v1/guard/hello" => Ok(hello(shared, message)),
        "/v1/guard/ask" => Ok(ask(shared, message).await),
        "/v1/guard/stage" => {
            shared.note("stage", &message);
            let files = shared.copies.lock().unwrap().as_mut().unwrap().make(&message);
            Ok(document(200, &json!({ "files": files })))
        }
        "/v1/guard/commit" => Ok(commit(shared, message).await),
        "/v1/guard/repos" => {
            let copies = shared.copies.lock().unwrap();
            Ok(document(200, &json!({ "roots": copies.as_ref().map_or(&[][..], Copies::roots) })))
        }
        "/v1/guard/report" => {
            shared.note("report", &message);
            if let Some(copies) = &mut *shared.copies.lock().unwrap() {
                copies.forget(&message);
            }
            Ok(document(200, &json!({})))
        }
        _ => Ok(document(404, &json!({}))),
    }
}

fn hello(shared: Arc<Shared>, message: Value) -> Response<Body> {
    shared.note("hello", &message);
    shared.hellos.fetch_add(1, Ordering::SeqCst);
    let open = Open { shared, body: message, is_hello: true, answered: false };
    let first = stream::iter(["{\"ok\":true}\n".to_owned()]);
    let rest = stream::unfold(open, async |open| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Some(("\n".to_owned(), open))
    });
    Response::new(body(first.chain(rest)))
}

async fn ask(shared: Arc<Shared>, message: Value) -> Response<Body> {
    shared.note("ask", &message);
    let mut policy = shared.policy.subscribe();
    let copies = Arc::clone(&shared);
    let mut open = Open { shared, body: message, is_hello: false, answered: false };
    let decided = policy.wait_for(|policy| !matches!(policy, Policy::Hold)).await;
    let decided = decided.map_or(Policy::Status(500), |policy| policy.clone());
    open.answered = true;
    let foreign = copies.copies.lock().unwrap().as_mut().and_then(|c| c.foreign(&open.body));
    match decided {
        Policy::Run | Policy::Hold => document(200, &json!({ "run": true })),
        Policy::Lease(fence) => {
            let lease = json!({ "repo_id": "web-0123456789ab", "branch": "main", "fence": fence });
            let mut answer = json!({ "run": true, "lease": lease });
            if let Some((name, foreign)) = foreign {
                answer[name] = foreign;
            }
            document(200, &answer)
        }
        Policy::Refuse(message) => document(200, &json!({ "run": false, "message": message })),
        Policy::Status(status) => document(status, &json!({})),
    }
}

async fn commit(shared: Arc<Shared>, message: Value) -> Response<Body> {
    shared.note("commit", &message);
    let mut policy = shared.commits.subscribe();
    let copies = Arc::clone(&shared);
    let mut open = Open { shared, body: message, is_hello: false, answered: false };
    let decided = policy.wait_for(|policy| !matches!(policy, Policy::Hold)).await;
    let decided = decided.map_or(Policy::Status(500), |policy| policy.clone());
    open.answered = true;
    match decided {
        Policy::Refuse(message) => document(200, &json!({ "done": false, "message": message })),
        Policy::Status(status) => document(status, &json!({})),
        _ => {
            let output = copies.copies.lock().unwrap().as_mut().unwrap().apply(&open.body);
            document(
                200,
                &json!({ "done": true, "output": output, "targets": [{ "repo_id": "b" }] }),
            )
        }
    }
}

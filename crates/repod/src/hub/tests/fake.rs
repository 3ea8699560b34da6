//! A backend that keeps a history, and drops, doubles and delays on command.

use crate::hub::Upstream;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(super) const SESSION: &str = "ses_1";
pub(super) const DIRECTORY: &str = "/r";

/// What outlives a generation, like OpenCode's database.
#[derive(Default)]
pub(super) struct Store {
    rows: Vec<Value>,
    streams: Vec<mpsc::Sender<Bytes>>,
    open: Arc<()>,
    pub(super) most_open: usize,
    pub(super) opened: usize,
    pub(super) busy: BTreeMap<String, Value>,
    /// Never answers what happened.
    pub(super) is_mute: bool,
}

/// One generation.
pub(super) struct Fake {
    pub(super) store: Arc<Mutex<Store>>,
    pub(super) upstream: Upstream,
    serving: JoinHandle<()>,
}

type Shared = State<Arc<Mutex<Store>>>;

impl Fake {
    pub(super) async fn start(store: &Arc<Mutex<Store>>, generation: u64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new()
            .route("/global/event", get(events))
            .route("/sync/history", post(history))
            .route("/experimental/session", get(sessions))
            .route("/session/status", get(status))
            .route("/permission", get(async || "[]"))
            .route("/question", get(async || "[]"))
            .route("/pty", get(async || "[]"))
            .route("/session/{id}/message", get(async || "[]"))
            .with_state(Arc::clone(store));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let upstream = Upstream {
            generation,
            port,
            password: "p".to_owned(),
            fresh: false,
            missed_since: None,
        };
        Self { store: Arc::clone(store), upstream, serving }
    }

    /// One durable event, sent as often as said, to whoever listens. Not at all means that the
    /// streams broke first: an open one leaves nothing out.
    pub(super) fn emit(&self, times: usize) {
        let mut store = self.store.lock().unwrap();
        let seq = store.rows.len();
        let id = format!("{}{seq}", repod_opencode::v1_18::told::event_id());
        let data = json!({ "sessionID": SESSION, "n": seq });
        store.rows.push(json!({
            "id": id, "aggregate_id": SESSION, "seq": seq, "type": "thing.updated.1", "data": data,
        }));
        let event = json!({ "id": id, "type": "thing.updated", "properties": data });
        let sync = json!({ "type": "sync", "id": id, "syncEvent": {
            "id": id, "type": "thing.updated.1", "seq": seq, "aggregateID": SESSION, "data": data,
        }});
        if times == 0 {
            store.streams.clear();
        }
        for _ in 0..times {
            store.send(&event);
            store.send(&sync);
        }
    }

    /// An event that leaves no trace.
    pub(super) fn send(&self, kind: &str, properties: &Value) {
        let id = repod_opencode::v1_18::told::event_id();
        let event = json!({ "id": id, "type": kind, "properties": properties });
        self.store.lock().unwrap().send(&event);
    }

    /// Breaks all streams, and goes on.
    pub(super) fn cut(&self) {
        self.store.lock().unwrap().streams.clear();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
        self.cut();
    }
}

impl Store {
    fn send(&mut self, payload: &Value) {
        let event = json!({ "directory": DIRECTORY, "project": "p", "payload": payload });
        let frame = Bytes::from(format!("data: {event}\n\n"));
        self.streams.retain(|stream| stream.try_send(frame.clone()).is_ok());
    }
}

async fn events(State(store): Shared) -> Body {
    let (send, receive) = mpsc::channel(1024);
    let mut store = store.lock().unwrap();
    let hello =
        "data: {\"payload\":{\"id\":\"x\",\"type\":\"server.connected\",\"properties\":{}}}\n\n";
    let _ = send.try_send(Bytes::from(hello));
    // A stream the hub left is seen as soon as its body is dropped.
    let open = Arc::clone(&store.open);
    store.streams.push(send);
    store.opened += 1;
    store.most_open = store.most_open.max(Arc::strong_count(&store.open) - 1);
    Body::from_stream(stream::unfold((receive, open), async |(mut receive, open)| {
        let frame = receive.recv().await?;
        Some((Ok::<_, Infallible>(frame), (receive, open)))
    }))
}

async fn history(State(store): Shared, known: String) -> String {
    if store.lock().unwrap().is_mute {
        std::future::pending::<()>().await;
    }
    let known: BTreeMap<String, u64> = serde_json::from_str(&known).unwrap();
    let store = store.lock().unwrap();
    let after = known.get(SESSION).copied();
    let rows = store.rows.iter().filter(|row| after.is_none_or(|a| row["seq"].as_u64() > Some(a)));
    json!(rows.collect::<Vec<_>>()).to_string()
}

async fn sessions() -> String {
    let now = repod_opencode::v1_18::told::now_millis();
    json!([{ "id": SESSION, "directory": DIRECTORY, "projectID": "p",
             "time": { "created": now, "updated": now } }])
    .to_string()
}

async fn status(State(store): Shared) -> String {
    json!(store.lock().unwrap().busy).to_string()
}

//! The HTTP side: routes, gates, attempts, and streams that notice when their reader is gone.

use super::answer::{Answer, Piece};
use super::conversation::{ChatRequest, Kind, Next, kind, next};
use super::log::{Log, Outcome, Request, lock};
use crate::config::{MODEL, PATCH_MODEL, SMALL_MODEL};
use crate::script::Step;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// The longest a hanging or gated request is kept.
const PATIENCE: Duration = Duration::from_mins(10);
/// Conversations with large tool results are still far below.
const BODY_LIMIT: usize = 64 << 20;
/// Scripts whose spoilt attempts are remembered; all are forgotten when it is full.
const ATTEMPTS_KEPT: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) log: Log,
    gates: Mutex<HashMap<String, watch::Sender<bool>>>,
    attempts: Mutex<HashMap<String, u32>>,
}

impl Shared {
    fn gate(&self, name: &str) -> watch::Receiver<bool> {
        let mut gates = lock(&self.gates);
        gates.entry(name.to_owned()).or_insert_with(|| watch::channel(false).0).subscribe()
    }

    pub(super) fn open(&self, name: &str) {
        let mut gates = lock(&self.gates);
        gates.entry(name.to_owned()).or_insert_with(|| watch::channel(false).0).send_replace(true);
    }

    pub(super) fn waiting_at(&self, name: &str) -> usize {
        lock(&self.gates).get(name).map_or(0, watch::Sender::receiver_count)
    }

    /// Counts an attempt at a step and says whether the script wants it spoilt.
    fn is_spoilt(&self, step: &Step, key: String) -> bool {
        if step.fail.is_none() && !step.hang && !step.cut {
            return false;
        }
        let Some(times) = step.times else { return true };
        let mut attempts = lock(&self.attempts);
        if attempts.len() >= ATTEMPTS_KEPT {
            attempts.clear();
        }
        let made = attempts.entry(key).or_insert(0);
        *made += 1;
        *made <= times
    }
}

pub(super) fn router(shared: Arc<Shared>) -> axum::Router {
    axum::Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared)
}

async fn models() -> Json<Value> {
    let id = |name: &str| name.split_once('/').map_or(name, |(_, id)| id).to_owned();
    let model = |name| json!({ "id": id(name), "object": "model", "owned_by": "repod-testkit" });
    let all: Vec<Value> = [MODEL, PATCH_MODEL, SMALL_MODEL].map(model).into();
    Json(json!({ "object": "list", "data": all }))
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({ "error": { "message": message, "type": "scripted", "code": null } });
    (status, Json(body)).into_response()
}

/// Marks the request as left when it is dropped before something better was said.
struct Watched(Arc<Request>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.end(Outcome::ClientLeft);
    }
}

async fn chat(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let request: ChatRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(source) => return error(StatusCode::BAD_REQUEST, &source.to_string()),
    };
    let (next, streamed, is_title) =
        (next(&request), request.stream, kind(&request) == Kind::Title);
    let model = request.model.clone();
    let session = headers.get("x-session-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let watched = Watched(shared.log.add(session.clone(), request));
    let plain = |text: String| Step { text: Some(text), ..Step::default() };
    let (step, line) = match next {
        Next::Title => (plain("Scripted session".into()), String::new()),
        Next::Echo(text) => (plain(format!("You said: {text}")), String::new()),
        Next::PastTheEnd => (plain("done".into()), String::new()),
        Next::Step { step, line } => (*step, line),
        Next::Malformed(why) => {
            watched.0.end(Outcome::Failed(400));
            return error(StatusCode::BAD_REQUEST, &format!("the SCRIPT can't be read: {why}"));
        }
    };
    if let Some(name) = &step.gate {
        let mut gate = shared.gate(name);
        let _ = tokio::time::timeout(PATIENCE, gate.wait_for(|open| *open)).await;
    }
    let key = format!("{session:?} {} {line}", watched.0.step);
    let spoilt = !is_title && shared.is_spoilt(&step, key);
    if spoilt && step.hang {
        tokio::time::sleep(PATIENCE).await;
    }
    if let Some(status) = step.fail.filter(|_| spoilt) {
        tokio::time::sleep(Duration::from_millis(step.delay_ms)).await;
        watched.0.end(Outcome::Failed(status));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return error(status, "the script wants this failure");
    }
    let cut = spoilt && step.cut;
    let answer = Answer { id: unique_id(watched.0.number), model, step, asked: body.len() };
    if streamed { streaming(&answer, cut, watched) } else { whole(&answer, cut, watched).await }
}

/// Unique across servers as well: a session may outlive the server that answered it first.
fn unique_id(number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{number:x}", now.as_nanos())
}

async fn whole(answer: &Answer, cut: bool, watched: Watched) -> Response {
    tokio::time::sleep(answer.total_pause()).await;
    if cut {
        return streaming(answer, true, watched);
    }
    watched.0.end(Outcome::Answered);
    Json(answer.document()).into_response()
}

fn streaming(answer: &Answer, cut: bool, watched: Watched) -> Response {
    let pieces = answer.pieces(cut).into_iter();
    let body = stream::unfold((pieces, watched), |(mut pieces, watched)| async move {
        let item = match pieces.next()? {
            Piece::Chunk(pause, chunk) => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                } else {
                    // Lets hyper flush, so that a cut comes after what was sent before it.
                    tokio::task::yield_now().await;
                }
                Ok(Bytes::from(format!("data: {chunk}\n\n")))
            }
            Piece::Done => {
                watched.0.end(Outcome::Answered);
                Ok(Bytes::from_static(b"data: [DONE]\n\n"))
            }
            Piece::Cut => {
                watched.0.end(Outcome::Cut);
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the script cuts here"))
            }
        };
        Some((item, (pieces, watched)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

//! What the guard plugin of a backend says and asks. Not part of the public API: the plugin comes with
//! the binary, and each backend's guards have a token of their own.

use super::answer::{self, Body, Failure};
use crate::backend::RepoHandle;
use crate::coordination::{Caller, GuardedCall};
use crate::daemon::Daemon;
use crate::ops::guard as ops;
use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::post;
use repod_proto::{Generation, RepoId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A write's arguments may be large: the text of a patch is among them.
const ASK_MAX: usize = 32 * 1024 * 1024;

pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/guard/hello", post(hello))
        .route("/v1/guard/ask", post(ask))
        .route("/v1/guard/report", post(report))
        .layer(DefaultBodyLimit::max(ASK_MAX))
}

#[derive(Deserialize)]
struct Hello {
    token: String,
    directory: String,
    #[serde(default)]
    held: Vec<ops::Held>,
}

#[derive(Deserialize)]
struct Ask {
    token: String,
    directory: String,
    session: String,
    root: String,
    #[serde(default)]
    title: String,
    call: String,
    tool: String,
    #[serde(default)]
    args: Args,
}

/// The arguments of a call that say where it writes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Args {
    command: Option<String>,
    workdir: Option<String>,
    file_path: Option<String>,
    patch_text: Option<String>,
}

#[derive(Deserialize)]
struct Report {
    token: String,
    session: String,
    call: String,
}

#[derive(Serialize)]
struct Answer {
    run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
    /// For the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize)]
struct Lease {
    repo_id: RepoId,
    branch: String,
    fence: u64,
}

/// Open as long as the guard is there.
async fn hello(
    State(daemon): State<Arc<Daemon>>,
    Body(hello): Body<Hello>,
) -> Result<Response, Failure> {
    let (handle, generation) = ops::who(&daemon, &hello.token).await?;
    let presence = ops::hello(&daemon, &handle, generation, &hello.directory, hello.held).await;
    Ok(answer::held(&serde_json::json!({ "ok": true }), presence))
}

/// Answers when the call may run, or must not.
async fn ask(
    State(daemon): State<Arc<Daemon>>,
    Body(ask): Body<Ask>,
) -> Result<Json<Answer>, Failure> {
    let (handle, generation) = ops::who(&daemon, &ask.token).await?;
    let call = call(&handle, generation, ask);
    Ok(Json(match ops::ask(&daemon, &call).await {
        Ok(lease) => {
            let lease = lease.map(|(key, fence)| Lease {
                repo_id: key.repo,
                branch: key.branch.to_string(),
                fence,
            });
            Answer { run: true, lease, message: None }
        }
        Err(error) => {
            let hint = error.hint.map(|hint| format!("\n{hint}")).unwrap_or_default();
            let message = format!("repod: {}{hint}", error.message);
            Answer { run: false, lease: None, message: Some(message) }
        }
    }))
}

fn call(handle: &RepoHandle, generation: Generation, ask: Ask) -> GuardedCall {
    GuardedCall {
        caller: Caller {
            repo: handle.repo().id.clone(),
            generation,
            directory: ask.directory,
            session: ask.session,
            root: ask.root,
            title: ask.title,
        },
        call: ask.call,
        tool: ask.tool,
        command: ask.args.command,
        workdir: ask.args.workdir,
        file_path: ask.args.file_path,
        patch_text: ask.args.patch_text,
    }
}

async fn report(
    State(daemon): State<Arc<Daemon>>,
    Body(report): Body<Report>,
) -> Result<Json<serde_json::Value>, Failure> {
    let (handle, _) = ops::who(&daemon, &report.token).await?;
    ops::report(&daemon, &handle.repo().id, &report.session, &report.call).await;
    Ok(Json(serde_json::json!({})))
}

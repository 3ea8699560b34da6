//! What the guard plugin of a backend says and asks. Not part of the public API: the plugin comes with
//! the binary, and each backend's guards have a token of their own.

use super::answer::{self, Body, Failure};
use crate::backend::RepoHandle;
use crate::coordination::{Caller, GuardedCall, LeaseKey};
use crate::daemon::Daemon;
use crate::ops::guard as ops;
use crate::router::Leave;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Json};
use repod_proto::{ApiError, ErrorCode, Generation, RepoId, RequestId, RouteReport, RouteTarget};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A write's arguments may be large: the text of a patch is among them.
const ASK_MAX: usize = 32 * 1024 * 1024;

pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/guard/hello", post(hello))
        .route("/v1/guard/ask", post(ask))
        .route("/v1/guard/stage", post(stage))
        .route("/v1/guard/commit", post(commit))
        .route("/v1/guard/shell", post(shell))
        .route("/v1/guard/report", post(report))
        .route("/v1/guard/repos", post(repos))
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
    /// The call of the same session made just before, when it was not answered yet.
    after: Option<String>,
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
struct Stage {
    token: String,
    session: String,
    call: String,
    name: String,
}

#[derive(Deserialize)]
struct Who {
    token: String,
}

#[derive(Deserialize)]
struct Report {
    token: String,
    session: String,
    call: String,
}

#[derive(Default, Serialize)]
struct Answer {
    run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
    /// All of them, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leases: Vec<Lease>,
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<Foreign>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<Shell>,
    /// For the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The call writes files of another repo.
#[derive(Serialize)]
struct Foreign {
    operation: String,
    files: Vec<PathBuf>,
    /// From the names the call has for them, made absolute.
    named: BTreeMap<PathBuf, PathBuf>,
    /// Whether a person has to be asked, whatever the rules say.
    ask: bool,
}

/// The command belongs to another repo.
#[derive(Serialize)]
struct Shell {
    operation: String,
    directory: PathBuf,
    ask: bool,
}

#[derive(Clone, Serialize)]
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
        Ok(permit) => permitted(&call, permit),
        Err(error) => Answer { message: Some(for_model(&error)), ..Answer::default() },
    }))
}

fn permitted(call: &GuardedCall, permit: ops::Permit) -> Answer {
    let lease = |(key, fence): (LeaseKey, u64)| Lease {
        repo_id: key.repo,
        branch: key.branch.to_string(),
        fence,
    };
    let leases: Vec<_> = permit.leases.into_iter().map(lease).collect();
    let mut answer = Answer { run: true, lease: leases.last().cloned(), ..Answer::default() };
    if leases.len() > 1 {
        answer.leases = leases;
    }
    if let Some(Leave { operation, files, named, directory }) = permit.foreign {
        let ask = permit.ask;
        match call.tool.as_str() {
            "bash" => answer.shell = Some(Shell { operation, directory, ask }),
            _ => answer.foreign = Some(Foreign { operation, files, named, ask }),
        }
    }
    answer
}

fn for_model(error: &ApiError) -> String {
    let hint = error.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    format!("repod: {}{hint}", error.message)
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
        after: ask.after,
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

async fn stage(
    State(daemon): State<Arc<Daemon>>,
    Body(stage): Body<Stage>,
) -> Result<Json<serde_json::Value>, Failure> {
    let (handle, _) = ops::who(&daemon, &stage.token).await?;
    let repo = &handle.repo().id;
    let files = ops::stage(&daemon, repo, &stage.session, &stage.call, &stage.name).await?;
    Ok(Json(serde_json::json!({ "files": files })))
}

/// Answers when the write is done, or can't be.
async fn commit(
    State(daemon): State<Arc<Daemon>>,
    Extension(id): Extension<RequestId>,
    Body(commit): Body<Report>,
) -> Result<Json<serde_json::Value>, Failure> {
    let (handle, _) = ops::who(&daemon, &commit.token).await?;
    let repo = handle.repo().id.clone();
    Ok(Json(
        match ops::commit(Arc::clone(&daemon), repo, (commit.session, commit.call), id).await {
            Ok(done) => serde_json::json!({
                "done": true,
                "output": told(&done),
                "diff": done.diff,
                "operation": done.operation_id,
                "targets": done.targets,
            }),
            Err(error) if error.code == ErrorCode::ShuttingDown => return Err(error.into()),
            Err(error) => serde_json::json!({ "done": false, "message": for_model(&error) }),
        },
    ))
}

/// What the model reads of a write that was routed.
fn told(done: &RouteReport) -> String {
    if done.targets.is_empty() {
        return "Nothing had to be changed.".to_owned();
    }
    let mut text = String::new();
    for target in &done.targets {
        let RouteTarget { repo_id, directory, branch, files, .. } = target;
        text.push_str(&format!(
            "Applied in another repository by its own backend: repo `{repo_id}` ({directory}), branch `{branch}`:\n"
        ));
        for file in files {
            text.push_str(&format!("  {file}\n"));
        }
    }
    if !done.diff.is_empty() {
        text.push_str(&format!("\n{}", done.diff));
    }
    text
}

/// Answers when the command has ended.
async fn shell(
    State(daemon): State<Arc<Daemon>>,
    Extension(id): Extension<RequestId>,
    Body(shell): Body<Report>,
) -> Result<Json<serde_json::Value>, Failure> {
    let (handle, _) = ops::who(&daemon, &shell.token).await?;
    let ran = ops::shell(&daemon, &handle.repo().id, (&shell.session, &shell.call), &id).await?;
    Ok(Json(serde_json::json!({ "output": ran.output, "exit": ran.exit })))
}

async fn repos(
    State(daemon): State<Arc<Daemon>>,
    Body(who): Body<Who>,
) -> Result<Json<serde_json::Value>, Failure> {
    ops::who(&daemon, &who.token).await?;
    Ok(Json(serde_json::json!({ "roots": ops::roots(&daemon) })))
}

//! Sessions run by OpenCode: one of its sessions is the conversation, and the repo's backend runs it with
//! all others.

mod drive;
mod look;

use super::backend::{AgentBackend, Bound, SessionOptions, TurnContext, TurnInput, TurnResult};
use super::model;
use crate::scope::InstanceLease;
use drive::Drive;
use repod_opencode::v1_18::told;
use repod_opencode::{PermissionReply, ProbeError, PromptFile, PromptSpec};
use repod_proto::{ApiError, ErrorCode, SessionAnswer};

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenCode;

#[async_trait::async_trait]
impl AgentBackend for OpenCode {
    fn name(&self) -> &'static str {
        "opencode"
    }

    fn prompt_id(&self) -> String {
        told::message_id()
    }

    async fn ensure_session(
        &self,
        known: Option<&str>,
        options: &SessionOptions,
        scope: &InstanceLease,
    ) -> Result<Bound, ApiError> {
        let mut reason = "it has none yet";
        if let Some(id) = known {
            match scope.backend.session(id).await {
                // One of another directory isn't gone on with: its tools would work there.
                Ok(found) if found.directory == scope.directory => {
                    let options = options.clone();
                    return Ok(Bound { id: found.id, is_new: false, reason: "", options });
                }
                Ok(_) => reason = "its conversation is in another directory",
                Err(ProbeError::Failed { status: 400..=499, .. }) => {
                    reason = "OpenCode no longer has its conversation";
                }
                Err(error) => return Err(broke(&error)),
            }
        }
        let title = Some(options.title.as_str()).filter(|title| !title.is_empty());
        let made = scope.backend.new_session(&scope.directory, title).await;
        let made = made.map_err(|error| broke(&error))?;
        Ok(Bound { id: made.id, is_new: true, reason, options: options.clone() })
    }

    async fn prompt(
        &self,
        handle: &Bound,
        input: &TurnInput,
        turn: &TurnContext<'_>,
    ) -> TurnResult {
        let file = |file: &repod_proto::TurnFile| PromptFile {
            mime: file.mime.clone(),
            url: file.url.clone(),
            filename: file.filename.clone(),
        };
        let prompt = PromptSpec {
            message_id: turn.prompt.to_owned(),
            text: input.text.clone(),
            model: model::parts(&handle.options.model),
            agent: Some(handle.options.agent.clone()).filter(|agent| !agent.is_empty()),
            files: input.files.iter().map(file).collect(),
        };
        Box::pin(Drive::new(handle, turn).run(prompt)).await
    }

    async fn title(&self, id: &str, scope: &InstanceLease) -> Option<String> {
        let title = scope.backend.session(id).await.ok()?.title;
        // What OpenCode 1.18.33 calls one that it has not named yet.
        (!title.is_empty() && !title.starts_with("New session - ")).then_some(title)
    }

    async fn answer(
        &self,
        _: &Bound,
        answer: &SessionAnswer,
        scope: &InstanceLease,
    ) -> Result<(), ApiError> {
        let (backend, directory, request) = (&scope.backend, &scope.directory, &answer.request_id);
        let message = answer.message.as_deref();
        let answered = match (&answer.option, &answer.answers) {
            (Some(option), None) => {
                let reply = match option.as_str() {
                    "once" => PermissionReply::Once,
                    "always" => PermissionReply::Always,
                    "reject" => PermissionReply::Reject,
                    other => {
                        let message = format!("`{other}` is no answer to a permission");
                        return Err(ApiError::new(ErrorCode::InvalidRequest, message)
                            .hint("`once`, `always` or `reject`"));
                    }
                };
                backend.reply_permission(directory, request, reply, message).await
            }
            (None, Some(answers)) => backend.reply_question(directory, request, answers).await,
            (None, None) => backend.reject_question(directory, request).await,
            (Some(_), Some(_)) => {
                let message = "an answer is to a permission or to a question, not to both";
                return Err(ApiError::new(ErrorCode::InvalidRequest, message));
            }
        };
        answered.map_err(|error| match error {
            ProbeError::Failed { status: 404, .. } => {
                let message = format!("nobody asks `{request}` any more");
                ApiError::new(ErrorCode::SessionNotFound, message)
            }
            ProbeError::Failed { status: 400..=499, message } => {
                ApiError::new(ErrorCode::InvalidRequest, format!("OpenCode refused it: {message}"))
            }
            error => broke(&error),
        })
    }

    async fn close_session(&self, handle: &Bound, scope: &InstanceLease) -> Result<(), ApiError> {
        match scope.backend.abort(&handle.id).await {
            Ok(()) | Err(ProbeError::Failed { .. }) => Ok(()),
            Err(error) => Err(broke(&error)),
        }
    }
}

fn broke(error: &ProbeError) -> ApiError {
    let code = match error {
        ProbeError::TimedOut(_) => ErrorCode::BackendUnresponsive,
        _ => ErrorCode::BackendBroke,
    };
    ApiError::new(code, format!("OpenCode could not be asked: {error}"))
        .hint("ask again; `repod logs` may say more")
}

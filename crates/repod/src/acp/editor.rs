//! What is asked of an editor: to be told something, to read and write its files, to answer.

use super::update;
use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    FileSystemCapabilities, PermissionOption, PermissionOptionKind, ReadTextFileRequest,
    RequestPermissionOutcome, RequestPermissionRequest, SessionNotification, SessionUpdate,
    ToolCallUpdate, ToolCallUpdateFields, WriteTextFileRequest,
};
use repod_proto::agent::{PermissionAsk, PermissionKind, Question, ToolCall};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an editor may take for a file.
const FILE_LIMIT: Duration = Duration::from_secs(5);
/// What stands for no answer.
const NO_ANSWER: &str = "no-answer";

/// The editor, as far as one session is concerned.
#[derive(Clone)]
pub(super) struct Editor {
    pub(super) connection: ConnectionTo<agent_client_protocol::Client>,
    pub(super) session: String,
    pub(super) directory: PathBuf,
    pub(super) files: FileSystemCapabilities,
}

impl Editor {
    /// Says something; an editor that is gone hears nothing.
    pub(super) fn tell(&self, update: SessionUpdate) {
        let said = SessionNotification::new(self.session.clone(), update);
        if let Err(error) = self.connection.send_notification(said) {
            tracing::debug!(%error, "the editor is gone");
        }
    }

    /// A file as the editor has it, where it gives files.
    pub(super) async fn read(&self, path: &Path) -> Option<String> {
        if !self.files.read_text_file {
            return None;
        }
        let request = ReadTextFileRequest::new(self.session.clone(), path);
        let answer = self.connection.send_request(request).block_task();
        let read = tokio::time::timeout(FILE_LIMIT, answer).await.ok()?;
        read.map(|answer| answer.content).ok()
    }

    /// Gives the editor a file that the backend has written, so that a buffer of it is not stale.
    pub(super) async fn wrote(&self, path: &Path) {
        if !self.files.write_text_file {
            return;
        }
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || fs_err::read_to_string(file)).await;
        let Ok(Ok(content)) = read else { return };
        let request = WriteTextFileRequest::new(self.session.clone(), path, content);
        let answer = self.connection.send_request(request).block_task();
        match tokio::time::timeout(FILE_LIMIT, answer).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the editor did not take a file"),
            Err(_) => tracing::debug!("the editor did not take a file in time"),
        }
    }

    /// Asks for a permission: the id of the option that was chosen; `None` when the turn is cancelled.
    pub(super) async fn permit(
        &self,
        ask: &PermissionAsk,
        call: Option<&ToolCall>,
    ) -> Option<String> {
        let options = ask.options.iter().filter_map(|option| {
            let kind = match option.kind {
                PermissionKind::AllowOnce => PermissionOptionKind::AllowOnce,
                PermissionKind::AllowAlways => PermissionOptionKind::AllowAlways,
                PermissionKind::RejectOnce => PermissionOptionKind::RejectOnce,
                PermissionKind::Unknown => return None,
            };
            Some(PermissionOption::new(option.id.clone(), option.name.clone(), kind))
        });
        let (id, fields) = asked(ask, call, &self.directory);
        self.choose(ToolCallUpdate::new(id, fields), options.collect()).await
    }

    /// Asks a question: the label that was chosen.
    pub(super) async fn question(&self, id: &str, asked: &Question) -> Option<String> {
        let mut options: Vec<_> = asked
            .options
            .iter()
            .enumerate()
            .map(|(at, option)| {
                let kind = PermissionOptionKind::AllowOnce;
                PermissionOption::new(at.to_string(), option.label.clone(), kind)
            })
            .collect();
        let none = PermissionOptionKind::RejectOnce;
        options.push(PermissionOption::new(NO_ANSWER, "Don't answer", none));
        let fields = ToolCallUpdateFields::new().title(asked.question.clone());
        let chosen = self.choose(ToolCallUpdate::new(id.to_owned(), fields), options).await?;
        let at: usize = chosen.parse().ok()?;
        asked.options.get(at).map(|option| option.label.clone())
    }

    async fn choose(&self, call: ToolCallUpdate, options: Vec<PermissionOption>) -> Option<String> {
        let request = RequestPermissionRequest::new(self.session.clone(), call, options);
        // A person takes as long as they take. When this is dropped, the editor is told so.
        match self.connection.send_request(request).block_task().await {
            Ok(answer) => match answer.outcome {
                RequestPermissionOutcome::Selected(chosen) => Some(chosen.option_id.0.to_string()),
                _ => None,
            },
            Err(error) => {
                tracing::warn!(%error, "the editor did not answer a permission");
                None
            }
        }
    }
}

/// What is to be allowed, as a tool call.
fn asked(
    ask: &PermissionAsk,
    call: Option<&ToolCall>,
    directory: &Path,
) -> (String, ToolCallUpdateFields) {
    let id = ask.tool_call_id.clone().unwrap_or_else(|| ask.request_id.clone());
    let mut fields =
        call.map_or_else(ToolCallUpdateFields::new, |call| update::fields(call, directory));
    let patterns = ask.patterns.join(", ");
    if call.is_none() || ask.permission == "external_directory" {
        fields = fields.title(format!("{}: {patterns}", ask.permission));
    }
    if let Some(diff) = ask.metadata["diff"].as_str() {
        let has_diffs = call.is_some_and(|call| !call.diffs.is_empty());
        if !has_diffs {
            fields = fields.content(vec![update::fenced("diff", diff)]);
        }
    }
    if call.is_none() && !ask.metadata.is_null() {
        fields = fields.raw_input(ask.metadata.clone());
    }
    (id, fields)
}

//! `repod acp`: an agent of the Agent Client Protocol, for editors. Not a runtime of its own: a client of
//! the repo's one warm backend, through its gateway, which holds what is asked of it while a backend or
//! the daemon is replaced.
//!
//! | room | holds |
//! |---|---|
//! | `session` | a conversation, and what was chosen for it |
//! | `turn` | one turn, followed to its end |
//! | `update` | from events to what an editor is told |
//! | `input` | from an editor's prompt to text and files |
//! | `editor` | what an editor is asked: permissions, files |
//! | `reply` | a person's answer on its way |
//! | `link` | the way to the backend |

mod editor;
mod input;
mod link;
mod reply;
mod session;
mod turn;
mod update;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::schema::{
    AgentCapabilities, CancelNotification, CloseSessionRequest, CloseSessionResponse,
    FileSystemCapabilities, Implementation, InitializeRequest, InitializeResponse,
    ListSessionsRequest, ListSessionsResponse, LoadSessionRequest, LoadSessionResponse,
    NewSessionRequest, NewSessionResponse, PromptCapabilities, PromptRequest, PromptResponse,
    ResumeSessionRequest, ResumeSessionResponse, SessionCapabilities, SessionCloseCapabilities,
    SessionConfigOptionValue, SessionId, SessionInfo, SessionListCapabilities,
    SessionResumeCapabilities, SetSessionConfigOptionRequest, SetSessionConfigOptionResponse,
    SetSessionModeRequest, SetSessionModeResponse,
};
use agent_client_protocol::v1::{ConnectionTo, Responder};
use agent_client_protocol::{
    Agent, Error, JsonRpcResponse, Stdio, on_receive_notification, on_receive_request,
};
use editor::Editor;
use link::{Link, failed};
use repod_client::Client;
use repod_proto::{ApiError, ErrorCode, REPOD_VERSION};
use session::Session;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long turns may take to end when the editor has gone.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Conversations listed.
const LISTED: u32 = 100;

type Peer = ConnectionTo<agent_client_protocol::Client>;

/// The agent of one editor.
pub(crate) struct Bridge {
    client: Client,
    /// Where conversations are listed when the editor names no directory.
    path: PathBuf,
    files: Mutex<FileSystemCapabilities>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

impl Bridge {
    pub(crate) fn new(client: Client, path: PathBuf) -> Arc<Self> {
        let (files, sessions) = Default::default();
        Arc::new(Self { client, path, files, sessions })
    }

    /// Serves standard input and output until the input ends; the backend goes on.
    pub(crate) async fn serve_stdio(self: Arc<Self>) -> Result<(), ApiError> {
        let [a, b, c, d, e, f, g, h, i, j] = std::array::from_fn(|_| Arc::clone(&self));
        let served = Agent
            .v1()
            .name("repod")
            .on_receive_request(
                async move |request: InitializeRequest, responder, _: Peer| {
                    responder.respond(a.initialize(&request))
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: NewSessionRequest, responder, peer: Peer| {
                    let bridge = Arc::clone(&b);
                    answer(&peer, responder, async move { bridge.create(&request.cwd).await })
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: LoadSessionRequest, responder, peer: Peer| {
                    let (bridge, to) = (Arc::clone(&c), peer.clone());
                    answer(&peer, responder, async move {
                        let session = bridge.take_up(&request.session_id, &request.cwd).await?;
                        session.replay(Some(&bridge.editor(&to, &session))).await?;
                        Ok(LoadSessionResponse::new()
                            .modes(session.modes())
                            .config_options(session.options()))
                    })
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: ResumeSessionRequest, responder, peer: Peer| {
                    let bridge = Arc::clone(&d);
                    answer(&peer, responder, async move {
                        let session = bridge.take_up(&request.session_id, &request.cwd).await?;
                        session.replay(None).await?;
                        Ok(ResumeSessionResponse::new()
                            .modes(session.modes())
                            .config_options(session.options()))
                    })
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: ListSessionsRequest, responder, peer: Peer| {
                    let bridge = Arc::clone(&e);
                    answer(&peer, responder, async move { bridge.list(request.cwd).await })
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: PromptRequest, responder, peer: Peer| {
                    f.prompt(request, responder, &peer)
                },
                on_receive_request!(),
            )
            .on_receive_notification(
                async move |request: CancelNotification, _: Peer| {
                    if let Ok(session) = g.session(&request.session_id) {
                        session.cancel();
                    }
                    Ok(())
                },
                on_receive_notification!(),
            )
            .on_receive_request(
                async move |request: SetSessionModeRequest, responder, _: Peer| {
                    let chosen = h
                        .session(&request.session_id)
                        .and_then(|session| session.choose(session::MODE, &request.mode_id.0));
                    responder.respond_with_result(
                        chosen.map(|()| SetSessionModeResponse::new()).map_err(refused),
                    )
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: SetSessionConfigOptionRequest, responder, _: Peer| {
                    responder.respond_with_result(i.configure(&request).map_err(refused))
                },
                on_receive_request!(),
            )
            .on_receive_request(
                async move |request: CloseSessionRequest, responder, _: Peer| {
                    if let Some(session) = j.sessions().remove(&*request.session_id.0) {
                        session.cancel();
                    }
                    responder.respond(CloseSessionResponse::new())
                },
                on_receive_request!(),
            )
            .connect_with(Stdio::new(), async |peer: Peer| {
                peer.incoming_closed().await;
                self.end().await;
                Ok(())
            })
            .await;
        served.map_err(|error| {
            ApiError::new(ErrorCode::InvalidRequest, format!("no ACP client: {}", error.message))
                .hint("`repod acp` speaks the Agent Client Protocol; docs/acp.md says how to add it to an editor")
        })
    }

    fn initialize(&self, request: &InitializeRequest) -> InitializeResponse {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) =
            request.client_capabilities.fs.clone();
        let sessions = SessionCapabilities::new()
            .list(SessionListCapabilities::new())
            .resume(SessionResumeCapabilities::new())
            .close(SessionCloseCapabilities::new());
        let capabilities = AgentCapabilities::new()
            .load_session(true)
            .prompt_capabilities(PromptCapabilities::new().image(true).embedded_context(true))
            .session_capabilities(sessions);
        InitializeResponse::new(ProtocolVersion::V1).agent_capabilities(capabilities).agent_info(
            Implementation::new("repod", REPOD_VERSION).title("OpenCode (repod)".to_owned()),
        )
    }

    async fn create(&self, cwd: &Path) -> Result<NewSessionResponse, ApiError> {
        let session = Arc::new(Session::create(&self.client, cwd).await?);
        let id = session.of.session.clone();
        let answer = NewSessionResponse::new(id.clone())
            .modes(session.modes())
            .config_options(session.options());
        self.sessions().insert(id, session);
        Ok(answer)
    }

    async fn take_up(&self, id: &SessionId, cwd: &Path) -> Result<Arc<Session>, ApiError> {
        let session = Arc::new(Session::known(&self.client, cwd, &id.0).await?);
        self.sessions().insert(id.0.to_string(), Arc::clone(&session));
        Ok(session)
    }

    async fn list(&self, cwd: Option<PathBuf>) -> Result<ListSessionsResponse, ApiError> {
        let path = cwd.unwrap_or_else(|| self.path.clone());
        let live = Link::new(&self.client, &path).live().await?;
        let directory = live.directory.to_string_lossy().into_owned();
        let known = live.backend.root_sessions(&directory, LISTED).await.map_err(failed)?;
        let info = |known: repod_opencode::SessionInfo| {
            let changed = i64::try_from(known.time.updated).unwrap_or(i64::MAX);
            let changed = jiff::Timestamp::from_millisecond(changed).ok();
            SessionInfo::new(known.id, known.directory)
                .title(known.title)
                .updated_at(changed.map(|time| time.to_string()))
        };
        Ok(ListSessionsResponse::new(known.into_iter().map(info).collect()))
    }

    /// In the order in which prompts and cancels come: a cancel is for the prompts before it.
    fn prompt(
        self: &Arc<Self>,
        request: PromptRequest,
        responder: Responder<PromptResponse>,
        peer: &Peer,
    ) -> Result<(), Error> {
        let session = match self.session(&request.session_id) {
            Ok(session) => session,
            Err(error) => return responder.respond_with_error(refused(error)),
        };
        let (editor, cancel) = (self.editor(peer, &session), session.cancellation());
        answer(peer, responder, async move {
            let stopped = session.prompt(request.prompt, &editor, cancel).await?;
            Ok(PromptResponse::new(stopped))
        })
    }

    fn configure(
        &self,
        request: &SetSessionConfigOptionRequest,
    ) -> Result<SetSessionConfigOptionResponse, ApiError> {
        let session = self.session(&request.session_id)?;
        let SessionConfigOptionValue::ValueId { value } = &request.value else {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "this is no switch"));
        };
        session.choose(&request.config_id.0, &value.0)?;
        Ok(SetSessionConfigOptionResponse::new(session.options()))
    }

    fn session(&self, id: &SessionId) -> Result<Arc<Session>, ApiError> {
        self.sessions().get(&*id.0).cloned().ok_or_else(|| {
            let message = format!("no session `{}` is open here", id.0);
            ApiError::new(ErrorCode::PathNotFound, message).hint("load it first")
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn editor(&self, peer: &Peer, session: &Session) -> Editor {
        Editor {
            connection: peer.clone(),
            session: session.of.session.clone(),
            directory: session::directory(session),
            files: self.files.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Nobody sees the turns any more, or allows what they ask: they end.
    async fn end(&self) {
        let sessions: Vec<_> = self.sessions().values().cloned().collect();
        sessions.iter().for_each(|session| session.cancel());
        let ended = async {
            for session in &sessions {
                session.idle().await;
            }
        };
        if tokio::time::timeout(END_LIMIT, ended).await.is_err() {
            tracing::warn!("the editor is gone, and a turn did not end in time");
        }
    }
}

/// Answers when the work is done; other messages are taken meanwhile.
fn answer<T: JsonRpcResponse + Send + 'static>(
    peer: &Peer,
    responder: Responder<T>,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<(), Error> {
    peer.spawn(async move { responder.respond_with_result(work.await.map_err(refused)) })
}

/// An error as an editor shows it: cause, and what to do.
#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn refused(error: ApiError) -> Error {
    let code = match error.code {
        ErrorCode::InvalidRequest => -32602,
        ErrorCode::PathNotFound => -32002,
        _ => -32603,
    };
    let hint = error.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Error::new(code, format!("{}{hint}", error.message))
        .data(serde_json::json!({ "code": error.code.to_string() }))
}

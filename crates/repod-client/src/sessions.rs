//! Agent sessions: made, resumed, prompted, followed to the end of a turn whatever becomes of the daemon.

use crate::call::{Client, absolute, escaped};
use crate::lines::Lines;
use hyper::Method;
use repod_proto::agent::{AgentEvent, TurnOutcome};
use repod_proto::{
    ApiError, ErrorBody, ErrorCode, SessionAbortReport, SessionAbortRequest, SessionAnswer,
    SessionDetail, SessionEnsured, SessionInfo, SessionRequest, TurnBegun, TurnLine, TurnRequest,
};
use std::path::Path;
use std::time::Duration;

/// How often a turn is gone back to whose stream broke, without an event in between; and the pause.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(250);

/// A session, by its name and, where more than one repo may have one of that name, by its repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionName {
    name: String,
    query: String,
}

impl SessionName {
    /// The session of this name, which only one repo has.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), query: String::new() }
    }

    /// The session of this name in the repo the path lies in.
    ///
    /// # Errors
    /// When the path is not UTF-8.
    pub fn in_repo(name: impl Into<String>, path: &Path) -> Result<Self, ApiError> {
        let query = format!("path={}", escaped(&absolute(path)?));
        Ok(Self { name: name.into(), query })
    }

    /// As it was made or resumed.
    pub fn of(session: &SessionInfo) -> Self {
        let query = format!("repo_id={}", session.repo_id);
        Self { name: session.session_id.clone(), query }
    }

    fn path(&self, rest: &str, more: &str) -> String {
        let name = escaped(&self.name).replace('/', "%2F");
        let query = [self.query.as_str(), more];
        let query: Vec<_> = query.into_iter().filter(|part| !part.is_empty()).collect();
        format!("/v1/sessions/{name}{rest}?{}", query.join("&"))
    }
}

impl Client {
    /// Creates a session, or resumes the one of this name; its backend is started when there is none.
    ///
    /// # Errors
    /// When the path is in no repo, the model is none, or the backend does not come up.
    pub async fn ensure_session(
        &self,
        mut request: SessionRequest,
    ) -> Result<SessionEnsured, ApiError> {
        request.path = absolute(Path::new(&request.path))?;
        self.live(&request.path).await?;
        request.env = request.env.or_else(|| self.caller_env());
        self.call(Method::POST, "/v1/sessions", &request).await
    }

    /// Sessions, the last active first; of the repo the path lies in, or of all.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub async fn sessions(
        &self,
        path: Option<&Path>,
        closed: bool,
        limit: u32,
    ) -> Result<Vec<SessionInfo>, ApiError> {
        let mut query = format!("closed={closed}&limit={limit}");
        if let Some(path) = path {
            query = format!("{query}&path={}", escaped(&absolute(path)?));
        }
        self.call(Method::GET, &format!("/v1/sessions?{query}"), &()).await
    }

    /// One session, with its last turns.
    ///
    /// # Errors
    /// When there is none of this name, or more than one.
    pub async fn session(&self, session: &SessionName) -> Result<SessionDetail, ApiError> {
        self.call(Method::GET, &session.path("", ""), &()).await
    }

    /// Puts a prompt in line and answers at once.
    ///
    /// # Errors
    /// When the session is busy and waiting was not wanted.
    pub async fn begin_turn(
        &self,
        session: &SessionName,
        request: &TurnRequest,
    ) -> Result<TurnBegun, ApiError> {
        self.call(Method::POST, &session.path("/turns", ""), request).await
    }

    /// Prompts a session and follows the turn. Its events go on after the daemon's death.
    ///
    /// # Errors
    /// As for [`begin_turn`](Self::begin_turn).
    pub async fn prompt_session(
        &self,
        session: &SessionName,
        mut request: TurnRequest,
    ) -> Result<TurnStream, ApiError> {
        // Named here: a request that is sent again, because the daemon died, is the same turn.
        let turn_id = match request.turn_id.take() {
            Some(id) => id,
            None => crate::route::random_id("turn")?,
        };
        request.turn_id = Some(turn_id.clone());
        let path = session.path("/turns", "");
        let lines = self.lines(Method::POST, &path, &request).await?;
        let (client, session) = (self.clone(), session.clone());
        Ok(TurnStream { client, session, turn_id, after: 0, lines: Some(lines), tries: 0 })
    }

    /// Follows a turn that is there, after the event of this number (0: from its begin).
    ///
    /// # Errors
    /// When there is no such turn.
    pub async fn follow_turn(
        &self,
        session: &SessionName,
        turn_id: &str,
        after: u64,
    ) -> Result<TurnStream, ApiError> {
        let (client, session) = (self.clone(), session.clone());
        let turn_id = turn_id.to_owned();
        let mut stream = TurnStream { client, session, turn_id, after, lines: None, tries: 0 };
        stream.lines = Some(stream.open().await?);
        Ok(stream)
    }

    /// Ends one turn of a session, or all it has in line.
    ///
    /// # Errors
    /// When there is no such session.
    pub async fn abort_session(
        &self,
        session: &SessionName,
        turn_id: Option<&str>,
    ) -> Result<SessionAbortReport, ApiError> {
        let request = SessionAbortRequest { turn_id: turn_id.map(str::to_owned) };
        self.call(Method::POST, &session.path("/abort", ""), &request).await
    }

    /// Ends what a session does and closes it.
    ///
    /// # Errors
    /// When there is no such session.
    pub async fn close_session(&self, session: &SessionName) -> Result<SessionDetail, ApiError> {
        self.call(Method::POST, &session.path("/close", ""), &()).await
    }

    /// Answers a permission or a question.
    ///
    /// # Errors
    /// When nobody asks that any more.
    pub async fn answer_session(
        &self,
        session: &SessionName,
        answer: &SessionAnswer,
    ) -> Result<(), ApiError> {
        let path = session.path("/answer", "");
        self.call::<serde_json::Value>(Method::POST, &path, answer).await.map(drop)
    }
}

/// What a turn tells, to its end.
pub struct TurnStream {
    client: Client,
    session: SessionName,
    turn_id: String,
    after: u64,
    lines: Option<Lines>,
    tries: u32,
}

impl TurnStream {
    /// The turn's name.
    pub fn turn_id(&self) -> &str {
        &self.turn_id
    }

    /// The next event; `None` after the turn's last. A stream that breaks is taken up again where it was.
    ///
    /// # Errors
    /// When it can't be, or the daemon says that the turn can't be told on.
    pub async fn next(&mut self) -> Result<Option<TurnLine>, ApiError> {
        loop {
            let Some(lines) = &mut self.lines else { return Ok(None) };
            let broke = match lines.next().await {
                Ok(Some(line)) if line.is_empty() => continue,
                Ok(Some(line)) => match self.read(&line) {
                    Ok(line) => return Ok(Some(line)),
                    // Half a line, from a daemon that died.
                    Err(error) => error,
                },
                Ok(None) => ApiError::new(ErrorCode::DaemonUnavailable, "the daemon hung up"),
                Err(error) => error,
            };
            if broke.code != ErrorCode::DaemonUnavailable {
                self.lines = None;
                return Err(broke);
            }
            self.take_up_again(broke).await?;
        }
    }

    async fn take_up_again(&mut self, mut broke: ApiError) -> Result<(), ApiError> {
        while self.tries < TRIES {
            self.tries += 1;
            tokio::time::sleep(PAUSE).await;
            match self.open().await {
                Ok(lines) => {
                    self.lines = Some(lines);
                    return Ok(());
                }
                Err(error) if error.code == ErrorCode::DaemonUnavailable => broke = error,
                Err(error) if error.code == ErrorCode::ShuttingDown => broke = error,
                Err(error) => {
                    self.lines = None;
                    return Err(error);
                }
            }
        }
        self.lines = None;
        Err(broke)
    }

    async fn open(&self) -> Result<Lines, ApiError> {
        let turn = format!("/turns/{}", escaped(&self.turn_id).replace('/', "%2F"));
        let path = self.session.path(&turn, &format!("after={}", self.after));
        self.client.lines(Method::GET, &path, &()).await
    }

    fn read(&mut self, line: &[u8]) -> Result<TurnLine, ApiError> {
        let told: TurnLine = match serde_json::from_slice(line) {
            Ok(told) => told,
            Err(error) => {
                let failure: Result<ErrorBody, _> = serde_json::from_slice(line);
                let garbled =
                    || ApiError::new(ErrorCode::DaemonUnavailable, format!("no event: {error}"));
                return Err(failure.map_or_else(|_| garbled(), |body| body.error));
            }
        };
        (self.after, self.tries) = (told.id, 0);
        if let AgentEvent::Turn(end) = &told.event
            && end.outcome != TurnOutcome::Waiting
        {
            self.lines = None;
        }
        Ok(told)
    }
}

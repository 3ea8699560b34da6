//! Typed calls: one method for each verb of the socket API.

use crate::connect::{StartPolicy, connect};
use crate::lines::Lines;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use repod_proto::{
    Activity, AdoptRequest, ApiError, DaemonInfo, EjectRequest, Endpoint, EnsureProgress,
    EnsureRequest, ErrorBody, ErrorCode, GcReport, GcRequest, HibernateReport, HibernateRequest,
    HistoryReport, Home, LeaseHeld, LeaseHoldRequest, LeaseInfo, LeaseReleaseReport,
    LeaseReleaseRequest, REQUEST_ID_HEADER, REQUEST_ID_VARIABLE, RepoStatus, RepoSummary,
    RequestId, RequestIdError, RestartRequest, ShutdownReport, ShutdownRequest, StopReport,
    StopRequest, StreamItem, WebOpened,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest answer taken in one piece.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// How often a request is sent whose daemon dies before it answers.
const TRIES: u32 = 3;
/// Marks the error of a daemon that died before it answered.
const HUNG_UP: &str = "hung_up";

/// A way to the daemon of one home. Cheap to make; every call uses a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    home: Home,
    policy: StartPolicy,
    env: Option<BTreeMap<String, String>>,
    request_id: Option<RequestId>,
}

impl Client {
    /// The client of `$REPOD_HOME` (default `~/.opencode`) and of this process's environment.
    ///
    /// # Errors
    /// [`ErrorCode::HomeUnusable`] when neither `REPOD_HOME` nor `HOME` is an absolute path;
    /// [`ErrorCode::InvalidRequest`] when `REPOD_REQUEST_ID` is set to what can't name a request.
    pub fn from_env() -> Result<Self, ApiError> {
        let home = Home::from_env(|name| std::env::var_os(name)).ok_or_else(|| {
            ApiError::new(
                ErrorCode::HomeUnusable,
                "neither REPOD_HOME nor HOME is an absolute path",
            )
            .hint("set REPOD_HOME to a directory of your own")
        })?;
        let client = Self::new(home).env(current_env());
        Ok(match named_request()? {
            Some(id) => client.request_id(id),
            None => client,
        })
    }

    /// A client of this home, which starts the `repod` on `PATH` when no daemon runs.
    pub fn new(home: Home) -> Self {
        Self { home, policy: StartPolicy::FromPath, env: None, request_id: None }
    }

    /// Whether, and with which binary, a daemon may be started. `Never` also keeps backends from
    /// being started.
    #[must_use]
    pub fn start_policy(mut self, policy: StartPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The environment a backend gets that has to be started for this client.
    #[must_use]
    pub fn env(mut self, env: BTreeMap<String, String>) -> Self {
        self.env = Some(env);
        self
    }

    /// What all its requests are called in logs, from here to the backend. Without this, each has a
    /// name of its own.
    #[must_use]
    pub fn request_id(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Whether all its requests have one name.
    pub fn is_named(&self) -> bool {
        self.request_id.is_some()
    }

    pub(crate) fn may_start(&self) -> bool {
        self.policy != StartPolicy::Never
    }

    /// The home this client talks to.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The endpoint of the repository `path` lies in; its backend is started when there is none.
    ///
    /// # Errors
    /// What the daemon says, or why it can't be reached.
    pub async fn ensure_running(&self, path: impl AsRef<Path>) -> Result<Endpoint, ApiError> {
        self.call(Method::POST, "/v1/ensure", &self.ensure_request(path.as_ref())?).await
    }

    /// Like [`ensure_running`](Self::ensure_running), and tells what is going on meanwhile.
    ///
    /// # Errors
    /// As there.
    pub async fn ensure_with_progress(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(EnsureProgress),
    ) -> Result<Endpoint, ApiError> {
        let request = self.ensure_request(path.as_ref())?;
        let mut lines = self.lines(Method::POST, "/v1/ensure", &request).await?;
        while let Some(line) = lines.next().await? {
            match serde_json::from_slice(&line).map_err(|error| garbled(&error.to_string()))? {
                StreamItem::Progress(item) => progress(item),
                StreamItem::Ready(endpoint) => return Ok(*endpoint),
                StreamItem::Error(error) => return Err(error),
            }
        }
        Err(garbled("the answer ended early"))
    }

    /// Have the dashboard served, and get a link to it.
    ///
    /// # Errors
    /// When the daemon can't be reached, or no port can be had.
    pub async fn web(&self) -> Result<WebOpened, ApiError> {
        self.call(Method::POST, "/v1/web", &serde_json::json!({})).await
    }

    /// Every repo of the home.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub async fn ps(&self) -> Result<Vec<RepoSummary>, ApiError> {
        self.call(Method::GET, "/v1/ps", &()).await
    }

    /// What goes on in every repo just now; cheap enough to be asked every second.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub async fn activity(&self) -> Result<Activity, ApiError> {
        self.call(Method::GET, "/v1/activity", &()).await
    }

    /// One repo.
    ///
    /// # Errors
    /// When the path is not one, or its record can't be used.
    pub async fn status(&self, path: impl AsRef<Path>) -> Result<RepoStatus, ApiError> {
        let path = absolute(path.as_ref())?;
        self.call(Method::GET, &format!("/v1/status?path={}", escaped(&path)), &()).await
    }

    /// Ends backends with all their processes.
    ///
    /// # Errors
    /// When the target is not known; what failed for one repo of many is in the report.
    pub async fn stop(&self, request: &StopRequest) -> Result<StopReport, ApiError> {
        self.call(Method::POST, "/v1/stop", request).await
    }

    /// Puts backends to sleep that nobody needs just now.
    ///
    /// # Errors
    /// When the target is not known; what stays awake of many is in the report.
    pub async fn hibernate(&self, request: &HibernateRequest) -> Result<HibernateReport, ApiError> {
        self.call(Method::POST, "/v1/hibernate", request).await
    }

    /// Brings over from the user's shared database what was added since.
    ///
    /// # Errors
    /// `history_*`, or when the backend is in use.
    pub async fn adopt(&self, path: impl AsRef<Path>) -> Result<HistoryReport, ApiError> {
        let request = AdoptRequest { path: absolute(path.as_ref())?, env: self.env.clone() };
        self.call(Method::POST, "/v1/adopt", &request).await
    }

    /// Brings the repo's sessions back into the user's shared database and puts its own aside.
    ///
    /// # Errors
    /// `history_*`, or when the backend can't be stopped.
    pub async fn eject(&self, path: impl AsRef<Path>) -> Result<HistoryReport, ApiError> {
        let request = EjectRequest { path: absolute(path.as_ref())?, env: self.env.clone() };
        self.call(Method::POST, "/v1/eject", &request).await
    }

    /// Who may write where.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub async fn leases(&self) -> Result<Vec<LeaseInfo>, ApiError> {
        self.call(Method::GET, "/v1/leases", &()).await
    }

    /// Takes a lease away from whoever holds it.
    ///
    /// # Errors
    /// When the path is in no repo, or the branch is none.
    pub async fn release_lease(
        &self,
        request: &LeaseReleaseRequest,
    ) -> Result<LeaseReleaseReport, ApiError> {
        self.call(Method::POST, "/v1/lease/release", request).await
    }

    /// Waits for a branch's lease and holds it, as long as what is returned is not dropped.
    ///
    /// # Errors
    /// When it does not come free in time.
    pub async fn hold_lease(&self, request: &LeaseHoldRequest) -> Result<HeldLease, ApiError> {
        let mut lines = self.lines(Method::POST, "/v1/lease/hold", request).await?;
        let first = lines.next().await?.ok_or_else(|| garbled("the answer ended early"))?;
        let lease = serde_json::from_slice(&first).map_err(|error| garbled(&error.to_string()))?;
        Ok(HeldLease { lease, lines })
    }

    /// Stops and starts; also unparks a failed repo.
    ///
    /// # Errors
    /// As for `ensure`.
    pub async fn restart(&self, mut request: RestartRequest) -> Result<Vec<Endpoint>, ApiError> {
        request.env = request.env.or_else(|| self.env.clone());
        self.call(Method::POST, "/v1/restart", &request).await
    }

    /// Clears stale registry entries and left-over processes of backends that are gone.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub async fn gc(&self, request: &GcRequest) -> Result<GcReport, ApiError> {
        self.call(Method::POST, "/v1/gc", request).await
    }

    /// Which daemon answers.
    ///
    /// # Errors
    /// When it can't be reached.
    pub async fn version(&self) -> Result<DaemonInfo, ApiError> {
        self.call(Method::GET, "/v1/version", &()).await
    }

    /// Ends the daemon; never starts one for it.
    ///
    /// # Errors
    /// [`ErrorCode::NotRunning`] when there is none.
    pub async fn shutdown(&self, request: &ShutdownRequest) -> Result<ShutdownReport, ApiError> {
        let never = self.clone().start_policy(StartPolicy::Never);
        never.call(Method::POST, "/v1/shutdown", request).await
    }

    fn ensure_request(&self, path: &Path) -> Result<EnsureRequest, ApiError> {
        Ok(EnsureRequest {
            path: absolute(path)?,
            start: self.may_start(),
            env: self.env.clone(),
            timeout_seconds: None,
        })
    }

    pub(crate) fn caller_env(&self) -> Option<BTreeMap<String, String>> {
        self.env.clone()
    }

    /// A request whose answer comes in lines.
    pub(crate) async fn lines(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines, ApiError> {
        let body = if method == Method::GET { Bytes::new() } else { to_json(body)? };
        let response = self.send(method, path, body, "application/x-ndjson").await?;
        if !response.status().is_success() {
            return Err(read_error(response).await);
        }
        Ok(Lines::new(response.into_body()))
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = if method == Method::GET { Bytes::new() } else { to_json(body)? };
        let response = self.send(method, path, body, "application/json").await?;
        if !response.status().is_success() {
            return Err(read_error(response).await);
        }
        let body = read_all(response).await?;
        serde_json::from_slice(&body).map_err(|error| garbled(&error.to_string()))
    }

    /// Sends a request. Every verb may be repeated, so a daemon that dies before it answers is asked
    /// again: its standby has taken its place by then, or the next try starts another.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        accept: &str,
    ) -> Result<Response<Incoming>, ApiError> {
        let id = match &self.request_id {
            Some(id) => id.clone(),
            None => random_request()?,
        };
        let mut tries = 1;
        loop {
            let head = (method.clone(), path, accept, &id);
            match self.send_once(head, body.clone()).await {
                Err(error) if error.details.contains_key(HUNG_UP) && tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn send_once(
        &self,
        (method, path, accept, id): (Method, &str, &str, &RequestId),
        body: Bytes,
    ) -> Result<Response<Incoming>, ApiError> {
        let stream = connect(&self.home, &self.policy).await?;
        let lost = |error: hyper::Error| {
            ApiError::new(ErrorCode::DaemonUnavailable, format!("the daemon hung up: {error}"))
                .hint("ask again: it is back within a second")
                .detail(HUNG_UP, true)
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "repod")
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .header(REQUEST_ID_HEADER, id.as_str())
            .body(Full::new(body))
            .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.to_string()))?;
        sender.send_request(request).await.map_err(lost)
    }
}

/// A lease that is held as long as this is.
pub struct HeldLease {
    /// Which.
    pub lease: LeaseHeld,
    lines: Lines,
}

impl HeldLease {
    /// Returns when it was lost: taken away, or the daemon ended.
    pub async fn lost(&mut self) {
        while let Ok(Some(_)) = self.lines.next().await {}
    }
}

/// The request this process is part of, as its environment says it.
fn named_request() -> Result<Option<RequestId>, ApiError> {
    let Some(text) = std::env::var_os(REQUEST_ID_VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.to_string_lossy().parse().map(Some).map_err(|error: RequestIdError| {
        let message = format!("`{REQUEST_ID_VARIABLE}`: {error}");
        ApiError::new(ErrorCode::InvalidRequest, message)
            .hint(format!("unset {REQUEST_ID_VARIABLE}, and a name is made"))
    })
}

/// A new name for a request.
///
/// # Errors
/// When the kernel has no randomness.
pub fn random_request() -> Result<RequestId, ApiError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("no random: {error}")))?;
    Ok(RequestId::random(u128::from_be_bytes(bits)))
}

/// This process's environment as far as it is UTF-8 (JSON can't carry the rest). The name of the request is
/// left out: a backend lives on after it.
fn current_env() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter(|(name, _)| name != REQUEST_ID_VARIABLE)
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

pub(crate) fn absolute(path: &Path) -> Result<String, ApiError> {
    let path: PathBuf = std::path::absolute(path).map_err(|error| {
        ApiError::new(ErrorCode::PathNotFound, format!("`{}`: {error}", path.display()))
    })?;
    path.into_os_string().into_string().map_err(|path| {
        let message =
            format!("`{}` is not UTF-8, and OpenCode can't open such a path", path.display());
        ApiError::new(ErrorCode::PathNotUtf8, message).hint("rename the directory")
    })
}

/// Percent-encodes a query value.
pub(crate) fn escaped(value: &str) -> String {
    value.bytes().map(escape).collect()
}

/// Percent-encodes one byte of a query value unless it is harmless everywhere.
fn escape(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

fn to_json(body: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.to_string()))
}

pub(crate) fn garbled(cause: &str) -> ApiError {
    ApiError::new(ErrorCode::DaemonUnavailable, format!("the daemon's answer can't be read: {cause}"))
        .hint("`repod version` shows whether the daemon is of another version; `repod shutdown` lets a new one start")
}

async fn read_all(response: Response<Incoming>) -> Result<Bytes, ApiError> {
    let body = Limited::new(response.into_body(), ANSWER_MAX);
    body.collect().await.map(|body| body.to_bytes()).map_err(|error| garbled(&error.to_string()))
}

async fn read_error(response: Response<Incoming>) -> ApiError {
    let status = response.status();
    match read_all(response).await {
        Err(error) => error,
        Ok(body) => match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => body.error,
            Err(_) => garbled(&format!("HTTP {status} without an error body")),
        },
    }
}

//! coordinate: what may write waits here. A turn goes to a directory whose guard is there, and its tool
//! calls ask for themselves; what writes without a tool call takes the lease of its branch itself, for as
//! long as it takes.

use super::refuse::{Reason, Refusal};
use super::route::{Route, percent_decode};
use super::{Gate, Visit};
use crate::coordination::{
    Ask, CallId, Granted, Guarded, Hold, Kind, LeaseKey, OwnerId, Party, branch_of, wait,
};
use hyper::Method;
use hyper::Request;
use repod_opencode::{BackendClient, ProbeError, SessionInfo};
use repod_proto::{ApiError, ErrorCode, Generation};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a request writes in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// It begins a turn of this session.
    Turn(String),
    /// It does so itself, for this session.
    Session(String),
    /// It does so itself, in the directory it names.
    Directory,
}

/// What such a request does, if it does.
pub(super) fn writes(method: &Method, path: &str, normalised: &str) -> Option<Writes> {
    if method.is_safe() {
        return None;
    }
    let segments: Vec<&str> = normalised.split('/').filter(|segment| !segment.is_empty()).collect();
    let session = || {
        let mut raw = path.split('/').filter(|segment| !segment.is_empty()).skip(1);
        let id = String::from_utf8_lossy(&percent_decode(raw.next()?)).into_owned();
        Some(id)
    };
    Some(match segments.as_slice() {
        ["session", _, "message" | "prompt_async" | "command" | "init"]
            if *method == Method::POST =>
        {
            Writes::Turn(session()?)
        }
        ["session", _, "shell" | "revert" | "unrevert"] => Writes::Session(session()?),
        ["vcs", "apply"] | ["project", "git", "init"] => Writes::Directory,
        ["experimental", "worktree", ..] => Writes::Directory,
        ["experimental", "project", _, "copy"] => Writes::Directory,
        ["experimental", "control-plane", "move-session"] => Writes::Directory,
        // Writes a file of the project.
        ["config"] => Writes::Directory,
        _ => return None,
    })
}

/// Waits until the request may write. What is returned is held until it has been answered.
pub(super) async fn coordinate<B>(
    visit: &Visit,
    route: &Route,
    request: &Request<B>,
) -> Result<Option<Granted>, Refusal> {
    let Some(writes) = &route.writes else { return Ok(None) };
    let view = visit.handle.view();
    let Some(process) = view.process.as_ref() else { return Ok(None) };
    let backend = BackendClient::new(process.port, process.password.clone());
    let named = || route.directory(request.headers());
    let own = || visit.handle.repo().root.display().to_string();
    match writes {
        Writes::Turn(id) => {
            if let Some(session) = session(&backend, id).await? {
                let place = Guarded {
                    repo: &visit.handle.repo().id,
                    generation: view.generation,
                    directory: &session.directory,
                };
                let coordination = &visit.gate.gateway.coordination;
                coordination.guarded(place, process, &backend).await.map_err(Refusal::unguarded)?;
            }
            Ok(None)
        }
        Writes::Session(id) => match session(&backend, id).await? {
            Some(session) => {
                lease(visit, view.generation, Some(&session), &session.directory).await
            }
            None => Ok(None),
        },
        Writes::Directory => {
            let directory = named().unwrap_or_else(own);
            lease(visit, view.generation, None, &directory).await
        }
    }
}

/// The session, unless there is none: that is OpenCode's to say.
async fn session(backend: &BackendClient, id: &str) -> Result<Option<SessionInfo>, Refusal> {
    match backend.session(id).await {
        Ok(session) => Ok(Some(session)),
        Err(ProbeError::Failed { status: 400..=499, .. }) => Ok(None),
        Err(error) => {
            let message = format!("which directory this session works in can't be asked: {error}");
            Err(Refusal::new(Reason::Broke, message).hint("ask again"))
        }
    }
}

/// Takes the lease of the branch that is checked out there.
async fn lease(
    visit: &Visit,
    generation: Generation,
    session: Option<&SessionInfo>,
    directory: &str,
) -> Result<Option<Granted>, Refusal> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Gate { gateway, .. } = &*visit.gate;
    let repo = visit.handle.repo().id.clone();
    let located = gateway.locator.locate(directory).await.map_err(Refusal::write)?;
    let Some((key, worktree)) = branch_of(&located, &repo, Path::new(directory)) else {
        return Ok(None);
    };
    let name = format!("request-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let id = match session {
        Some(session) => OwnerId::Session { repo: repo.clone(), root: session.root().to_owned() },
        None => OwnerId::Outside(name.clone()),
    };
    let title = session.map_or("a client's request", |session| session.title.as_str());
    let party = Party {
        id,
        session_id: session.map_or(name.clone(), |session| session.id.clone()),
        title: title.to_owned(),
        directory: directory.to_owned(),
        generation: if session.is_some() { generation } else { Generation::default() },
        pid: None,
    };
    let ask = Ask {
        call: CallId(format!("{repo}/{name}")),
        party,
        key: LeaseKey::clone(&key),
        worktree: Some(worktree),
        what: "a request that writes".to_owned(),
        hold: Hold::Call,
        wait: wait(gateway.coordination.policy()),
        kind: Kind::LongRunning,
    };
    gateway.coordination.ask(ask, None).await.map(Some).map_err(Refusal::write)
}

impl Refusal {
    fn unguarded(error: ApiError) -> Self {
        let reason = match error.code {
            ErrorCode::BackendBroke => Reason::Broke,
            _ => Reason::GuardMissing,
        };
        Self::of(reason, error)
    }

    /// A write that may not be done now.
    fn write(error: ApiError) -> Self {
        Self::of(Reason::WriteRefused, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_is_known_by_its_path() {
        let post = |path: &str| writes(&Method::POST, path, &path.to_ascii_lowercase());
        assert_eq!(post("/session/ses_A/message"), Some(Writes::Turn("ses_A".into())));
        assert_eq!(post("/session/ses_A/prompt_async"), Some(Writes::Turn("ses_A".into())));
        assert_eq!(post("/session/ses_A/shell"), Some(Writes::Session("ses_A".into())));
        assert_eq!(post("/vcs/apply"), Some(Writes::Directory));
        assert_eq!(post("/experimental/worktree/reset"), Some(Writes::Directory));
        for reads in ["/session", "/session/ses_A/abort", "/session/ses_A/permissions/x", "/log"] {
            assert_eq!(post(reads), None, "{reads}");
        }
        assert_eq!(writes(&Method::GET, "/session/a/message", "/session/a/message"), None);
    }
}

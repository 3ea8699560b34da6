//! Binds a session to its conversation at the agent: the one it had, if that may be gone on with and the
//! agent has it still, or a new one; and puts that on record.

use super::backend::{Bound, SessionOptions};
use super::live::Live;
use super::stores::{Opened, failed, updated};
use super::{Sessions, model};
use crate::scope::{InstanceLease, Place};
use repod_proto::{ApiError, ErrorCode};
use repod_store::{Session, SessionChange, SessionStatus};

/// The conversation of a session. Warm, it is known without asking anybody.
pub(super) async fn bind(
    sessions: &Sessions,
    live: &Live,
    opened: &Opened,
    scope: &InstanceLease,
) -> Result<Bound, ApiError> {
    let _alone = live.binding.lock().await;
    let session = match live.session() {
        Some(session) => session,
        None => {
            let found = opened.store.session(&live.key).await.map_err(failed)?;
            found.ok_or_else(|| {
                ApiError::new(ErrorCode::SessionNotFound, "there is no such session")
            })?
        }
    };
    let options = options(&session);
    let hash = model::config_hash(&session.model, &session.agent);
    let is_sound = session.status != SessionStatus::Crashed && session.config_hash == hash;
    let known = session.agent_session_id.as_deref().filter(|_| is_sound);
    if let Some(id) = known
        && live.verified() == Some(scope.generation)
    {
        return Ok(Bound { id: id.to_owned(), is_new: false, reason: "", options });
    }
    let mut bound = sessions.agent().ensure_session(known, &options, scope).await?;
    if session.status == SessionStatus::Crashed {
        bound.reason = "its last turn ended in doubt";
    } else if !is_sound {
        bound.reason = "its model or its agent is another now";
    }
    let change = SessionChange {
        agent_session_id: bound.is_new.then(|| bound.id.clone()),
        generation: Some(scope.generation.0),
        server_port: port(scope),
        directory: Some(scope.directory.clone()),
        config_hash: Some(hash),
        ..SessionChange::default()
    };
    let store = &opened.store;
    let updating = store.update(&opened.owner, &live.key, session.generation, &change);
    live.note(updated(updating.await.map_err(failed)?)?);
    live.verify(Some(scope.generation));
    Ok(bound)
}

/// The port of the repo's endpoint.
fn port(scope: &InstanceLease) -> Option<u16> {
    let (repo, directory) = (scope.handle.repo(), scope.place.located.directory.as_path());
    let url = scope.handle.view().endpoint(repo, directory, None).url?;
    url.rsplit(':').next()?.parse().ok()
}

/// A session without a name for people gets the one the agent has given its conversation.
pub(super) async fn entitle(
    sessions: &Sessions,
    live: &Live,
    place: &Place,
    opened: &Opened,
) -> Result<(), ApiError> {
    let Some(session) = live.session().filter(|session| session.title.is_empty()) else {
        return Ok(());
    };
    let Some(id) = &session.agent_session_id else { return Ok(()) };
    if !sessions.is_awake(&live.key, session.generation).await {
        return Ok(());
    }
    let scope = sessions.scopes().acquire(place).await?;
    let Some(title) = sessions.agent().title(id, &scope).await else { return Ok(()) };
    let change = SessionChange { title: Some(title), ..SessionChange::default() };
    let updating = opened.store.update(&opened.owner, &live.key, session.generation, &change);
    live.note(updated(updating.await.map_err(failed)?)?);
    Ok(())
}

pub(super) fn options(session: &Session) -> SessionOptions {
    SessionOptions {
        title: session.title.clone(),
        model: session.model.clone(),
        agent: session.agent.clone(),
    }
}

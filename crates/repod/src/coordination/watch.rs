//! What frees a lease without anybody asking: the end of a turn or of a call, as events tell it, and
//! the end of a backend.

use super::{CallId, Coordination, Event, OwnerId};
use crate::backend::{View, WeakHandle};
use crate::hub::Noted;
use repod_proto::{EnsureStep, Generation, RepoId};
use tokio::sync::mpsc;

/// Events that wait for the desk; what is lost is found by its regular look at quiet owners.
const EVENTS_MAX: usize = 4096;

/// Runs as long as the repo is managed.
pub(super) async fn run(coordination: Coordination, handle: WeakHandle) {
    let repo = handle.id().clone();
    let (tap, mut noted) = mpsc::channel(EVENTS_MAX);
    let Some(mut views) = handle.upgrade().map(|handle| {
        handle.hub().tap(tap);
        handle.watch()
    }) else {
        return;
    };
    let mut gone = Generation::default();
    loop {
        let view = views.borrow_and_update().clone();
        let now = gone_by(&view);
        if now > gone {
            gone = now;
            let repo = repo.clone();
            coordination.tell(Event::BackendGone { repo, generation: gone }).await;
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            event = noted.recv() => match event {
                Some(event) => tell(&coordination, &repo, event).await,
                None => return,
            },
        }
    }
}

/// Up to which generation all are known to be gone, with everything they started.
fn gone_by(view: &View) -> Generation {
    let waits = matches!(view.step, Some(EnsureStep::Queued | EnsureStep::BackingOff));
    match &view.process {
        // Its end has been waited for.
        None if waits || !view.state.is_live() => view.generation,
        _ => Generation(view.generation.0.saturating_sub(1)),
    }
}

async fn tell(coordination: &Coordination, repo: &RepoId, noted: Noted) {
    let owner = |root: String| OwnerId::Session { repo: repo.clone(), root };
    let id = |session: &str, call: &str| CallId(format!("{repo}/{session}/{call}"));
    let event = match noted {
        Noted::Idle { session } => Event::TurnEnded { owner: owner(session) },
        Noted::Deleted { session } => Event::OwnerGone { owner: owner(session) },
        Noted::CallEnded { session, call } => Event::CallGone { call: id(&session, &call) },
        Noted::Asked { session, call, what } => {
            Event::Permission { call: id(&session, &call), on: Some(what) }
        }
        Noted::Answered { session, call } => {
            Event::Permission { call: id(&session, &call), on: None }
        }
    };
    coordination.tell(event).await;
}

//! One scope's life: how far it is, who uses it, and whether it is to end. All of it changes in one
//! place, so that nobody can enter what is being closed.

use super::Finalizers;
use repod_proto::ApiError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// See the module.
#[derive(Debug)]
pub(super) struct Cell<S> {
    state: watch::Sender<State<S>>,
    pub(super) undo: Finalizers,
}

#[derive(Debug)]
struct State<S> {
    stage: Stage<S>,
    users: usize,
    /// Nobody new may enter.
    leaving: bool,
    last_used: Instant,
}

#[derive(Debug)]
enum Stage<S> {
    Booting,
    Open(Arc<S>),
    Failed(ApiError),
    Closed,
}

/// One who is inside, as long as this is held.
#[derive(Debug)]
pub(super) struct User<S>(Arc<Cell<S>>);

impl<S> Drop for User<S> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            state.users -= 1;
            state.last_used = Instant::now();
        });
    }
}

impl<S> Cell<S> {
    pub(super) fn booting() -> Self {
        let state =
            State { stage: Stage::Booting, users: 0, leaving: false, last_used: Instant::now() };
        Self { state: watch::Sender::new(state), undo: Finalizers::default() }
    }

    /// Enters, unless it is being closed or is gone.
    pub(super) fn join(cell: &Arc<Self>) -> Option<User<S>> {
        let entered = cell.state.send_if_modified(|state| {
            let is_there = matches!(state.stage, Stage::Booting | Stage::Open(_));
            let may_enter = is_there && !state.leaving;
            state.users += usize::from(may_enter);
            may_enter
        });
        entered.then(|| User(Arc::clone(cell)))
    }

    /// Waits for the end of the boot.
    pub(super) async fn opened(&self) -> Result<Arc<S>, ApiError> {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| !matches!(state.stage, Stage::Booting)).await;
        match state.as_deref().map(|state| &state.stage) {
            Ok(Stage::Open(scope)) => Ok(Arc::clone(scope)),
            Ok(Stage::Failed(error)) => Err(error.clone()),
            _ => {
                let code = repod_proto::ErrorCode::Internal;
                Err(ApiError::new(code, "a directory was closed while it was in use"))
            }
        }
    }

    /// What is open, if it is.
    pub(super) fn scope(&self) -> Option<Arc<S>> {
        match &self.state.borrow().stage {
            Stage::Open(scope) => Some(Arc::clone(scope)),
            _ => None,
        }
    }

    pub(super) fn users(&self) -> usize {
        self.state.borrow().users
    }

    pub(super) fn open(&self, scope: S) {
        self.state.send_modify(|state| {
            state.stage = Stage::Open(Arc::new(scope));
            state.last_used = Instant::now();
        });
    }

    pub(super) fn fail(&self, error: ApiError) {
        self.state.send_modify(|state| state.stage = Stage::Failed(error));
    }

    pub(super) fn close(&self) {
        self.state.send_modify(|state| state.stage = Stage::Closed);
    }

    /// Lets nobody in any more; whether the caller is the first to say so.
    pub(super) fn leave(&self) -> bool {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.leaving, true))
    }

    /// The same, if nobody has been inside for so long.
    pub(super) fn leave_if_unused(&self, idle: Duration) -> bool {
        self.state.send_if_modified(|state| {
            let is_open = matches!(state.stage, Stage::Open(_)) && !state.leaving;
            let is_unused = state.users == 0 && state.last_used.elapsed() >= idle;
            state.leaving |= is_open && is_unused;
            is_open && is_unused
        })
    }

    /// It stays after all.
    pub(super) fn stay(&self) {
        self.state.send_modify(|state| state.leaving = false);
    }

    /// Waits until nobody is inside and its boot has ended.
    pub(super) async fn unused(&self) {
        let mut states = self.state.subscribe();
        let is_unused =
            |state: &State<S>| state.users == 0 && !matches!(state.stage, Stage::Booting);
        let _ = states.wait_for(is_unused).await;
    }

    /// Waits until it is gone, or stays.
    pub(super) async fn settled(&self) {
        let mut states = self.state.subscribe();
        let is_settled = |state: &State<S>| {
            !state.leaving || matches!(state.stage, Stage::Closed | Stage::Failed(_))
        };
        let _ = states.wait_for(is_settled).await;
    }
}

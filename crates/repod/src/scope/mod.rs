//! Scopes: what belongs to one directory that is open, for as long as somebody works in it.
//!
//! ```text
//!            acquire                 boot ok              last user left, disposed or idle
//!   (none) ──────────► booting ──────────────► open ─────────────────────────► closing ──► (none)
//!                         │ boot failed: finalizers in reverse ──► (none), the error to all who wait
//! ```
//!
//! One boot serves everybody who asks meanwhile, and whoever leaves cancels nothing. A boot that failed
//! is not remembered. The scope is handed to the work that runs in it and is found nowhere else: there is
//! no current directory, and nothing thread-local. [`Scopes::with`] is the usual way in; work that leaves
//! the caller's own tree of futures (a turn, which outlives the request that began it) carries the
//! [`Lease`] of [`Scopes::acquire`] with it, and that is the only bridge.

mod cell;
mod finalizers;
mod instance;
#[cfg(test)]
mod tests;

pub(crate) use finalizers::{End, Finalizers};
pub(crate) use instance::{InstanceBoot, InstanceLease, Instances, Place, guard};

use cell::{Cell, User};
use repod_proto::{ApiError, ErrorCode};
use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Longest boot: a cold start behind many others is most of it.
const BOOT_LIMIT: Duration = Duration::from_mins(5);

/// How a directory is opened. What a step has opened is undone by what it adds to the finalizers.
pub(crate) trait Boot: Send + Sync + 'static {
    /// A directory, decoded where the request came in.
    type Place: Clone + Send + Sync + 'static;
    /// What is open then.
    type Scope: Send + Sync + 'static;

    /// The directory a place is in.
    fn directory(place: &Self::Place) -> &Path;

    /// Opens it, step by step.
    fn boot(
        &self,
        place: Self::Place,
        undo: Finalizers,
    ) -> impl Future<Output = Result<Self::Scope, ApiError>> + Send;

    /// Whether it can still be used: what it was opened in may have ended by itself.
    fn is_current(&self, scope: &Self::Scope) -> bool;

    /// Whether it may be closed for want of use. Unknown is not idle.
    fn may_rest(&self, scope: &Self::Scope) -> bool;
}

/// All scopes of the daemon. Cheap to clone.
pub(crate) struct Scopes<B: Boot>(Arc<Inner<B>>);

struct Inner<B: Boot> {
    boot: B,
    cells: Mutex<Cells<B>>,
}

struct Cells<B: Boot> {
    open: HashMap<PathBuf, Arc<Cell<B::Scope>>>,
    /// Those another has taken the place of, until their last user has left.
    replaced: Vec<Arc<Cell<B::Scope>>>,
    closed: bool,
}

impl<B: Boot> Clone for Scopes<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A scope in use: it isn't closed before this is dropped.
pub(crate) struct Lease<B: Boot> {
    /// The place as it was asked for just now: a branch may be another than at the boot.
    pub(crate) place: B::Place,
    scope: Arc<B::Scope>,
    _user: User<B::Scope>,
}

impl<B: Boot> Deref for Lease<B> {
    type Target = B::Scope;

    fn deref(&self) -> &B::Scope {
        &self.scope
    }
}

impl<B: Boot> Scopes<B> {
    pub(crate) fn new(boot: B) -> Self {
        let cells = Cells { open: HashMap::new(), replaced: Vec::new(), closed: false };
        Self(Arc::new(Inner { boot, cells: Mutex::new(cells) }))
    }

    /// Works in the scope of a directory, which is opened if it isn't.
    pub(crate) async fn with<T>(
        &self,
        place: &B::Place,
        work: impl AsyncFnOnce(&Lease<B>) -> T,
    ) -> Result<T, ApiError> {
        let lease = self.acquire(place).await?;
        Ok(work(&lease).await)
    }

    /// The scope of a directory, opened if it isn't, for work that outlives the caller.
    pub(crate) async fn acquire(&self, place: &B::Place) -> Result<Lease<B>, ApiError> {
        loop {
            let cell = self.cell(place)?;
            let Some(user) = Cell::join(&cell) else {
                // It is being closed. Afterwards it is opened anew, or has stayed.
                cell.settled().await;
                continue;
            };
            let scope = cell.opened().await?;
            return Ok(Lease { place: place.clone(), scope, _user: user });
        }
    }

    /// Closes a directory's scope when its users have left; says whether there was one. After `patience`
    /// it stays open, and is reported as in use. Must not be waited for by a user of it.
    pub(crate) async fn dispose(
        &self,
        directory: &Path,
        patience: Duration,
    ) -> Result<bool, ApiError> {
        let found = self.cells().open.get(directory).cloned();
        let Some(cell) = found else { return Ok(false) };
        self.end(cell, directory.to_owned(), End::Disposed, patience).await.map(|()| true)
    }

    /// Closes a directory's scope and opens it anew.
    pub(crate) async fn reload(
        &self,
        place: &B::Place,
        patience: Duration,
    ) -> Result<Lease<B>, ApiError> {
        self.dispose(B::directory(place), patience).await?;
        self.acquire(place).await
    }

    /// Closes all; the first that stays in use is the error.
    pub(crate) async fn dispose_all(&self, patience: Duration) -> Result<usize, ApiError> {
        self.end_all(End::Disposed, patience).await
    }

    /// The daemon ends: nothing is opened any more, and all is closed.
    pub(crate) async fn shut_down(&self, patience: Duration) -> Result<usize, ApiError> {
        self.cells().closed = true;
        self.end_all(End::Shutdown, patience).await
    }

    /// Closes what nobody has used for so long and nothing goes on in; says how many.
    pub(crate) async fn rest(&self, idle: Duration) -> usize {
        let all: Vec<_> =
            self.cells().open.iter().map(|(path, cell)| (path.clone(), Arc::clone(cell))).collect();
        let mut closed = 0;
        for (path, cell) in all {
            let may_rest = cell.scope().is_some_and(|scope| self.0.boot.may_rest(&scope));
            if may_rest && cell.leave_if_unused(idle) {
                self.finish(&cell, &path, End::Idle).await;
                closed += 1;
            }
        }
        closed
    }

    /// Directories that are open, and how many use each.
    pub(crate) fn users(&self) -> Vec<(PathBuf, usize)> {
        let cells = self.cells();
        cells.open.iter().map(|(path, cell)| (path.clone(), cell.users())).collect()
    }

    fn cells(&self) -> MutexGuard<'_, Cells<B>> {
        self.0.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of a place; a new one, whose boot begins, where there is none that can be used.
    fn cell(&self, place: &B::Place) -> Result<Arc<Cell<B::Scope>>, ApiError> {
        let directory = B::directory(place);
        let mut cells = self.cells();
        if let Some(cell) = cells.open.get(directory) {
            let is_stale = cell.scope().is_some_and(|scope| !self.0.boot.is_current(&scope));
            // One that is being closed already is waited for.
            if !(is_stale && cell.leave()) {
                return Ok(Arc::clone(cell));
            }
            let stale = Arc::clone(cell);
            cells.open.remove(directory);
            cells.replaced.push(Arc::clone(&stale));
            tokio::spawn(self.clone().retire(stale, directory.to_owned()));
        }
        if cells.closed {
            return Err(ApiError::new(ErrorCode::ShuttingDown, "the daemon is ending"));
        }
        let cell = Arc::new(Cell::booting());
        cells.open.insert(directory.to_owned(), Arc::clone(&cell));
        tokio::spawn(self.clone().start(Arc::clone(&cell), place.clone()));
        Ok(cell)
    }

    /// Boots, in a task of its own: whoever waits for it may leave.
    async fn start(self, cell: Arc<Cell<B::Scope>>, place: B::Place) {
        let mut booting = tokio::spawn({
            let (inner, place, undo) = (Arc::clone(&self.0), place.clone(), cell.undo.clone());
            async move { inner.boot.boot(place, undo).await }
        });
        let booted = match tokio::time::timeout(BOOT_LIMIT, &mut booting).await {
            Ok(Ok(booted)) => booted,
            Ok(Err(ended)) => {
                let message = format!("opening the directory broke off: {ended}");
                Err(ApiError::new(ErrorCode::Internal, message))
            }
            Err(_) => {
                booting.abort();
                // Until it is gone it could still open something.
                let _ = booting.await;
                let message =
                    format!("the directory was not open within {} s", BOOT_LIMIT.as_secs());
                Err(ApiError::new(ErrorCode::Deadline, message))
            }
        };
        match booted {
            Ok(scope) => cell.open(scope),
            Err(error) => {
                cell.undo.run(End::Failed).await;
                self.forget(&cell, B::directory(&place));
                cell.fail(error);
            }
        }
    }

    /// Closes one that another has taken the place of.
    async fn retire(self, cell: Arc<Cell<B::Scope>>, directory: PathBuf) {
        // Its users have limits of their own.
        cell.unused().await;
        self.finish(&cell, &directory, End::Disposed).await;
    }

    /// Lets the users leave, then closes. In a task of its own: a caller who leaves cancels nothing.
    async fn end(
        &self,
        cell: Arc<Cell<B::Scope>>,
        directory: PathBuf,
        end: End,
        patience: Duration,
    ) -> Result<(), ApiError> {
        let scopes = self.clone();
        // At once: who asks from now on waits for the next.
        let is_first = cell.leave();
        let ending = tokio::spawn(async move {
            if !is_first {
                let settled = tokio::time::timeout(patience, cell.settled()).await;
                return settled.map_err(|_| in_use(&directory, cell.users()));
            }
            if tokio::time::timeout(patience, cell.unused()).await.is_err() {
                let users = cell.users();
                cell.stay();
                return Err(in_use(&directory, users));
            }
            scopes.finish(&cell, &directory, end).await;
            Ok(())
        });
        ending.await.unwrap_or_else(|ended| {
            Err(ApiError::new(
                ErrorCode::Internal,
                format!("closing a directory broke off: {ended}"),
            ))
        })
    }

    async fn end_all(&self, end: End, patience: Duration) -> Result<usize, ApiError> {
        let (all, replaced) = {
            let cells = self.cells();
            let all: Vec<_> =
                cells.open.iter().map(|(path, cell)| (path.clone(), Arc::clone(cell))).collect();
            (all, cells.replaced.clone())
        };
        let (count, mut ending) = (all.len(), JoinSet::new());
        for (path, cell) in all {
            let scopes = self.clone();
            ending.spawn(async move { scopes.end(cell, path, end, patience).await });
        }
        for cell in replaced {
            ending.spawn(async move {
                let _ = tokio::time::timeout(patience, cell.settled()).await;
                Ok(())
            });
        }
        let mut first = Ok(count);
        while let Some(ended) = ending.join_next().await {
            if let (Ok(Err(error)), Ok(_)) = (ended, &first) {
                first = Err(error);
            }
        }
        first
    }

    async fn finish(&self, cell: &Arc<Cell<B::Scope>>, directory: &Path, end: End) {
        cell.undo.run(end).await;
        self.forget(cell, directory);
        cell.close();
    }

    /// Takes a cell out of the books, so that the next who asks opens the directory anew.
    fn forget(&self, cell: &Arc<Cell<B::Scope>>, directory: &Path) {
        let mut cells = self.cells();
        cells.replaced.retain(|replaced| !Arc::ptr_eq(replaced, cell));
        if cells.open.get(directory).is_some_and(|open| Arc::ptr_eq(open, cell)) {
            cells.open.remove(directory);
        }
    }
}

fn in_use(directory: &Path, users: usize) -> ApiError {
    let message = format!("`{}` is in use ({users} at work there)", directory.display());
    ApiError::new(ErrorCode::BackendBusy, message).hint("ask again when they are done")
}

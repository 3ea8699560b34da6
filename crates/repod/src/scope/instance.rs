//! The scope of agent sessions: a directory that is open in its repo's backend, with its guard there.

use super::{Boot, End, Finalizers, Lease, Scopes};
use crate::backend::{Asked, RepoHandle, View};
use crate::coordination::{Coordination, Guarded};
use crate::fleet::Fleet;
use crate::repo::Located;
use repod_opencode::{BackendClient, OPEN_LIMIT};
use repod_proto::{ApiError, ErrorCode, Generation};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The scopes of all directories that agent sessions work in.
pub(crate) type Instances = Scopes<InstanceBoot>;
/// One of them, in use.
pub(crate) type InstanceLease = Lease<InstanceBoot>;

/// A directory, decoded where the request came in, and what a backend would be started with.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) located: Located,
    pub(crate) env: Option<BTreeMap<String, String>>,
}

/// What is open. The branch isn't here, because it changes: it is in the lease's `place`.
pub(crate) struct Instance {
    pub(crate) handle: RepoHandle,
    /// The directory, as OpenCode has it.
    pub(crate) directory: String,
    /// Its worktree, as OpenCode has it; `/` without version control.
    pub(crate) worktree: String,
    /// OpenCode's own id of the project.
    pub(crate) project: String,
    /// OpenCode's experimental workspace. repod opens none.
    pub(crate) workspace: Option<String>,
    /// The backend it is open in: this one and no later one.
    pub(crate) generation: Generation,
    pub(crate) backend: BackendClient,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, worktree, project, workspace, generation, .. } = self;
        write!(f, "Instance {{ {directory}, {worktree}, {project}, {workspace:?}, {generation} }}")
    }
}

/// How a directory is opened.
pub(crate) struct InstanceBoot {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) coordination: Coordination,
}

impl Boot for InstanceBoot {
    type Place = Place;
    type Scope = Instance;

    fn directory(place: &Place) -> &Path {
        &place.located.directory
    }

    async fn boot(&self, place: Place, undo: Finalizers) -> Result<Instance, ApiError> {
        let Place { located, env } = place;
        let handle = self.fleet.register(&located.repo).await?;
        handle.check_same(&located.repo)?;
        let view = ready(&handle, env).await?;
        let Some(process) = &view.process else { return Err(broke("it has just ended")) };
        handle.heard(view.generation).await;
        let backend = BackendClient::new(process.port, process.password.clone());
        let directory = located.directory.display().to_string();
        undo.add("the directory in OpenCode", {
            let (handle, backend, directory) = (handle.clone(), backend.clone(), directory.clone());
            let generation = view.generation;
            async move |end| close(&handle, generation, &backend, &directory, end).await
        });
        let project = backend.project(&directory, OPEN_LIMIT).await;
        let project = project.map_err(|error| broke(&error.to_string()))?;
        let instance = Instance {
            worktree: project.worktree,
            project: project.id,
            workspace: None,
            generation: view.generation,
            handle,
            directory,
            backend,
        };
        self.guard(&instance).await?;
        Ok(instance)
    }

    fn is_current(&self, scope: &Instance) -> bool {
        is_open_in(&scope.handle.view(), scope.generation)
    }

    fn may_rest(&self, scope: &Instance) -> bool {
        scope.handle.known_hub().is_some_and(|hub| !hub.is_busy_in(&scope.directory))
    }
}

impl InstanceBoot {
    async fn guard(&self, instance: &Instance) -> Result<(), ApiError> {
        guard(&self.coordination, instance).await
    }
}

/// Waits until the directory's guard is there. In memory when it is.
pub(crate) async fn guard(
    coordination: &Coordination,
    instance: &Instance,
) -> Result<(), ApiError> {
    let view = instance.handle.view();
    let process = view.process.as_ref().filter(|_| view.generation == instance.generation);
    let Some(process) = process else { return Err(broke("it has just ended")) };
    let place = Guarded {
        repo: &instance.handle.repo().id,
        generation: instance.generation,
        directory: &instance.directory,
    };
    coordination.guarded(place, process, &instance.backend).await
}

/// The view of a backend that answers, which is started if there is none.
async fn ready(
    handle: &RepoHandle,
    env: Option<BTreeMap<String, String>>,
) -> Result<Arc<View>, ApiError> {
    let mut view = handle.view();
    if view.is_adopting() || view.has_just_died() {
        view = handle.settled().await;
    }
    if view.is_ready() {
        handle.touch();
        return Ok(view);
    }
    handle.ensure(Asked { env }).await
}

/// Whether what was opened in this generation is open still.
fn is_open_in(view: &View, generation: Generation) -> bool {
    view.generation == generation
        && view.process.is_some()
        && view.state.is_live()
        && !view.leaving
        && !view.has_just_died()
}

/// Closes the directory in OpenCode, unless somebody would notice: it serves others too.
async fn close(
    handle: &RepoHandle,
    generation: Generation,
    backend: &BackendClient,
    directory: &str,
    end: End,
) {
    let is_busy = || handle.known_hub().is_none_or(|hub| hub.is_busy_in(directory));
    // What has ended by itself has nothing open, and the next daemon goes on with the rest.
    if end == End::Shutdown || !is_open_in(&handle.view(), generation) || is_busy() {
        return;
    }
    if let Err(error) = backend.dispose_instance(directory).await {
        tracing::debug!(directory, %error, "a directory can't be closed");
    }
}

fn broke(cause: &str) -> ApiError {
    let message = format!("the backend could not open the directory: {cause}");
    ApiError::new(ErrorCode::BackendBroke, message).hint("ask again; `repod logs` may say more")
}

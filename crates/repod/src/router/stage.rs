//! A call that writes files of another repo works on copies, with OpenCode's own tool; what became of
//! them is what is then carried out.
//!
//! Below the repo's `stage/`: `<name>/<operation>/…` the copies, each at its real absolute path, where
//! `<name>` is the guard's and carries what the user's rules say of the real ones; `.before/` what they
//! held, and `.plan/` where they belong, so that a daemon that comes back can finish.

use super::Router;
use super::carry::{Done, Source, Target};
use super::copies::{changes, clear, find_plan, lay_out, plan_file, read_plan};
use crate::coordination::{
    Caller, Footprint, Granted, GuardedCall, Hold, Kind, LeaseKey, Wanted, wait,
};
use repod_proto::{ApiError, ErrorCode, MutationOutcome, RepoId, RequestId};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Calls under way that write in other repos; beyond this they are refused.
const CALLS_MAX: usize = 4096;
/// A call that has been forgotten by everybody is forgotten here too.
const OLD: Duration = Duration::from_hours(3);

/// A call that writes in another repo, from its leave to its end.
#[derive(Clone)]
pub(super) struct Foreign {
    pub(super) operation: String,
    pub(super) call: GuardedCall,
    pub(super) footprint: Footprint,
    since: Instant,
}

/// What the guard is told of it.
pub(crate) struct Leave {
    pub(crate) operation: String,
    /// The files, where they really are.
    pub(crate) files: Vec<PathBuf>,
    /// The names the call has for them, made absolute.
    pub(crate) named: BTreeMap<PathBuf, PathBuf>,
    /// The worktree a command belongs to.
    pub(crate) directory: PathBuf,
}

impl Router {
    /// Notes a call that writes in another repo.
    pub(crate) fn note(&self, call: &GuardedCall, footprint: Footprint) -> Result<Leave, ApiError> {
        let operation = operation_id()?;
        let id = call.caller.id(&call.call).0;
        let owned = footprint.files.iter().filter(|file| file.key.is_some());
        let named: BTreeMap<_, _> =
            owned.map(|file| (file.named.clone(), file.real.clone())).collect();
        if let Some(bad) = named.values().find(|real| real.to_str().is_none()) {
            let message = format!("`{}` is not UTF-8, so it can't be routed", bad.display());
            return Err(ApiError::new(ErrorCode::PathNotUtf8, message));
        }
        let mut files: Vec<PathBuf> = named.values().cloned().collect();
        files.dedup();
        let directory = footprint.places.values().next().map(|place| place.worktree.clone());
        let mut calls = self.0.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|_, foreign| foreign.since.elapsed() < OLD);
        if calls.len() >= CALLS_MAX {
            let message = "too many calls that write in other repos are under way";
            return Err(ApiError::new(ErrorCode::Overloaded, message).hint("try again in a moment"));
        }
        let (call, since) = (call.clone(), Instant::now());
        calls.insert(id, Foreign { operation: operation.clone(), call, footprint, since });
        let directory = PathBuf::from(directory.unwrap_or_default());
        Ok(Leave { operation, files, named, directory })
    }

    /// The call, if it is under way.
    pub(super) fn foreign(&self, caller: &RepoId, session: &str, call: &str) -> Option<Foreign> {
        let calls = self.0.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(&format!("{caller}/{session}/{call}")).cloned()
    }

    /// Lays out copies of the call's files; says where each is.
    pub(crate) async fn stage(
        &self,
        caller: &RepoId,
        session: &str,
        call: &str,
        name: &str,
    ) -> Result<BTreeMap<PathBuf, PathBuf>, ApiError> {
        let plain = |c: char| c.is_ascii_lowercase() || matches!(c, '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "a stage has no such name"));
        }
        let foreign = self.foreign(caller, session, call).ok_or_else(unknown_call)?;
        // Its repos get into the books: the first write that leads there makes one known.
        for place in foreign.footprint.places.values() {
            self.0.fleet.register(&place.repo).await?.check_same(&place.repo)?;
        }
        let stage = self.0.home.repo(caller).stage();
        let name = name.to_owned();
        let laying = tokio::task::spawn_blocking(move || lay_out(&stage, &name, &foreign));
        let laid = laying.await.map_err(|error| internal(&error))?;
        laid.map_err(|error| ApiError::new(ErrorCode::WriteRefused, error.to_string()))
    }

    /// Carries out what became of the copies; also of those that another daemon has laid out.
    pub(crate) async fn commit(
        &self,
        caller: &RepoId,
        session: &str,
        call: &str,
        request: RequestId,
    ) -> Result<Done, ApiError> {
        let stage = self.0.home.repo(caller).stage();
        let known = self.foreign(caller, session, call).map(|foreign| foreign.operation);
        let (session, call) = (session.to_owned(), call.to_owned());
        let reading_alone = self.0.working.hold(&laid_out(caller, &session, &call)).await;
        let reading = tokio::task::spawn_blocking(move || {
            let plan = match known {
                Some(operation) => read_plan(&plan_file(&stage, &operation))?,
                None => find_plan(&stage, &session, &call)?,
            };
            let changed = changes(&stage, &plan)?;
            io::Result::Ok((plan, changed))
        });
        let read = reading.await.map_err(|error| internal(&error))?;
        drop(reading_alone);
        let (plan, mut wanted) = read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unknown_call(),
            _ => ApiError::new(ErrorCode::WriteRefused, error.to_string()),
        })?;
        let caller = Caller {
            repo: plan.repo.clone(),
            generation: plan.generation,
            directory: plan.directory,
            session: plan.session.clone(),
            root: plan.root.clone(),
            title: plan.title.clone(),
        };
        let source = Source {
            repo: Some(plan.repo),
            session: plan.session,
            root: plan.root,
            title: plan.title,
            tool: plan.tool,
            request: Some(request),
        };
        if wanted.is_empty() {
            return Ok(Done {
                operation_id: plan.operation,
                outcome: MutationOutcome::Unchanged,
                targets: Vec::new(),
                diff: String::new(),
            });
        }
        let asked = Wanted {
            call: caller.id(&format!("{}+commit", plan.call)),
            party: caller.party(),
            what: source.tool.clone(),
            hold: Hold::Turn,
            wait: wait(self.0.coordination.policy()),
            kind: Kind::Ordinary,
            on_its_way: None,
        };
        let granted = self.leases(&mut wanted, asked).await?;
        let done = self.carry_out(plan.operation, source, wanted).await;
        drop(granted);
        done
    }

    /// The leases of these targets, with their fences put in.
    pub(crate) async fn leases(
        &self,
        targets: &mut BTreeMap<LeaseKey, Target>,
        wanted: Wanted,
    ) -> Result<Vec<Granted>, ApiError> {
        let branch = |(key, target): (&LeaseKey, &Target)| {
            (key.clone(), target.directory.display().to_string())
        };
        let branches: Vec<_> = targets.iter().map(branch).collect();
        // A session's call has its ticket already; one from outside takes it here.
        let ticket = wanted.hold == Hold::Call;
        let granted = self.0.coordination.take(&branches, wanted, ticket).await?;
        for (key, fence) in granted.iter().filter_map(|granted| granted.lease.as_ref()) {
            if let Some(target) = targets.get_mut(key) {
                target.fence = *fence;
            }
        }
        Ok(granted)
    }

    /// The call has ended: its copies go, in the background.
    pub(crate) fn ended(&self, caller: &RepoId, session: &str, call: &str) {
        let removed = {
            let mut calls = self.0.foreign.lock().unwrap_or_else(PoisonError::into_inner);
            calls.remove(&format!("{caller}/{session}/{call}"))
        };
        let Some(foreign) = removed else { return };
        let (router, stage) = (self.clone(), self.0.home.repo(caller).stage());
        let name = laid_out(caller, session, call);
        tokio::spawn(async move {
            // Copies that go while they are read would look like removed files.
            let _alone = router.0.working.hold(&name).await;
            let _ = tokio::task::spawn_blocking(move || clear(&stage, &foreign.operation)).await;
        });
    }

    /// Copies of calls that nobody can finish any more.
    pub(super) fn clear_stage(&self, repo: &RepoId) -> io::Result<()> {
        match std::fs::remove_dir_all(self.0.home.repo(repo).stage()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A name for an operation that nobody else has.
pub(crate) fn operation_id() -> Result<String, ApiError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("no randomness: {error}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names the copies of a call, for those who read and those who clear them.
fn laid_out(caller: &RepoId, session: &str, call: &str) -> String {
    format!("copies of {caller}/{session}/{call}")
}

fn unknown_call() -> ApiError {
    ApiError::new(
        ErrorCode::WriteRefused,
        "repod doesn't know this call any more; nothing was written",
    )
    .hint("call the tool again")
}

fn internal(error: &tokio::task::JoinError) -> ApiError {
    ApiError::new(ErrorCode::Internal, error.to_string())
}

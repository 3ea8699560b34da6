//! What is published of a backend: plain data, read without asking anybody.

use super::Confinement;
use crate::capability;
use crate::registry::{Record, split_token};
use crate::repo::Repo;
use repod_proto::{
    ApiError, BackendInfo, BackendState, Done, Endpoint, EnsureProgress, EnsureStep, Generation,
    LastExit, RepoId,
};
use repod_supervisor::identity::{ProcessHandle, ProcessIdentity};
use std::path::Path;
use std::sync::Arc;

/// One repo's backend at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) state: BackendState,
    pub(crate) generation: Generation,
    /// What is going on where somebody waits for it.
    pub(crate) step: Option<EnsureStep>,
    /// How many sessions it has brought over, while it does.
    pub(crate) sessions: Option<Done>,
    pub(crate) failure: Option<ApiError>,
    pub(crate) last_exit: Option<LastExit>,
    pub(crate) recent_starts: u32,
    pub(crate) process: Option<Process>,
    /// The hold on the process: its end shows here before anybody has been told.
    pub(crate) alive: Option<Arc<ProcessHandle>>,
    /// Whether an earlier daemon started it: what it has been doing since is to be asked.
    pub(crate) adopted: bool,
    /// Whether it has its place among those awake, or has to wait for one.
    pub(crate) admitted: bool,
    /// Whether it is being put to sleep: nothing new goes to it from here on.
    pub(crate) leaving: bool,
    url: Option<String>,
    username: String,
    password: Option<String>,
    capability_url: Option<String>,
    warnings: Vec<String>,
}

/// What opens an endpoint. Not the backend's own password, which nobody outside ever gets.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    pub(crate) token: &'a str,
}

/// The process of a backend.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) identity: ProcessIdentity,
    pub(crate) port: u16,
    pub(crate) password: String,
    /// What its guards say who they are with.
    pub(crate) guard: String,
    pub(crate) version: Option<String>,
    pub(crate) started_at: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) confinement: Confinement,
}

impl View {
    /// The view of a record that has just been read: a backend in it is yet to be verified.
    pub(crate) fn unverified(record: &Record) -> Self {
        let view = Self::of(record);
        match record.backend {
            Some(_) => {
                Self { state: BackendState::Starting, step: Some(EnsureStep::Adopting), ..view }
            }
            None => view,
        }
    }

    /// The view of a record.
    pub(crate) fn of(record: &Record) -> Self {
        let process = record.backend.as_ref().map(|backend| Process {
            identity: backend.identity.clone(),
            port: backend.port,
            password: backend.password.clone(),
            guard: backend.guard.clone(),
            version: backend.version.clone(),
            started_at: backend.started_at.clone(),
            warnings: backend.warnings.clone(),
            confinement: backend.confinement.clone(),
        });
        Self {
            state: record.state,
            generation: record.generation,
            step: None,
            sessions: None,
            failure: record.failure.clone(),
            last_exit: record.last_exit.clone(),
            recent_starts: 0,
            process,
            alive: None,
            adopted: false,
            admitted: false,
            leaving: false,
            url: record.url.clone(),
            username: record.username.clone(),
            password: record.password.clone(),
            capability_url: record.capability_url.clone(),
            warnings: record.warnings.clone(),
        }
    }

    /// Whether it can be answered from memory: it is ready, and its process has not just ended.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == BackendState::Ready && !self.leaving && !self.has_just_died()
    }

    /// Whether the kernel knows of its end and its task does not yet.
    pub(crate) fn has_just_died(&self) -> bool {
        let runs = matches!(self.state, BackendState::Ready | BackendState::Unresponsive);
        runs && self.alive.as_ref().is_some_and(|process| !process.is_alive())
    }

    /// Whether the daemon still finds out what an earlier one left here.
    pub(crate) fn is_adopting(&self) -> bool {
        self.step == Some(EnsureStep::Adopting)
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.state == BackendState::Failed
    }

    /// What opens the endpoint, once it has been made.
    pub(crate) fn credentials(&self) -> Option<Credentials<'_>> {
        Some(Credentials {
            username: &self.username,
            password: self.password.as_deref()?,
            token: self.token()?,
        })
    }

    /// Whether what opened the endpoint then opens it now.
    pub(crate) fn opens_as(&self, then: &Self) -> bool {
        self.password == then.password && self.token() == then.token()
    }

    fn token(&self) -> Option<&str> {
        Some(split_token(self.capability_url.as_deref()?)?.1)
    }

    /// What to tell somebody who waits.
    pub(crate) fn progress(&self, repo: &RepoId) -> Option<EnsureProgress> {
        let (repo_id, step) = (repo.clone(), self.step?);
        let (generation, sessions) = (self.generation, self.sessions);
        Some(EnsureProgress { repo_id, step, generation, sessions })
    }

    /// The endpoint as `ensure` answers it.
    pub(crate) fn endpoint(
        &self,
        repo: &Repo,
        directory: &Path,
        branch: Option<String>,
    ) -> Endpoint {
        let live = self.state.is_live();
        let process = self.process.as_ref().filter(|_| live);
        let of_process = process.iter().flat_map(|process| &process.warnings);
        let is_linked = directory != repo.root;
        let directory = directory.display().to_string();
        let capability_url = self.capability_url.as_deref().map(|url| match is_linked {
            // The backend works in the root: who names no directory there means this one.
            true => capability::bind(url, &directory),
            false => url.to_owned(),
        });
        Endpoint {
            repo_id: repo.id.clone(),
            root: repo.root.display().to_string(),
            directory,
            branch,
            url: self.url.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            capability_url,
            state: self.state,
            generation: self.generation,
            backend: process.map(|process| BackendInfo {
                pid: process.identity.pid,
                port: process.port,
                version: process.version.clone(),
                started_at: process.started_at.clone(),
            }),
            warnings: self.warnings.iter().chain(of_process).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Confinement;
    use crate::registry::BackendRecord;
    use crate::repo::Repo;

    #[test]
    fn what_a_record_says_of_a_backend_is_not_believed_before_it_is_verified() {
        let repo = Repo {
            id: "web-3f2a9c1b04de".parse().unwrap(),
            identity: "/src/web/.git".into(),
            root: "/src/web".into(),
        };
        let mut record = Record::new(&repo);
        assert!(!View::unverified(&record).is_adopting());
        record.state = BackendState::Ready;
        record.backend = Some(BackendRecord {
            identity: ProcessIdentity::mine().unwrap(),
            port: 1,
            password: "x".into(),
            marker: "m".into(),
            guard: String::new(),
            version: None,
            started_at: String::new(),
            log_offset: 0,
            warnings: Vec::new(),
            confinement: Confinement::default(),
        });
        assert!(View::of(&record).is_ready());
        let view = View::unverified(&record);
        assert!(view.is_adopting() && !view.is_ready());
    }
}

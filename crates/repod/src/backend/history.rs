//! A repo's sessions from before repod: brought over before its backend first runs, later when asked, and back.
//!
//! A start whose history can't be brought over goes on without it: who wants the agent now gets it, is told what is
//! missing and why, and nothing is lost, because the user's database is only read and every further start tries
//! again.

use super::bring_up::Step;
use super::shared::Shared;
use crate::fault;
use crate::repo::{self, Repo};
use crate::settings::{History, Settings};
use repod_history::{Adoption, HistoryError, Progress, Report, Selection, Standing};
use repod_proto::home::RepoDir;
use repod_proto::{ApiError, Done, EnsureStep, ErrorCode, HistoryReport};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the file system of one directory may take; what doesn't answer is not this repo's.
const LOOK: Duration = Duration::from_secs(5);
/// After so many directories without an answer no more are looked at.
const SILENT_MAX: usize = 3;
/// After how many sessions it is said how far it is.
const TOLD_EVERY: usize = 10;

/// Whose history, and where it lies.
pub(super) struct Ground<'a> {
    pub(super) shared: &'a Shared,
    pub(super) repo: &'a Arc<Repo>,
    pub(super) dir: &'a RepoDir,
    pub(super) env: &'a BTreeMap<OsString, OsString>,
}

impl Ground<'_> {
    /// Brings over what is due. What the user should know is returned; only settings that can't be read are an error.
    pub(super) async fn before_start(
        &self,
        steps: &mpsc::Sender<Step>,
    ) -> Result<Option<String>, ApiError> {
        let settings = Settings::load(&self.shared.home.settings())?;
        if settings.backend.history == History::Fresh {
            return Ok(None);
        }
        match repod_history::is_due(self.dir.dir()) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(error) => return Ok(Some(self.missing(&error))),
        }
        let told = |done, of| {
            let sessions = (of > 0).then_some(Done { done, of });
            let _ = steps.try_send(Step { step: EnsureStep::History, sessions });
        };
        match self.bring_over(&told).await {
            Ok(Some(report)) => {
                self.log("sessions were brought over", &report);
                Ok(self.logins_missing(&report))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.note(&error);
                Ok(Some(self.missing(&error)))
            }
        }
    }

    /// Brings over what was added since.
    pub(super) async fn adopt(
        &self,
        told: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<HistoryReport, ApiError> {
        let report = self.bring_over(told).await.map_err(|error| refused(&error))?;
        let database = || self.database().map(|(database, _)| database).unwrap_or_default();
        let report = report.unwrap_or_else(|| Report { database: database(), ..Report::default() });
        self.log("sessions were brought over", &report);
        Ok(self.told(report))
    }

    /// Brings all of it back.
    pub(super) async fn eject(&self) -> Result<HistoryReport, ApiError> {
        let Some((database, data)) = self.database() else { return Err(no_home()) };
        let shared = repod_history::Shared { database, data };
        let progress = |done, _| fault::point(&self.shared.home, &format!("eject-{done}"));
        let report = repod_history::eject(self.dir.dir(), &shared, &progress).await;
        let report = report.map_err(|error| refused(&error))?;
        self.log("sessions were brought back", &report);
        Ok(self.told(report))
    }

    async fn bring_over(
        &self,
        told: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Option<Report>, HistoryError> {
        let Some((database, data)) = self.database() else { return Ok(None) };
        let Some(adoption) = Adoption::begin(&database).await? else { return Ok(None) };
        told(0, 0);
        let survey = adoption.survey();
        let standings = self.standings(survey.directories()).await;
        let root = self.repo.root.to_string_lossy();
        let selection: Selection = survey.select(&root, &standings);
        let progress: Box<Progress<'_>> = Box::new(|done, of| {
            fault::point(&self.shared.home, &format!("adopt-{done}"));
            if done % 50 == 0 && done > 0 {
                tracing::info!(repo = %self.repo.id, done, of, "bringing sessions over");
            }
            if done % TOLD_EVERY == 0 || done == of {
                told(done as u64, of as u64);
            }
        });
        adoption.carry(self.dir.dir(), &data, &selection, &progress).await.map(Some)
    }

    /// The user's own database and data directory.
    fn database(&self) -> Option<(PathBuf, PathBuf)> {
        repod_opencode::user_history(self.env, self.shared.home.dir())
    }

    /// How each directory stands to this repo. A file system that doesn't answer holds nobody up for long.
    async fn standings(&self, directories: BTreeSet<&str>) -> BTreeMap<String, Standing> {
        let (mut standings, mut silent) = (BTreeMap::new(), 0);
        for directory in directories {
            let (repo, path) = (Arc::clone(self.repo), PathBuf::from(directory));
            if silent >= SILENT_MAX {
                break;
            }
            let looking = tokio::task::spawn_blocking(move || standing(&repo, &path));
            match tokio::time::timeout(LOOK, looking).await {
                Ok(found) => {
                    standings.insert(directory.to_owned(), found.unwrap_or(Standing::Foreign));
                }
                Err(_) => {
                    silent += 1;
                    tracing::warn!(directory, "did not answer; its sessions stay where they are");
                }
            }
        }
        standings
    }

    fn note(&self, error: &HistoryError) {
        let Some((database, _)) = self.database() else { return };
        if let Err(error) = repod_history::note_failure(self.dir.dir(), &database, error) {
            tracing::error!(repo = %self.repo.id, %error, "a failed adoption can't be noted");
        }
    }

    fn missing(&self, error: &HistoryError) -> String {
        tracing::warn!(repo = %self.repo.id, %error, "sessions were not brought over");
        format!("earlier sessions of this repo were not brought over: {error} ({})", error.hint())
    }

    fn logins_missing(&self, report: &Report) -> Option<String> {
        let logins = (!report.logins.is_empty()).then(|| report.logins.join(", "))?;
        Some(format!(
            "logins kept in OpenCode's database ({logins}) are not shared with this repo: log in again where needed"
        ))
    }

    fn log(&self, what: &str, report: &Report) {
        tracing::info!(
            repo = %self.repo.id,
            database = %report.database.display(),
            added = report.added,
            updated = report.updated,
            unchanged = report.unchanged,
            merged = report.merged,
            deleted = report.deleted,
            files = report.files,
            "{what}"
        );
    }

    fn told(&self, report: Report) -> HistoryReport {
        HistoryReport {
            repo_id: self.repo.id.clone(),
            root: self.repo.root.display().to_string(),
            database: report.database.display().to_string(),
            added: report.added,
            updated: report.updated,
            unchanged: report.unchanged,
            merged: report.merged,
            deleted: report.deleted,
            files: report.files,
            logins: report.logins,
            kept: report.kept.map(|kept| kept.display().to_string()),
        }
    }
}

/// Looks at the disk. One that is gone is of the repo that what is left of its path leads into.
fn standing(repo: &Repo, directory: &Path) -> Standing {
    match repo::locate(directory) {
        Ok(found) if found.repo.identity == repo.identity => {
            let is_root = directory.canonicalize().is_ok_and(|path| path == found.directory);
            if is_root { Standing::Root } else { Standing::Inside }
        }
        Ok(_) => Standing::Foreign,
        Err(error) if error.code == ErrorCode::PathNotFound => {
            let living = directory.ancestors().skip(1).find(|dir| dir.is_dir());
            match living.map(repo::locate) {
                Some(Ok(near)) if near.repo.identity == repo.identity => {
                    // The root of a plain directory has nothing of others below it.
                    let is_git = near.repo.identity != near.repo.root;
                    if is_git { Standing::Inside } else { Standing::Gone { near: None } }
                }
                Some(Ok(near)) => {
                    Standing::Gone { near: near.repo.root.to_str().map(str::to_owned) }
                }
                _ => Standing::Gone { near: None },
            }
        }
        Err(_) => Standing::Foreign,
    }
}

fn refused(error: &HistoryError) -> ApiError {
    let code = match error {
        HistoryError::Unknown { .. } | HistoryError::Older { .. } => ErrorCode::HistoryUnknown,
        HistoryError::InUse { .. } => ErrorCode::HistoryInUse,
        _ => ErrorCode::HistoryFailed,
    };
    ApiError::new(code, error.to_string()).hint(error.hint())
}

fn no_home() -> ApiError {
    let message =
        "HOME is not an absolute path: there is no telling where the user's database lies";
    ApiError::new(ErrorCode::HistoryFailed, message).hint("set HOME")
}

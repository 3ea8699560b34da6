//! adopt: from the user's shared database into the repo's own.
//!
//! ```text
//! no opencode.db ── copied session by session ──► adopting.db ── whole: renamed ──► opencode.db
//! opencode.db ───── each session compared, what is new or further on carried over, in place
//! ```
//!
//! Cut short anywhere, it is begun again and finds what is there already: sessions that are the same are passed
//! over. A backend never sees half of it. Only while no backend of the repo runs may any of this be called.

use crate::merge::{self, Carried};
use crate::record::{Record, State};
use crate::select::{Selection, Survey};
use crate::source::{Source, beside};
use crate::target::Target;
use crate::{HistoryError, Progress, Report, snapshots};
use std::path::{Path, PathBuf};

/// Below a repo's directory: the data directory of its backend.
pub(crate) const DATA: &str = "data/opencode";
pub(crate) const OWN: &str = "opencode.db";
const STAGED: &str = "adopting.db";

/// Whether a repo's sessions are still to be brought over before its backend may run.
///
/// # Errors
/// When the record can't be used.
pub fn is_due(state_dir: &Path) -> Result<bool, HistoryError> {
    let data = state_dir.join(DATA);
    let has_own = data.join(OWN).exists();
    let record = Record::load(state_dir)?;
    // A database without a record is of a backend that ran before sessions were brought over, or was to
    // start afresh.
    Ok(!has_own || record.is_some_and(|record| record.state == State::Failed))
}

/// Notes that it failed, for the next start to try again.
///
/// # Errors
/// When the record can't be written.
pub fn note_failure(
    state_dir: &Path,
    database: &Path,
    failure: &HistoryError,
) -> Result<(), HistoryError> {
    let before = Record::load(state_dir)?;
    let mut record = Record::new(State::Failed, database);
    record.sessions = before.map(|before| before.sessions).unwrap_or_default();
    record.reason = Some(failure.to_string());
    record.save(state_dir)
}

/// An adoption that has begun: the moment of the source is chosen.
#[derive(Debug)]
pub struct Adoption {
    source: Source,
    survey: Survey,
}

impl Adoption {
    /// Looks what there is; `None` where the user has no database.
    ///
    /// # Errors
    /// When its schema isn't known, or it can't be read.
    pub async fn begin(database: &Path) -> Result<Option<Self>, HistoryError> {
        let Some(mut source) = Source::open(database).await? else { return Ok(None) };
        let survey = source.survey().await?;
        Ok(Some(Self { source, survey }))
    }

    /// What there is.
    #[must_use]
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Carries over what was selected, into the repo's directory `state_dir`; snapshots come from the user's data
    /// directory.
    ///
    /// # Errors
    /// When one of the databases can't be read or written. What was done until then stays, and is not seen.
    pub async fn carry(
        mut self,
        state_dir: &Path,
        shared_data: &Path,
        selection: &Selection,
        progress: &Progress<'_>,
    ) -> Result<Report, HistoryError> {
        let data = state_dir.join(DATA);
        fs_err::create_dir_all(&data)?;
        let (own, staged) = (data.join(OWN), data.join(STAGED));
        let before = Record::load(state_dir)?;
        let from = self.source.path().to_owned();
        let logins = self.source.logins().await?;
        let mut report = Report { database: from.clone(), logins, ..Report::default() };
        let mut record = Record::new(State::Adopted, &from);
        record.sessions = before.map(|before| before.sessions).unwrap_or_default();

        let is_first = !own.exists();
        if is_first && selection.projects.is_empty() {
            discard(&staged)?;
        } else {
            let mut target = if is_first {
                stage(&staged, &mut self.source).await?
            } else {
                discard(&staged)?;
                Target::open(&own).await?
            };
            let deleted = |id: &str| !is_first && record.sessions.contains(id);
            carry(&mut self.source, &mut target, selection, &deleted, (&mut report, progress))
                .await?;
            target.close().await?;
        }
        self.source.close().await?;

        let wanted = |worktree: &str| selection.directories.contains(worktree);
        report.files = snapshots::copy(shared_data, &data, &selection.projects, &wanted)?
            + snapshots::copy_diffs(shared_data, &data, &selection.sessions)?;
        record.sessions.extend(selection.sessions.iter().cloned());
        // In this order: a database without a record would pass for one that was not to have a history.
        record.save(state_dir)?;
        progress(selection.sessions.len(), selection.sessions.len());
        if staged.exists() {
            put(&staged, &own)?;
        }
        Ok(report)
    }
}

/// One session a transaction, so that what is there is whole whenever it ends.
async fn carry(
    source: &mut Source,
    target: &mut Target,
    selection: &Selection,
    was_carried: &(dyn Fn(&str) -> bool + Sync),
    (report, progress): (&mut Report, &Progress<'_>),
) -> Result<(), HistoryError> {
    let path = target.path.clone();
    target.run("BEGIN IMMEDIATE").await?;
    merge::common(source, &mut target.conn, &path, selection).await?;
    target.run("COMMIT").await?;
    for (at, id) in selection.sessions.iter().enumerate() {
        progress(at, selection.sessions.len());
        if was_carried(id) && !merge::is_there(&mut target.conn, &path, id).await? {
            report.deleted += 1;
            continue;
        }
        target.run("BEGIN IMMEDIATE").await?;
        let carried = merge::session(source, &mut target.conn, &path, id).await?;
        target.run("COMMIT").await?;
        report.count(carried);
    }
    Ok(())
}

/// Goes on with what was staged before, unless the user's OpenCode has changed its schema since.
async fn stage(staged: &Path, source: &mut Source) -> Result<Target, HistoryError> {
    match Target::make(staged, source).await {
        Ok(target) => Ok(target),
        Err(HistoryError::Io(error)) => Err(error.into()),
        Err(_) => {
            discard(staged)?;
            Target::make(staged, source).await
        }
    }
}

pub(crate) fn discard(database: &Path) -> Result<(), HistoryError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs_err::remove_file(beside(database, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Renames a database whose log was folded into it, for good.
pub(crate) fn put(from: &Path, to: &Path) -> Result<(), HistoryError> {
    fs_err::File::open(from)?.sync_all()?;
    for suffix in ["-wal", "-shm"] {
        discard_beside(from, suffix)?;
        discard_beside(to, suffix)?;
    }
    fs_err::rename(from, to)?;
    let parent: PathBuf = to.parent().unwrap_or(to).to_owned();
    fs_err::File::open(parent)?.sync_all()?;
    Ok(())
}

fn discard_beside(database: &Path, suffix: &str) -> Result<(), HistoryError> {
    match fs_err::remove_file(beside(database, suffix)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl Report {
    pub(crate) fn count(&mut self, carried: Carried) {
        match carried {
            Carried::Added => self.added += 1,
            Carried::Updated => self.updated += 1,
            Carried::Unchanged => self.unchanged += 1,
            Carried::Merged => self.merged += 1,
        }
    }
}

//! eject: from the repo's own database back into the user's, and the end of the isolation.
//!
//! Only while nobody has the user's database open, and in one transaction: it has all of it or nothing. The repo's
//! own is kept under another name. Asked again, it finds nothing left to do.

use crate::adopt::{DATA, OWN, discard, put};
use crate::record::{Record, State};
use crate::select::Selection;
use crate::source::{Source, beside};
use crate::target::Target;
use crate::{HistoryError, Progress, Report, Shared, holders, merge, snapshots};
use std::path::Path;

/// What the repo's own database is called afterwards.
const KEPT: &str = "ejected.db";

/// Brings the sessions of the repo whose directory is `state_dir` back into the user's.
///
/// # Errors
/// [`HistoryError::InUse`] while somebody has it open; when one of the databases isn't known or can't be read or
/// written. Then nothing has changed.
pub async fn eject(
    state_dir: &Path,
    shared: &Shared,
    progress: &Progress<'_>,
) -> Result<Report, HistoryError> {
    let database = shared.database.as_path();
    let data = state_dir.join(DATA);
    let own = data.join(OWN);
    let mut report = Report { database: database.to_owned(), ..Report::default() };
    if !own.exists() {
        return Ok(report);
    }
    refuse_in_use(database)?;
    // A backend that was killed leaves much of its database in the log.
    Target::open(&own).await?.close().await?;
    let Some(mut source) = Source::open(&own).await? else { return Ok(report) };
    let survey = source.survey().await?;
    let selection = Selection {
        projects: survey.projects.iter().map(|project| project.id.clone()).collect(),
        directories: survey.directories().into_iter().map(str::to_owned).collect(),
        sessions: survey.sessions.into_iter().map(|session| session.id).collect(),
        root: String::new(),
    };
    report.logins = source.logins().await?;

    let made = beside(database, ".repod-new");
    let is_new = !database.exists();
    let mut target = if is_new {
        discard(&made)?;
        if let Some(parent) = database.parent() {
            fs_err::create_dir_all(parent)?;
        }
        Target::make(&made, &mut source).await?
    } else {
        Target::open(database).await?
    };
    let path = target.path.clone();
    target.run("BEGIN IMMEDIATE").await?;
    // Whoever opened it between the look and the transaction has to wait for its end now, or is seen here.
    refuse_in_use(database)?;
    merge::common(&mut source, &mut target.conn, &path, &selection).await?;
    for (at, id) in selection.sessions.iter().enumerate() {
        progress(at, selection.sessions.len());
        report.count(merge::session(&mut source, &mut target.conn, &path, id).await?);
    }
    target.run("COMMIT").await?;
    target.close().await?;
    source.close().await?;
    if is_new {
        put(&made, database)?;
    }
    progress(selection.sessions.len(), selection.sessions.len());

    report.files = snapshots::copy(&data, &shared.data, &selection.projects, &|_| true)?
        + snapshots::copy_diffs(&data, &shared.data, &selection.sessions)?;
    Record::new(State::Ejected, database).save(state_dir)?;
    let kept = data.join(KEPT);
    put(&own, &kept)?;
    report.kept = Some(kept);
    Ok(report)
}

fn refuse_in_use(database: &Path) -> Result<(), HistoryError> {
    let holders = holders(database)?;
    if holders.is_empty() {
        return Ok(());
    }
    Err(HistoryError::InUse { path: database.to_owned(), holders })
}

//! What is told of a write: to the target's clients, and to whoever asked for it.

use super::carry::Done;
use super::patch::{Change, Form, make};
use crate::backend::RepoHandle;
use repod_opencode::v1_18::told::{self, Place};
use repod_proto::{ApiError, ErrorCode, MutationOutcome, RouteTarget};
use repod_store::journal::{Operation, Part, State};
use std::path::Path;

/// Longest diff told, in bytes.
const DIFF_MAX: usize = 24 * 1024;

/// The target's clients see it as if a tool of their own backend had done it: OpenCode sends no event
/// for `/vcs/apply`.
pub(super) fn tell(handle: &RepoHandle, part: &Part, changes: &[Change]) {
    let place = Place { directory: &part.directory, project: None };
    for change in changes {
        let how = match (&change.before, &change.after) {
            (None, _) => told::FileChange::Add,
            (_, None) => told::FileChange::Unlink,
            _ => told::FileChange::Change,
        };
        let file = Path::new(&part.directory).join(&change.path).display().to_string();
        for payload in told::file_changed(&file, how) {
            handle.hub().tell(place.wrap(&payload));
        }
    }
}

/// What changes, to be read.
pub(super) async fn diff(op: &Operation) -> String {
    let mut diff = String::new();
    for part in &op.parts {
        diff.push_str(&readable(part).await);
    }
    if diff.len() > DIFF_MAX {
        let end = (0..=DIFF_MAX).rev().find(|at| diff.is_char_boundary(*at)).unwrap_or(0);
        diff.truncate(end);
        diff.push_str("\n… (the rest of the diff is left out)\n");
    }
    diff
}

/// What a settled operation is answered with.
pub(super) fn report(op: &Operation, diff: String) -> Result<Done, ApiError> {
    let outcome = match op.state {
        State::Applied => MutationOutcome::Applied,
        State::Unchanged => MutationOutcome::Unchanged,
        state => return Err(failed(op, state)),
    };
    let target = |part: &Part| {
        let files = part.files.iter().map(|file| file.path.display().to_string()).collect();
        let (directory, branch) = (part.directory.clone(), part.branch.clone());
        let repo_id = part.repo.parse().ok()?;
        Some(RouteTarget { repo_id, directory, branch, fence: part.fence, files })
    };
    let targets = op.parts.iter().filter_map(target).collect();
    Ok(Done { operation_id: op.id.clone(), outcome, targets, diff })
}

async fn readable(part: &Part) -> String {
    let changes: Vec<_> = part.files.iter().map(Change::of).collect();
    // Only to be read: without one it is still done.
    make(&changes, Form::Readable).await.ok().flatten().unwrap_or_default()
}

fn failed(op: &Operation, state: State) -> ApiError {
    let reason = op.message.as_deref().unwrap_or("no reason is on record");
    let (code, what, hint) = match state {
        State::Conflict => (
            ErrorCode::WriteConflict,
            "the write was begun and can be neither finished nor undone",
            "look at the files it names before anything else; `repod mutations` has the operation",
        ),
        State::RolledBack => (
            ErrorCode::WriteRefused,
            "the write could not be done everywhere, and was undone where it had been",
            "nothing has changed; read the files again and repeat it",
        ),
        _ => (
            ErrorCode::WriteRefused,
            "the write could not be done",
            "nothing has changed; read the files again and repeat it",
        ),
    };
    ApiError::new(code, format!("{what}: {reason}"))
        .hint(hint)
        .detail("operation_id", op.id.clone())
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

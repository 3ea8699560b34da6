//! Operations to rows and back.

use super::types::{
    FileChange, Image, ImageKind, NewOperation, Operation, OperationHead, Part, PartHead, State,
};
use crate::{RepoFile, StoreError};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Writes a new operation; false: there is one of that name.
pub(super) async fn insert(
    on: &mut SqliteConnection,
    op: &NewOperation,
) -> Result<bool, sqlx::Error> {
    let head = sqlx::query(
        "INSERT INTO mutation (id, at_ms, from_repo, from_session, from_root, title, tool, state, message) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&op.id)
    .bind(op.at_ms)
    .bind(&op.from_repo)
    .bind(&op.from_session)
    .bind(&op.from_root)
    .bind(&op.title)
    .bind(&op.tool)
    .bind(op.state.name())
    .bind(&op.message)
    .execute(&mut *on)
    .await?;
    if head.rows_affected() == 0 {
        return Ok(false);
    }
    let seq = head.last_insert_rowid();
    for (index, part) in (0i64..).zip(&op.parts) {
        sqlx::query("INSERT INTO mutation_part (seq, part, repo, directory, branch, fence) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(seq)
            .bind(index)
            .bind(&part.repo)
            .bind(&part.directory)
            .bind(&part.branch)
            .bind(part.fence.cast_signed())
            .execute(&mut *on)
            .await?;
        for (at, file) in (0i64..).zip(&part.files) {
            insert_file(on, (seq, index, at), file, op.state.keeps_contents()).await?;
        }
    }
    Ok(true)
}

async fn insert_file(
    on: &mut SqliteConnection,
    (seq, part, at): (i64, i64, i64),
    file: &FileChange,
    contents: bool,
) -> Result<(), sqlx::Error> {
    let (before, after) = (file.before.as_ref(), file.after.as_ref());
    let bytes = |image: Option<&Image>| image.filter(|_| contents).map(|image| image.bytes.clone());
    sqlx::query(
        "INSERT INTO mutation_file (seq, part, file, path, before_kind, before_bytes, after_kind, after_bytes) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(seq)
    .bind(part)
    .bind(at)
    .bind(file.path.as_os_str().as_bytes())
    .bind(before.map(|image| image.kind.name()))
    .bind(bytes(before))
    .bind(after.map(|image| image.kind.name()))
    .bind(bytes(after))
    .execute(on)
    .await
    .map(drop)
}

/// The operations of these rows of `mutation`, without their parts.
pub(super) struct Found {
    pub(super) seq: i64,
    pub(super) head: OperationHead,
}

pub(super) const HEAD: &str =
    "seq, id, at_ms, from_repo, from_session, from_root, title, tool, state, message";

pub(super) fn head(file: &RepoFile, row: &SqliteRow) -> Result<Found, StoreError> {
    let read = || -> Result<(Found, String), sqlx::Error> {
        let head = OperationHead {
            id: row.try_get("id")?,
            at_ms: row.try_get("at_ms")?,
            from_repo: row.try_get("from_repo")?,
            from_session: row.try_get("from_session")?,
            from_root: row.try_get("from_root")?,
            title: row.try_get("title")?,
            tool: row.try_get("tool")?,
            parts: Vec::new(),
            state: State::Pending,
            message: row.try_get("message")?,
        };
        Ok((Found { seq: row.try_get("seq")?, head }, row.try_get("state")?))
    };
    let (mut found, state) = read().map_err(|error| file.failed(error))?;
    found.head.state = State::named(&state).ok_or_else(|| strange(file, "state", &state))?;
    Ok(found)
}

/// An operation's parts with their files' names.
pub(super) async fn part_heads(
    on: &mut SqliteConnection,
    seq: i64,
) -> Result<Vec<PartHead>, sqlx::Error> {
    let mut parts = Vec::new();
    let rows = sqlx::query(
        "SELECT repo, directory, branch, fence FROM mutation_part WHERE seq = ? ORDER BY part",
    )
    .bind(seq)
    .fetch_all(&mut *on)
    .await?;
    for row in rows {
        parts.push(PartHead {
            repo: row.try_get("repo")?,
            directory: row.try_get("directory")?,
            branch: row.try_get("branch")?,
            fence: row.try_get::<i64, _>("fence")?.cast_unsigned(),
            files: Vec::new(),
        });
    }
    let rows =
        sqlx::query("SELECT part, path FROM mutation_file WHERE seq = ? ORDER BY part, file")
            .bind(seq)
            .fetch_all(on)
            .await?;
    for row in rows {
        let part = usize::try_from(row.try_get::<i64, _>("part")?).unwrap_or(usize::MAX);
        if let Some(part) = parts.get_mut(part) {
            part.files.push(path(row.try_get("path")?));
        }
    }
    Ok(parts)
}

/// An operation with what its files held and are to hold.
pub(super) async fn whole(
    file: &RepoFile,
    on: &mut SqliteConnection,
    Found { seq, head }: Found,
) -> Result<Operation, StoreError> {
    let failed = |error| file.failed(error);
    let heads = part_heads(on, seq).await.map_err(failed)?;
    let mut parts = Vec::with_capacity(heads.len());
    for (index, part) in (0i64..).zip(heads) {
        let rows = sqlx::query(
            "SELECT path, before_kind, before_bytes, after_kind, after_bytes FROM mutation_file \
             WHERE seq = ? AND part = ? ORDER BY file",
        )
        .bind(seq)
        .bind(index)
        .fetch_all(&mut *on)
        .await
        .map_err(failed)?;
        let mut files = Vec::with_capacity(rows.len());
        for row in &rows {
            let path = path(row.try_get("path").map_err(failed)?);
            let before = image(file, row, "before_kind", "before_bytes")?;
            files.push(FileChange {
                path,
                before,
                after: image(file, row, "after_kind", "after_bytes")?,
            });
        }
        let PartHead { repo, directory, branch, fence, .. } = part;
        parts.push(Part { repo, directory, branch, fence, files });
    }
    let OperationHead {
        id,
        at_ms,
        from_repo,
        from_session,
        from_root,
        title,
        tool,
        state,
        message,
        ..
    } = head;
    Ok(Operation {
        id,
        at_ms,
        from_repo,
        from_session,
        from_root,
        title,
        tool,
        parts,
        state,
        message,
    })
}

fn image(
    file: &RepoFile,
    row: &SqliteRow,
    kind: &str,
    bytes: &str,
) -> Result<Option<Image>, StoreError> {
    let kind: Option<String> = row.try_get(kind).map_err(|error| file.failed(error))?;
    let bytes: Option<Vec<u8>> = row.try_get(bytes).map_err(|error| file.failed(error))?;
    let (Some(kind), Some(bytes)) = (kind, bytes) else { return Ok(None) };
    let kind = ImageKind::named(&kind).ok_or_else(|| strange(file, "kind", &kind))?;
    Ok(Some(Image { kind, bytes }))
}

/// Where the same schema holds a word nobody knows, somebody else has written there.
pub(super) fn strange(file: &RepoFile, what: &str, word: &str) -> StoreError {
    StoreError::Corrupt {
        path: file.path().to_owned(),
        reason: format!("it holds an unknown {what}, `{word}`"),
    }
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

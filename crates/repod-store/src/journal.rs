//! The journal of one repo: writes that cross repos, on disk before anything is done about them.
//!
//! ```text
//!  begin ─► pending ──advance──► applied │ unchanged │ refused │ rolled back │ conflict
//!                   (conditional: whoever comes second is told what it is by now)
//!  begin ───────────────────────► bypass: seen afterwards, final at once
//! ```
//!
//! Every call is one transaction, committed to the disk when it answers. A call that is dropped before it
//! answers has happened or not; asking again is safe. What is final loses the files' contents at once.

mod rows;
mod types;

pub use types::{
    FileChange, Image, ImageKind, NewOperation, Operation, OperationHead, Part, PartHead, State,
};

use crate::file::Writing;
use crate::{RepoFile, StoreError};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{AssertSqlSafe, Transaction};
use std::path::Path;

/// The most one operation may hold, in bytes: contents before and after, paths and words.
pub const MAX_OPERATION: u64 = 64 << 20;
/// How many are removed in one transaction, so nobody waits long behind [`Journal::prune`].
const PRUNE: i64 = 200;

/// The journal of one repo. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    file: RepoFile,
}

/// What [`Journal::begin`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is on record now.
    New,
    /// It was already; this is what it has come to.
    Known(Box<Operation>),
}

/// What a conditional change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is as was asked.
    Updated,
    /// It is in another state than was thought, and stays there.
    Stale(State),
    /// There is none of that name.
    Gone,
}

/// What [`Journal::prune`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Final ones asked for before this moment go, in milliseconds since 1970.
    pub since_ms: i64,
    /// Of the final ones, so many of the newest stay at most.
    pub newest: u32,
}

impl Journal {
    /// Opens the journal in this file, and makes the file where there is none.
    ///
    /// # Errors
    ///
    /// See [`RepoFile::open`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(RepoFile::open(path).await?))
    }

    /// The journal in a file that is open.
    #[must_use]
    pub fn of(file: RepoFile) -> Self {
        Self { file }
    }

    /// Its file, for what else is kept there: one open file for all of it keeps who writes in line.
    #[must_use]
    pub fn file(&self) -> &RepoFile {
        &self.file
    }

    /// Ends the file's connections.
    pub async fn close(&self) {
        self.file.close().await;
    }

    /// Records an operation, once: the same name again answers with what is on record.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] beyond [`MAX_OPERATION`]; nothing is recorded then.
    pub async fn begin(&self, op: &NewOperation) -> Result<Begun, StoreError> {
        let size = op.size();
        if size > MAX_OPERATION {
            return Err(StoreError::TooLarge { size, limit: MAX_OPERATION });
        }
        let mut all = self.change().await?;
        if rows::insert(&mut all, op).await.map_err(|error| self.file.failed(error))? {
            self.commit(all).await?;
            return Ok(Begun::New);
        }
        match self.find(&mut all, &op.id).await? {
            Some(known) => Ok(Begun::Known(Box::new(known))),
            // Within one transaction what is in the way of an insert is there.
            None => Err(self.file.failed(sqlx::Error::RowNotFound)),
        }
    }

    /// Brings an operation from one state to another, if it is in the first. `message` replaces the one on
    /// record; `fences` are (index of the part, number). From and to [`State::Pending`] records just these.
    ///
    /// What is final is never pending again: that is answered as stale.
    ///
    /// # Errors
    ///
    /// When the database fails; then nothing is changed, or all.
    pub async fn advance(
        &self,
        id: &str,
        from: State,
        to: State,
        message: Option<&str>,
        fences: Option<&[(usize, u64)]>,
    ) -> Result<Changed, StoreError> {
        let failed = |error| self.file.failed(error);
        // Not waited for on the disk: what is lost with the power is found out again from the files.
        let mut all = self.file.write(&self.file.quick).await?;
        let now: Option<(i64, String)> =
            sqlx::query_as("SELECT seq, state FROM mutation WHERE id = ?")
                .bind(id)
                .fetch_optional(&mut *all)
                .await
                .map_err(failed)?;
        let Some((seq, now)) = now else { return Ok(Changed::Gone) };
        let now = State::named(&now).ok_or_else(|| rows::strange(&self.file, "state", &now))?;
        if now != from || (now.is_final() && !to.is_final()) {
            return Ok(Changed::Stale(now));
        }
        sqlx::query("UPDATE mutation SET state = ?, message = coalesce(?, message) WHERE seq = ?")
            .bind(to.name())
            .bind(message)
            .bind(seq)
            .execute(&mut *all)
            .await
            .map_err(failed)?;
        for (part, fence) in fences.unwrap_or_default() {
            sqlx::query("UPDATE mutation_part SET fence = ? WHERE seq = ? AND part = ?")
                .bind(fence.cast_signed())
                .bind(seq)
                .bind(i64::try_from(*part).unwrap_or(i64::MAX))
                .execute(&mut *all)
                .await
                .map_err(failed)?;
        }
        if !to.keeps_contents() {
            sqlx::query(
                "UPDATE mutation_file SET before_bytes = NULL, after_bytes = NULL WHERE seq = ?",
            )
            .bind(seq)
            .execute(&mut *all)
            .await
            .map_err(failed)?;
        }
        self.commit(all).await?;
        Ok(Changed::Updated)
    }

    /// The operation of this name.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn get(&self, id: &str) -> Result<Option<Operation>, StoreError> {
        let mut all = self.look().await?;
        self.find(&mut all, id).await
    }

    /// What is pending, the oldest first, with all contents: what a crash has left.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn unfinished(&self) -> Result<Vec<Operation>, StoreError> {
        let mut all = self.look().await?;
        let query =
            format!("SELECT {} FROM mutation WHERE state = 'pending' ORDER BY seq", rows::HEAD);
        let found = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut *all).await;
        let mut operations = Vec::new();
        for row in found.map_err(|error| self.file.failed(error))? {
            let head = rows::head(&self.file, &row)?;
            operations.push(rows::whole(&self.file, &mut all, head).await?);
        }
        Ok(operations)
    }

    /// At most so many operations, the newest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(&self, limit: u32) -> Result<Vec<OperationHead>, StoreError> {
        let mut all = self.look().await?;
        let query = format!("SELECT {} FROM mutation ORDER BY seq DESC LIMIT ?", rows::HEAD);
        let found = sqlx::query(AssertSqlSafe(query)).bind(limit).fetch_all(&mut *all).await;
        let mut heads = Vec::new();
        for row in found.map_err(|error| self.file.failed(error))? {
            let mut found = rows::head(&self.file, &row)?;
            let parts = rows::part_heads(&mut all, found.seq).await;
            found.head.parts = parts.map_err(|error| self.file.failed(error))?;
            heads.push(found.head);
        }
        Ok(heads)
    }

    /// Removes final operations, gives their room back to the disk, and says how many there were.
    ///
    /// # Errors
    ///
    /// When the database fails; some may have been removed then.
    pub async fn prune(&self, keep: Keep) -> Result<u64, StoreError> {
        let failed = |error| self.file.failed(error);
        let mut removed = 0;
        loop {
            let mut all = self.change().await?;
            let gone = sqlx::query(
                "DELETE FROM mutation WHERE seq IN (SELECT seq FROM mutation WHERE state <> 'pending' AND (at_ms < ? \
                 OR seq <= (SELECT seq FROM mutation WHERE state <> 'pending' ORDER BY seq DESC LIMIT 1 OFFSET ?)) \
                 ORDER BY seq LIMIT ?)",
            )
            .bind(keep.since_ms)
            .bind(keep.newest)
            .bind(PRUNE)
            .execute(&mut *all)
            .await
            .map_err(failed)?;
            self.commit(all).await?;
            removed += gone.rows_affected();
            if gone.rows_affected() < PRUNE.cast_unsigned() {
                break;
            }
        }
        sqlx::raw_sql("PRAGMA incremental_vacuum(4096)")
            .execute(&self.file.durable)
            .await
            .map_err(failed)?;
        Ok(removed)
    }

    async fn find(
        &self,
        on: &mut SqliteConnection,
        id: &str,
    ) -> Result<Option<Operation>, StoreError> {
        let query = format!("SELECT {} FROM mutation WHERE id = ?", rows::HEAD);
        let row = sqlx::query(AssertSqlSafe(query)).bind(id).fetch_optional(&mut *on).await;
        match row.map_err(|error| self.file.failed(error))? {
            Some(row) => rows::whole(&self.file, on, rows::head(&self.file, &row)?).await.map(Some),
            None => Ok(None),
        }
    }

    async fn change(&self) -> Result<Writing, StoreError> {
        self.file.write(&self.file.durable).await
    }

    async fn look(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.file.durable.begin().await.map_err(|error| self.file.failed(error))
    }

    async fn commit(&self, writing: Writing) -> Result<(), StoreError> {
        writing.commit().await.map_err(|error| self.file.failed(error))
    }
}

//! The store on either database: which call is which transaction.

use super::sql::Database;
use super::{
    Begun, Change, Ensured, Limits, MAX_INPUT, MAX_LINE, MAX_SESSION, NewSession, NewTurn, Owner,
    Page, Retention,
};
use super::{
    Session, SessionChange, SessionFilter, SessionKey, SessionStatus, Settlement, Started, Store,
    Turn,
};
use super::{TurnMark, events, owners, prune, records, turns};
use crate::postgres::Postgres;
use crate::{RepoFile, StoreError};
use std::time::Duration;

/// The store in a repo's own file, or in a Postgres that several daemons share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqlStore {
    database: Database,
    limits: Limits,
}

impl SqlStore {
    /// In a repo's own `repod.db`.
    #[must_use]
    pub fn sqlite(file: RepoFile, limits: Limits) -> Self {
        Self { database: Database::Sqlite(file), limits }
    }

    /// In a Postgres: `postgres://user:password@host:port/database`, with the parameters libpq has. Brings
    /// its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`], or [`StoreError::TooNew`]; nothing is changed there then.
    pub async fn postgres(url: &str, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self { database: Database::Postgres(Postgres::connect(url).await?), limits })
    }

    /// A session that needs nothing but to be told: the usual answer, without a write.
    async fn resume(&self, owner: &Owner, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let mut tx = self.database.read().await?;
        let Some(session) = records::find(&mut tx, key).await? else { return Ok(None) };
        let is_mine =
            session.owner.as_ref() == Some(&owner.name) && session.status != SessionStatus::Closed;
        Ok((is_mine && owners::is_newest(&mut tx, owner).await?).then_some(session))
    }
}

#[async_trait::async_trait]
impl Store for SqlStore {
    async fn enrol(&self, owner: &str, lease: Duration) -> Result<Owner, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = owners::enrol(&mut tx, owner, lease).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Change<()>, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = owners::renew(&mut tx, owner, lease).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn retire(&self, owner: &Owner) -> Result<Change<()>, StoreError> {
        self.renew(owner, Duration::ZERO).await
    }

    async fn recover(&self, owner: &Owner) -> Result<Change<Vec<Turn>>, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = turns::recover(&mut tx, owner).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn ensure(&self, owner: &Owner, new: &NewSession) -> Result<Ensured, StoreError> {
        check(new.size(), MAX_SESSION)?;
        if let Some(session) = self.resume(owner, &new.key).await? {
            return Ok(Ensured::Resumed(session));
        }
        let mut tx = self.database.write().await?;
        let answer = records::ensure(&mut tx, owner, new).await?;
        tx.commit().await?;
        answer.ok_or_else(|| self.database.busy())
    }

    async fn update(
        &self,
        owner: &Owner,
        key: &SessionKey,
        generation: u64,
        change: &SessionChange,
    ) -> Result<Change<Session>, StoreError> {
        check(change.size(), MAX_SESSION)?;
        let mut tx = self.database.write().await?;
        let answer = records::update(&mut tx, owner, key, generation, change).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn close(&self, owner: &Owner, key: &SessionKey) -> Result<Change<Session>, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = records::close(&mut tx, owner, key).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        records::find(&mut self.database.read().await?, key).await
    }

    async fn list(&self, which: &SessionFilter, limit: u32) -> Result<Vec<Session>, StoreError> {
        records::list(&mut self.database.read().await?, which, limit).await
    }

    async fn begin_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        new: &NewTurn,
    ) -> Result<Change<Begun>, StoreError> {
        check(new.input.len(), MAX_INPUT)?;
        let mut tx = self.database.write().await?;
        let answer = turns::begin(&mut tx, owner, key, new).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn start_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        on: &Started,
    ) -> Result<Change<Turn>, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = turns::start(&mut tx, owner, key, turn, on).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn mark_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        to: TurnMark,
    ) -> Result<Change<Turn>, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = turns::mark(&mut tx, owner, key, turn, to).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn settle_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        how: &Settlement,
    ) -> Result<Change<Turn>, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = turns::settle(&mut tx, owner, key, turn, how).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn turn(&self, key: &SessionKey, turn: u64) -> Result<Option<Turn>, StoreError> {
        turns::find(&mut self.database.read().await?, key, turn).await
    }

    async fn turns(
        &self,
        key: &SessionKey,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Turn>, StoreError> {
        turns::list(&mut self.database.read().await?, key, below, limit).await
    }

    async fn append(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        first: u64,
        lines: &[Vec<u8>],
    ) -> Result<Change<u64>, StoreError> {
        for line in lines {
            check(line.len(), MAX_LINE)?;
        }
        let mut tx = self.database.write().await?;
        let answer =
            events::append(&mut tx, owner, (key, turn), (first, lines), self.limits).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn events(
        &self,
        key: &SessionKey,
        turn: u64,
        after: u64,
        limit: u32,
    ) -> Result<Option<Page>, StoreError> {
        events::page(&mut self.database.read().await?, key, turn, after, limit).await
    }

    async fn prune(&self, owner: &Owner, what: &Retention) -> Result<u64, StoreError> {
        let mut tx = self.database.write().await?;
        let answer = prune::prune(&mut tx, owner, what).await?;
        tx.commit().await?;
        Ok(answer)
    }

    async fn end(&self) {
        self.database.end().await;
    }
}

fn check(size: usize, limit: u64) -> Result<(), StoreError> {
    let size = size as u64;
    if size > limit { Err(StoreError::TooLarge { size, limit }) } else { Ok(()) }
}

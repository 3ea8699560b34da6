//! Who may change what: starts of daemons, their leases, and sessions that change hands.

use super::records;
use super::sql::{Lock, Tx};
use super::{Change, Owner, Session, SessionKey, SessionStatus, Stale};
use crate::StoreError;
use std::time::Duration;

const INCARNATION: &str = "SELECT incarnation FROM agent_owners WHERE owner = $1";

pub(super) async fn enrol(
    tx: &mut Tx<'_>,
    owner: &str,
    lease: Duration,
) -> Result<Owner, StoreError> {
    let expires = until(tx, lease).await?;
    // Waits for what an older start is in the middle of; afterwards that one can begin nothing more.
    tx.execute(
        "INSERT INTO agent_owners (owner, incarnation, expires_ms) VALUES ($1, 1, $2) ON CONFLICT (owner) \
         DO UPDATE SET incarnation = agent_owners.incarnation + 1, expires_ms = excluded.expires_ms",
        &[owner.into(), expires.into()],
    )
    .await?;
    let row = tx.row(INCARNATION, &[owner.into()]).await?;
    let incarnation = row.map(|row| row.get("incarnation")).transpose()?.unwrap_or_default();
    Ok(Owner { name: owner.to_owned(), incarnation })
}

pub(super) async fn renew(
    tx: &mut Tx<'_>,
    owner: &Owner,
    lease: Duration,
) -> Result<Change<()>, StoreError> {
    let expires = if lease.is_zero() { 0 } else { until(tx, lease).await? };
    let sql = "UPDATE agent_owners SET expires_ms = $3 WHERE owner = $1 AND incarnation = $2";
    if tx.execute(sql, &[(&owner.name).into(), owner.incarnation.into(), expires.into()]).await?
        == 1
    {
        return Ok(Change::Updated(()));
    }
    Ok(Change::Stale(Stale::Superseded))
}

/// Whether this start is its owner's newest; it stays so until the transaction ends.
pub(super) async fn is_current(tx: &mut Tx<'_>, owner: &Owner) -> Result<bool, StoreError> {
    let row = tx.locked(Lock::Share, INCARNATION, &[(&owner.name).into()]).await?;
    Ok(row.map(|row| row.get::<i64>("incarnation")).transpose()? == Some(owner.incarnation))
}

/// Whether this start is its owner's newest, at the moment.
pub(super) async fn is_newest(tx: &mut Tx<'_>, owner: &Owner) -> Result<bool, StoreError> {
    let row = tx.row(INCARNATION, &[(&owner.name).into()]).await?;
    Ok(row.map(|row| row.get::<i64>("incarnation")).transpose()? == Some(owner.incarnation))
}

/// How long a daemon's lease still runs.
pub(super) async fn lapses_in(tx: &mut Tx<'_>, owner: &str) -> Result<Duration, StoreError> {
    let row =
        tx.row("SELECT expires_ms FROM agent_owners WHERE owner = $1", &[owner.into()]).await?;
    let expires: i64 = row.map(|row| row.get("expires_ms")).transpose()?.unwrap_or_default();
    let left = expires.saturating_sub(tx.shared_now().await?);
    Ok(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// A session that is the caller's, kept for it until the transaction ends; or why it isn't.
pub(super) async fn held<T>(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
) -> Result<Result<Session, Change<T>>, StoreError> {
    if !is_current(tx, owner).await? {
        return Ok(Err(Change::Stale(Stale::Superseded)));
    }
    let Some(session) = records::lock(tx, key).await? else { return Ok(Err(Change::Gone)) };
    if session.owner.as_ref() != Some(&owner.name) || session.status == SessionStatus::Closed {
        return Ok(Err(Change::Stale(Stale::NotOwned(session.owner))));
    }
    Ok(Ok(session))
}

async fn until(tx: &mut Tx<'_>, lease: Duration) -> Result<i64, StoreError> {
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    Ok(tx.shared_now().await?.saturating_add(lease))
}

//! Sessions to rows and back, and what happens to a session as a whole.

use super::sql::{Lock, Row, Tx, now};
use super::{
    Change, Ensured, NewSession, Owner, Session, SessionChange, SessionFilter, SessionKey,
};
use super::{Outcome, SessionStatus, Settlement, Stale, Turn, TurnFailure, owners, turns};
use crate::StoreError;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT repo_id, session_id, backend, agent, model, agent_session_id, directory, server_port, ",
            "generation, status, config_hash, title, options, owner, created_ms, last_active_ms FROM agent_sessions ",
            $rest
        )
    };
}

const ONE: &str = select!("WHERE repo_id = $1 AND session_id = $2");

pub(super) async fn find(tx: &mut Tx<'_>, key: &SessionKey) -> Result<Option<Session>, StoreError> {
    let row = tx.row(ONE, &[(&key.repo_id).into(), (&key.session_id).into()]).await?;
    row.as_ref().map(read).transpose()
}

/// The session, kept from others until the transaction ends.
pub(super) async fn lock(tx: &mut Tx<'_>, key: &SessionKey) -> Result<Option<Session>, StoreError> {
    let row =
        tx.locked(Lock::Change, ONE, &[(&key.repo_id).into(), (&key.session_id).into()]).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn list(
    tx: &mut Tx<'_>,
    which: &SessionFilter,
    limit: u32,
) -> Result<Vec<Session>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE ($1 IS NULL OR repo_id = $1) AND ($2 = 1 OR status <> 'closed') \
                 ORDER BY last_active_ms DESC, repo_id, session_id LIMIT $3"
            ),
            &[
                which.repo_id.as_deref().into(),
                i64::from(which.closed).into(),
                i64::from(limit).into(),
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Creates, resumes or takes a session; `None`: others remove it and make it all the time.
pub(super) async fn ensure(
    tx: &mut Tx<'_>,
    owner: &Owner,
    new: &NewSession,
) -> Result<Option<Ensured>, StoreError> {
    if !owners::is_current(tx, owner).await? {
        return Ok(Some(Ensured::Superseded));
    }
    let mut made = insert(tx, owner, new).await?;
    let mut found = lock(tx, &new.key).await?;
    if !made && found.is_none() {
        // It was removed between the two, so nothing is in the way any more.
        made = insert(tx, owner, new).await?;
        found = lock(tx, &new.key).await?;
    }
    let Some(session) = found else { return Ok(None) };
    if made {
        return Ok(Some(Ensured::Created(session)));
    }
    if session.status == SessionStatus::Closed {
        begin_again(tx, owner, new).await?;
        return Ok(find(tx, &new.key).await?.map(Ensured::Created));
    }
    let other = match session.owner {
        Some(ref name) if *name == owner.name => return Ok(Some(Ensured::Resumed(session))),
        other => other,
    };
    if let Some(other) = &other {
        let lapses_in = owners::lapses_in(tx, other).await?;
        if !lapses_in.is_zero() {
            return Ok(Some(Ensured::Foreign { owner: other.clone(), lapses_in }));
        }
    }
    let left = interrupt(tx, &new.key, "owner_lost", "the daemon that ran it is gone").await?;
    let sql = "UPDATE agent_sessions SET owner = $3, status = CASE WHEN status = 'crashed' THEN status \
               ELSE 'idle' END WHERE repo_id = $1 AND session_id = $2";
    let values = [(&new.key.repo_id).into(), (&new.key.session_id).into(), (&owner.name).into()];
    tx.execute(sql, &values).await?;
    Ok(find(tx, &new.key).await?.map(|session| Ensured::Taken(session, left)))
}

async fn insert(tx: &mut Tx<'_>, owner: &Owner, new: &NewSession) -> Result<bool, StoreError> {
    let made = tx
        .execute(
            "INSERT INTO agent_sessions (repo_id, session_id, backend, agent, model, directory, generation, \
             status, config_hash, title, owner, next_turn, created_ms, last_active_ms, options) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, 'idle', $7, $8, $9, 1, $10, $10, $11) \
             ON CONFLICT (repo_id, session_id) DO NOTHING",
            &[
                (&new.key.repo_id).into(),
                (&new.key.session_id).into(),
                (&new.backend).into(),
                (&new.agent).into(),
                (&new.model).into(),
                (&new.directory).into(),
                (&new.config_hash).into(),
                (&new.title).into(),
                (&owner.name).into(),
                now().into(),
                (&new.options).into(),
            ],
        )
        .await?;
    Ok(made == 1)
}

/// A closed session's name begins a new one. Its turns go on counting, so none is taken for another.
async fn begin_again(tx: &mut Tx<'_>, owner: &Owner, new: &NewSession) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE agent_sessions SET backend = $3, agent = $4, model = $5, directory = $6, config_hash = $7, \
         title = $8, owner = $9, created_ms = $10, last_active_ms = $10, status = 'idle', generation = 0, \
         agent_session_id = NULL, server_port = NULL, options = $11 WHERE repo_id = $1 AND session_id = $2",
        &[
            (&new.key.repo_id).into(),
            (&new.key.session_id).into(),
            (&new.backend).into(),
            (&new.agent).into(),
            (&new.model).into(),
            (&new.directory).into(),
            (&new.config_hash).into(),
            (&new.title).into(),
            (&owner.name).into(),
            now().into(),
            (&new.options).into(),
        ],
    )
    .await
    .map(drop)
}

pub(super) async fn update(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
    generation: u64,
    change: &SessionChange,
) -> Result<Change<Session>, StoreError> {
    let session = match owners::held(tx, owner, key).await? {
        Ok(session) => session,
        Err(not) => return Ok(not),
    };
    if session.generation != generation || change.generation.is_some_and(|to| to < generation) {
        return Ok(Change::Stale(Stale::Generation(session.generation)));
    }
    let fresh =
        change.agent_session_id.is_some() && change.agent_session_id != session.agent_session_id;
    let status = match session.status {
        SessionStatus::Crashed if fresh => SessionStatus::Idle,
        status => status,
    };
    tx.execute(
        "UPDATE agent_sessions SET agent_session_id = coalesce($3, agent_session_id), \
         generation = coalesce($4, generation), server_port = coalesce($5, server_port), \
         directory = coalesce($6, directory), agent = coalesce($7, agent), model = coalesce($8, model), \
         config_hash = coalesce($9, config_hash), title = coalesce($10, title), status = $11, options = coalesce($12, options) \
         WHERE repo_id = $1 AND session_id = $2",
        &[
            (&key.repo_id).into(),
            (&key.session_id).into(),
            change.agent_session_id.as_deref().into(),
            change.generation.map(u64::cast_signed).into(),
            change.server_port.map(i64::from).into(),
            change.directory.as_deref().into(),
            change.agent.as_deref().into(),
            change.model.as_deref().into(),
            change.config_hash.as_deref().into(),
            change.title.as_deref().into(),
            status.name().into(),
            change.options.as_deref().into(),
        ],
    )
    .await?;
    Ok(find(tx, key).await?.map_or(Change::Gone, Change::Updated))
}

pub(super) async fn close(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
) -> Result<Change<Session>, StoreError> {
    match owners::held(tx, owner, key).await? {
        Ok(_) => {}
        Err(Change::Stale(Stale::NotOwned(None))) => {
            return Ok(find(tx, key).await?.map_or(Change::Gone, Change::Updated));
        }
        Err(not) => return Ok(not),
    }
    interrupt(tx, key, "closed", "its session was closed").await?;
    let sql = "UPDATE agent_sessions SET status = 'closed', owner = NULL WHERE repo_id = $1 AND session_id = $2";
    tx.execute(sql, &[(&key.repo_id).into(), (&key.session_id).into()]).await?;
    Ok(find(tx, key).await?.map_or(Change::Gone, Change::Updated))
}

/// Settles whatever turns of a session are open, and says which; the session's row is the caller's.
async fn interrupt(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    name: &str,
    message: &str,
) -> Result<Vec<Turn>, StoreError> {
    let error = TurnFailure { name: name.to_owned(), message: message.to_owned() };
    let how = Settlement { outcome: Outcome::Interrupted, error: Some(error), crashed: false };
    let mut settled = Vec::new();
    for number in turns::open(tx, key).await? {
        turns::write_outcome(tx, key, number, &how).await?;
        settled.extend(turns::find(tx, key, number).await?);
    }
    Ok(settled)
}

/// What a session is doing now, and that it is.
pub(super) async fn set_status(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    status: SessionStatus,
) -> Result<(), StoreError> {
    let sql = "UPDATE agent_sessions SET status = $3, last_active_ms = $4 WHERE repo_id = $1 AND session_id = $2";
    let values =
        [(&key.repo_id).into(), (&key.session_id).into(), status.name().into(), now().into()];
    tx.execute(sql, &values).await.map(drop)
}

fn read(row: &Row<'_>) -> Result<Session, StoreError> {
    let status: String = row.get("status")?;
    let port: Option<i64> = row.get("server_port")?;
    Ok(Session {
        key: SessionKey { repo_id: row.get("repo_id")?, session_id: row.get("session_id")? },
        backend: row.get("backend")?,
        agent: row.get("agent")?,
        model: row.get("model")?,
        agent_session_id: row.get("agent_session_id")?,
        directory: row.get("directory")?,
        server_port: port.and_then(|port| u16::try_from(port).ok()),
        generation: row.count("generation")?,
        status: SessionStatus::named(&status).ok_or_else(|| row.strange("status", &status))?,
        config_hash: row.get("config_hash")?,
        title: row.get("title")?,
        options: row.get("options")?,
        owner: row.get("owner")?,
        created_ms: row.get("created_ms")?,
        last_active_ms: row.get("last_active_ms")?,
    })
}

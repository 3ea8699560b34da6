//! Turns to rows and back, and how they move from state to state. Whoever changes a turn has its session's
//! row, so all that happens to the turns of one session happens one after the other.

use super::sql::{Row, Tx, now};
use super::{
    Begun, Change, NewTurn, Owner, Session, SessionKey, SessionStatus, Settlement, Stale, Started,
};
use super::{Turn, TurnFailure, TurnMark, TurnState, owners, records};
use crate::StoreError;

macro_rules! select {
    ($input:literal, $rest:literal) => {
        concat!(
            "SELECT t.repo_id, t.session_id, t.turn, t.turn_id, t.state, t.error_name, t.error_message, ",
            "t.message_id, t.generation, t.prompt, t.begun_ms, t.started_ms, t.settled_ms, t.next_event, ",
            $input,
            " AS input FROM agent_turns t ",
            $rest
        )
    };
}

pub(super) async fn find(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    turn: u64,
) -> Result<Option<Turn>, StoreError> {
    let sql = select!("t.input", "WHERE t.repo_id = $1 AND t.session_id = $2 AND t.turn = $3");
    let row = tx.row(sql, &[(&key.repo_id).into(), (&key.session_id).into(), turn.into()]).await?;
    row.as_ref().map(read).transpose()
}

async fn named(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    turn_id: &str,
) -> Result<Option<Turn>, StoreError> {
    let sql = select!("t.input", "WHERE t.repo_id = $1 AND t.session_id = $2 AND t.turn_id = $3");
    let row =
        tx.row(sql, &[(&key.repo_id).into(), (&key.session_id).into(), turn_id.into()]).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn list(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    below: Option<u64>,
    limit: u32,
) -> Result<Vec<Turn>, StoreError> {
    let below = below.map_or(i64::MAX, u64::cast_signed);
    let rows = tx
        .rows(
            select!(
                "CAST(NULL AS BYTEA)",
                "WHERE t.repo_id = $1 AND t.session_id = $2 AND t.turn < $3 ORDER BY t.turn DESC LIMIT $4"
            ),
            &[(&key.repo_id).into(), (&key.session_id).into(), below.into(), i64::from(limit).into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The turns of all sessions of this owner that have no outcome, given to its present start.
pub(super) async fn recover(
    tx: &mut Tx<'_>,
    owner: &Owner,
) -> Result<Change<Vec<Turn>>, StoreError> {
    if !owners::is_current(tx, owner).await? {
        return Ok(Change::Stale(Stale::Superseded));
    }
    tx.execute(
        "UPDATE agent_turns SET incarnation = $2 WHERE settled_ms IS NULL AND incarnation <> $2 AND EXISTS \
         (SELECT 1 FROM agent_sessions s WHERE s.repo_id = agent_turns.repo_id \
         AND s.session_id = agent_turns.session_id AND s.owner = $1)",
        &[(&owner.name).into(), owner.incarnation.into()],
    )
    .await?;
    let rows = tx
        .rows(
            select!(
                "t.input",
                "JOIN agent_sessions s ON s.repo_id = t.repo_id AND s.session_id = t.session_id \
                 WHERE s.owner = $1 AND t.settled_ms IS NULL ORDER BY t.repo_id, t.session_id, t.turn"
            ),
            &[(&owner.name).into()],
        )
        .await?;
    rows.iter().map(read).collect::<Result<_, _>>().map(Change::Updated)
}

/// The numbers of a session's open turns, in order.
pub(super) async fn open(tx: &mut Tx<'_>, key: &SessionKey) -> Result<Vec<u64>, StoreError> {
    let sql = "SELECT turn FROM agent_turns WHERE repo_id = $1 AND session_id = $2 AND settled_ms IS NULL \
               ORDER BY turn";
    let rows = tx.rows(sql, &[(&key.repo_id).into(), (&key.session_id).into()]).await?;
    rows.iter().map(|row| row.count("turn")).collect()
}

pub(super) async fn begin(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
    new: &NewTurn,
) -> Result<Change<Begun>, StoreError> {
    match owners::held(tx, owner, key).await? {
        Ok(_) => {}
        Err(not) => return Ok(not),
    }
    if let Some(known) = named(tx, key, &new.turn_id).await? {
        return Ok(Change::Updated(Begun::Known(known)));
    }
    let ahead = u32::try_from(open(tx, key).await?.len()).unwrap_or(u32::MAX);
    if ahead > new.most_ahead {
        return Ok(Change::Updated(Begun::Full(ahead)));
    }
    tx.execute(
        "INSERT INTO agent_turns (repo_id, session_id, turn, turn_id, state, generation, incarnation, input, \
         begun_ms, prompt, next_event, kept_events, kept_bytes) \
         SELECT repo_id, session_id, next_turn, $3, 'queued', 0, $4, $5, $6, $7, 1, 0, 0 FROM agent_sessions \
         WHERE repo_id = $1 AND session_id = $2",
        &[
            (&key.repo_id).into(),
            (&key.session_id).into(),
            (&new.turn_id).into(),
            owner.incarnation.into(),
            new.input.as_slice().into(),
            now().into(),
            (&new.prompt).into(),
        ],
    )
    .await?;
    let sql = "UPDATE agent_sessions SET next_turn = next_turn + 1, last_active_ms = $3 \
               WHERE repo_id = $1 AND session_id = $2";
    tx.execute(sql, &[(&key.repo_id).into(), (&key.session_id).into(), now().into()]).await?;
    let turn = named(tx, key, &new.turn_id).await?;
    Ok(turn.map_or(Change::Gone, |turn| Change::Updated(Begun::New(turn, ahead))))
}

/// A turn of a session that is the caller's; or why there is none.
async fn held<T>(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
    turn: u64,
) -> Result<Result<(Session, Turn), Change<T>>, StoreError> {
    let session = match owners::held(tx, owner, key).await? {
        Ok(session) => session,
        Err(not) => return Ok(Err(not)),
    };
    Ok(find(tx, key, turn).await?.map(|turn| (session, turn)).ok_or(Change::Gone))
}

pub(super) async fn start(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
    number: u64,
    on: &Started,
) -> Result<Change<Turn>, StoreError> {
    let turn = match held(tx, owner, key, number).await? {
        Ok((_, turn)) => turn,
        Err(not) => return Ok(not),
    };
    match turn.state {
        TurnState::Queued => {}
        // The same start again, whose answer was not heard.
        TurnState::Running
            if turn.generation == on.generation && turn.message_id == on.message_id =>
        {
            return Ok(Change::Updated(turn));
        }
        state => return Ok(Change::Stale(Stale::Turn(state))),
    }
    if let Some(first) = open(tx, key).await?.first().filter(|first| **first < number) {
        return Ok(Change::Stale(Stale::NotFirst(*first)));
    }
    tx.execute(
        "UPDATE agent_turns SET state = 'running', generation = $4, message_id = $5, started_ms = $6 \
         WHERE repo_id = $1 AND session_id = $2 AND turn = $3",
        &[
            (&key.repo_id).into(),
            (&key.session_id).into(),
            number.into(),
            on.generation.into(),
            on.message_id.as_deref().into(),
            now().into(),
        ],
    )
    .await?;
    records::set_status(tx, key, SessionStatus::Busy).await?;
    Ok(find(tx, key, number).await?.map_or(Change::Gone, Change::Updated))
}

pub(super) async fn mark(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
    number: u64,
    to: TurnMark,
) -> Result<Change<Turn>, StoreError> {
    let turn = match held(tx, owner, key, number).await? {
        Ok((_, turn)) => turn,
        Err(not) => return Ok(not),
    };
    let (state, status) = match to {
        TurnMark::Running => (TurnState::Running, SessionStatus::Busy),
        TurnMark::Waiting => (TurnState::Waiting, SessionStatus::Waiting),
    };
    match turn.state {
        now if now == state => return Ok(Change::Updated(turn)),
        TurnState::Running | TurnState::Waiting => {}
        other => return Ok(Change::Stale(Stale::Turn(other))),
    }
    let sql =
        "UPDATE agent_turns SET state = $4 WHERE repo_id = $1 AND session_id = $2 AND turn = $3";
    let values =
        [(&key.repo_id).into(), (&key.session_id).into(), number.into(), state.name().into()];
    tx.execute(sql, &values).await?;
    records::set_status(tx, key, status).await?;
    Ok(find(tx, key, number).await?.map_or(Change::Gone, Change::Updated))
}

pub(super) async fn settle(
    tx: &mut Tx<'_>,
    owner: &Owner,
    key: &SessionKey,
    number: u64,
    how: &Settlement,
) -> Result<Change<Turn>, StoreError> {
    let (session, turn) = match held(tx, owner, key, number).await? {
        Ok(both) => both,
        Err(not) => return Ok(not),
    };
    if turn.state.is_settled() {
        return Ok(Change::Stale(Stale::Turn(turn.state)));
    }
    write_outcome(tx, key, number, how).await?;
    let status = match turn.state {
        _ if how.crashed => SessionStatus::Crashed,
        // Another one may be running.
        TurnState::Queued => session.status,
        _ => SessionStatus::Idle,
    };
    records::set_status(tx, key, status).await?;
    Ok(find(tx, key, number).await?.map_or(Change::Gone, Change::Updated))
}

/// Writes the outcome of an open turn. What was asked is no longer needed then.
pub(super) async fn write_outcome(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    number: u64,
    how: &Settlement,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE agent_turns SET state = $4, error_name = $5, error_message = $6, settled_ms = $7, input = NULL \
         WHERE repo_id = $1 AND session_id = $2 AND turn = $3 AND settled_ms IS NULL",
        &[
            (&key.repo_id).into(),
            (&key.session_id).into(),
            number.into(),
            TurnState::Settled(how.outcome).name().into(),
            how.error.as_ref().map(|error| error.name.as_str()).into(),
            how.error.as_ref().map(|error| error.message.as_str()).into(),
            now().into(),
        ],
    )
    .await
    .map(drop)
}

fn read(row: &Row<'_>) -> Result<Turn, StoreError> {
    let state: String = row.get("state")?;
    let name: Option<String> = row.get("error_name")?;
    let message: Option<String> = row.get("error_message")?;
    Ok(Turn {
        key: SessionKey { repo_id: row.get("repo_id")?, session_id: row.get("session_id")? },
        turn: row.count("turn")?,
        turn_id: row.get("turn_id")?,
        state: TurnState::named(&state).ok_or_else(|| row.strange("state", &state))?,
        error: name.map(|name| TurnFailure { name, message: message.unwrap_or_default() }),
        message_id: row.get("message_id")?,
        generation: row.count("generation")?,
        input: row.get("input")?,
        prompt: row.get("prompt")?,
        begun_ms: row.get("begun_ms")?,
        started_ms: row.get("started_ms")?,
        settled_ms: row.get("settled_ms")?,
        next_event: row.count("next_event")?,
    })
}

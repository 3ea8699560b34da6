//! What a turn told, kept so that a reader can go on where it was cut off.

use super::pieces::{self, Size};
use super::sql::Tx;
use super::{Change, Limits, Owner, Page, SessionKey, owners, turns};
use crate::StoreError;

/// From so many bytes on a page takes no further event.
const PAGE: usize = 4 << 20;

pub(super) async fn append(
    tx: &mut Tx<'_>,
    owner: &Owner,
    (key, turn): (&SessionKey, u64),
    (first, lines): (u64, &[Vec<u8>]),
    limits: Limits,
) -> Result<Change<u64>, StoreError> {
    match owners::held(tx, owner, key).await? {
        Ok(_) => {}
        Err(not) => return Ok(not),
    }
    let sql = "SELECT next_event, kept_events, kept_bytes FROM agent_turns \
               WHERE repo_id = $1 AND session_id = $2 AND turn = $3";
    let at = [(&key.repo_id).into(), (&key.session_id).into(), turn.into()];
    let Some(row) = tx.row(sql, &at).await? else { return Ok(Change::Gone) };
    let next = row.count("next_event")?;
    let known = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
    let new = lines.get(known..).unwrap_or_default();
    if new.is_empty() {
        return Ok(Change::Updated(next));
    }
    let first = first.max(next);
    let mut kept = (row.count("kept_events")?, row.count("kept_bytes")?);
    for piece in pieces::cut(first, new) {
        let sql = "INSERT INTO agent_turn_events (repo_id, session_id, turn, first, events, lines) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let values = [
            (&key.repo_id).into(),
            (&key.session_id).into(),
            turn.into(),
            piece.first.into(),
            piece.events.into(),
            piece.lines.as_slice().into(),
        ];
        tx.execute(sql, &values).await?;
        kept = (kept.0 + piece.events, kept.1 + piece.lines.len() as u64);
    }
    if pieces::is_too_much(kept.0, kept.1, limits) {
        kept = let_go(tx, key, turn, limits).await?.unwrap_or(kept);
    }
    let next = first + new.len() as u64;
    let sql = "UPDATE agent_turns SET next_event = $4, kept_events = $5, kept_bytes = $6 \
               WHERE repo_id = $1 AND session_id = $2 AND turn = $3";
    let values = [
        (&key.repo_id).into(),
        (&key.session_id).into(),
        turn.into(),
        next.into(),
        kept.0.into(),
        kept.1.into(),
    ];
    tx.execute(sql, &values).await?;
    Ok(Change::Updated(next))
}

/// Lets the oldest go, and says what is left.
async fn let_go(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    turn: u64,
    limits: Limits,
) -> Result<Option<(u64, u64)>, StoreError> {
    let sql = "SELECT first, events, CAST(length(lines) AS BIGINT) AS bytes FROM agent_turn_events \
               WHERE repo_id = $1 AND session_id = $2 AND turn = $3 ORDER BY first";
    let rows =
        tx.rows(sql, &[(&key.repo_id).into(), (&key.session_id).into(), turn.into()]).await?;
    let mut sizes = Vec::with_capacity(rows.len());
    for row in rows {
        sizes.push(Size {
            first: row.count("first")?,
            events: row.count("events")?,
            bytes: row.count("bytes")?,
        });
    }
    let Some((upto, events, bytes)) = pieces::let_go(&sizes, limits) else { return Ok(None) };
    let sql = "DELETE FROM agent_turn_events WHERE repo_id = $1 AND session_id = $2 AND turn = $3 AND first <= $4";
    let values = [(&key.repo_id).into(), (&key.session_id).into(), turn.into(), upto.into()];
    tx.execute(sql, &values).await?;
    Ok(Some((events, bytes)))
}

pub(super) async fn page(
    tx: &mut Tx<'_>,
    key: &SessionKey,
    number: u64,
    after: u64,
    limit: u32,
) -> Result<Option<Page>, StoreError> {
    let Some(turn) = turns::find(tx, key, number).await? else { return Ok(None) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut events, mut bytes, mut seen) = (Vec::new(), 0, after.min(i64::MAX as u64 - 1));
    // Piece by piece: what fits into a page is not known before it is read.
    'pieces: while events.len() < limit && bytes < PAGE {
        let sql = "SELECT first, events, lines FROM agent_turn_events WHERE repo_id = $1 AND session_id = $2 \
                   AND turn = $3 AND first + events > $4 + 1 ORDER BY first LIMIT 1";
        let values = [(&key.repo_id).into(), (&key.session_id).into(), number.into(), seen.into()];
        let Some(row) = tx.row(sql, &values).await? else { break };
        let (first, lines) = (row.count("first")?, row.get::<Vec<u8>>("lines")?);
        for (number, line) in pieces::lines(first, &lines) {
            if number <= seen {
                continue;
            }
            if events.len() >= limit || (bytes > 0 && bytes + line.len() > PAGE) {
                break 'pieces;
            }
            bytes += line.len();
            events.push((number, line.to_vec()));
        }
        seen = seen.max(first + row.count("events")? - 1);
    }
    Ok(Some(Page { events, state: turn.state, next_event: turn.next_event }))
}

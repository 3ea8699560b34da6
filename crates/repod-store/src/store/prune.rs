//! What is old goes, of one's own sessions and of those nobody owns.

use super::sql::Tx;
use super::{Owner, Retention, owners};
use crate::StoreError;

macro_rules! mine_settled_before {
    () => {
        "SELECT t.repo_id, t.session_id, t.turn FROM agent_turns t JOIN agent_sessions s \
         ON s.repo_id = t.repo_id AND s.session_id = t.session_id \
         WHERE (s.owner = $1 OR s.owner IS NULL) AND t.settled_ms < $2"
    };
}

pub(super) async fn prune(
    tx: &mut Tx<'_>,
    owner: &Owner,
    what: &Retention,
) -> Result<u64, StoreError> {
    if !owners::is_current(tx, owner).await? {
        return Ok(0);
    }
    let mut gone = 0;
    for (sql, before) in [
        (
            concat!(
                "DELETE FROM agent_turn_events WHERE (repo_id, session_id, turn) IN (",
                mine_settled_before!(),
                ")"
            ),
            what.events_before_ms,
        ),
        (
            concat!(
                "DELETE FROM agent_turns WHERE (repo_id, session_id, turn) IN (",
                mine_settled_before!(),
                ")"
            ),
            what.turns_before_ms,
        ),
        (
            "DELETE FROM agent_sessions WHERE status = 'closed' AND (owner = $1 OR owner IS NULL) \
             AND last_active_ms < $2",
            what.closed_before_ms,
        ),
    ] {
        gone += tx.execute(sql, &[(&owner.name).into(), before.into()]).await?;
    }
    Ok(gone)
}

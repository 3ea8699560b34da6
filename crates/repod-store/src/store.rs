//! Agent sessions: durable, resumable records of conversations, their turns, and what those told.
//!
//! One daemon owns a session. It is known by a name that outlives it (one for each home) and by a number that
//! rises with each of its starts: [`Store::enrol`]. Every change is made in its name and is conditional: on a
//! newer start of the same owner, on another owner, or on a state that has moved on, nothing is changed and
//! the answer says so ([`Change`]). An owner that doesn't [`renew`](Store::renew) its lease can lose its
//! sessions to another that asks for them; that can only happen where several share one database.
//!
//! A consumer's day:
//!
//! ```text
//!  enrol ─► recover: turns of the start before that have no outcome; settle each, or go on with it
//!    │
//!  ensure ─► update: agent_session_id, generation, config_hash, …
//!    │
//!  begin_turn ─► start_turn ─► append, append, … (mark_turn: waiting and back) ─► settle_turn, once
//!    │
//!  close            renew meanwhile, and retire in the end
//! ```

mod events;
mod owners;
mod pieces;
mod prune;
mod records;
mod session;
mod sql;
mod sql_store;
mod turn;
mod turns;

pub use session::{
    Change, Ensured, NewSession, Owner, Session, SessionChange, SessionFilter, SessionKey,
};
pub use session::{MAX_SESSION, SessionStatus, Stale};
pub use sql_store::SqlStore;
pub use turn::{
    Begun, Limits, MAX_INPUT, MAX_LINE, NewTurn, Outcome, Page, Retention, Settlement, Turn,
};
pub use turn::{Started, TurnFailure, TurnMark, TurnState};

use crate::StoreError;
use std::time::Duration;

/// The store of agent sessions. All of it may be called from any number of tasks at once.
///
/// Every call is one transaction. One that is dropped before it answers has happened or not; asking again is
/// safe. The error is always the database's; nothing has changed then, or all.
#[async_trait::async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Begins a start of this owner: older starts can't change anything any more, and its lease runs so long
    /// from now. Where each home has its own database (SQLite) the name may be the same in all.
    async fn enrol(&self, owner: &str, lease: Duration) -> Result<Owner, StoreError>;

    /// Lets the lease run so long from now. [`Stale::Superseded`] after a newer start.
    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Change<()>, StoreError>;

    /// Ends the lease, so that others needn't wait for it. The sessions stay this owner's until then.
    async fn retire(&self, owner: &Owner) -> Result<Change<()>, StoreError>;

    /// The turns without outcome that earlier starts of this owner have left, by session and in order, with
    /// their input. They are this start's now: each has to be settled, or started or gone on with. Asked
    /// again, they are told again until they are settled, as those are that this start has begun itself.
    async fn recover(&self, owner: &Owner) -> Result<Change<Vec<Turn>>, StoreError>;

    /// Creates the session of this name, or resumes it. Resuming one's own only reads.
    async fn ensure(&self, owner: &Owner, new: &NewSession) -> Result<Ensured, StoreError>;

    /// Changes a session that is bound to this generation of its backend (0 before it was bound).
    async fn update(
        &self,
        owner: &Owner,
        key: &SessionKey,
        generation: u64,
        change: &SessionChange,
    ) -> Result<Change<Session>, StoreError>;

    /// Closes a session. Turns that aren't settled become interrupted. Closing a closed one changes nothing.
    async fn close(&self, owner: &Owner, key: &SessionKey) -> Result<Change<Session>, StoreError>;

    /// The session of this name.
    async fn session(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;

    /// At most so many sessions, the last active first.
    async fn list(&self, which: &SessionFilter, limit: u32) -> Result<Vec<Session>, StoreError>;

    /// Puts a turn in line. A closed session is answered as [`Stale::NotOwned`].
    ///
    /// Beyond [`MAX_INPUT`] it is refused as [`StoreError::TooLarge`].
    async fn begin_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        new: &NewTurn,
    ) -> Result<Change<Begun>, StoreError>;

    /// Queued → running, if all turns before it are settled. `message_id` is the backend's own id for the
    /// prompt, chosen and recorded before it is sent, so that after a crash it can be found out whether it was.
    async fn start_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        on: &Started,
    ) -> Result<Change<Turn>, StoreError>;

    /// Running ⇄ waiting; `to` is one of the two, and being there already is fine.
    async fn mark_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        to: TurnMark,
    ) -> Result<Change<Turn>, StoreError>;

    /// Gives a turn its outcome, once: later ones are told [`Stale::Turn`] with the first.
    async fn settle_turn(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        how: &Settlement,
    ) -> Result<Change<Turn>, StoreError>;

    /// The turn of this number, with its input while it isn't settled.
    async fn turn(&self, key: &SessionKey, turn: u64) -> Result<Option<Turn>, StoreError>;

    /// At most so many turns of a session, the newest first, below this number if there is one.
    async fn turns(
        &self,
        key: &SessionKey,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Turn>, StoreError>;

    /// Keeps events of a turn. The caller numbers them, from 1 and without a gap, `first` being the number of
    /// the first line; those that are kept already are passed over, so a batch can be given again. Lines are
    /// NDJSON without the line's end, at most [`MAX_LINE`] each. A settled turn takes events too: its last is
    /// told when it is settled. Answers the number the next event will have.
    async fn append(
        &self,
        owner: &Owner,
        key: &SessionKey,
        turn: u64,
        first: u64,
        lines: &[Vec<u8>],
    ) -> Result<Change<u64>, StoreError>;

    /// Events of a turn with numbers above `after` (0: from the first), at most so many, and at most some
    /// 4 MiB unless one event alone is more. `None`: there is no such turn.
    async fn events(
        &self,
        key: &SessionKey,
        turn: u64,
        after: u64,
        limit: u32,
    ) -> Result<Option<Page>, StoreError>;

    /// Removes what is old, of the owner's own sessions and of those nobody owns; says how many rows went.
    async fn prune(&self, owner: &Owner, what: &Retention) -> Result<u64, StoreError>;

    /// Ends the connections, after what is under way.
    async fn end(&self);
}

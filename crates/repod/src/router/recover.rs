//! A daemon that starts takes up what the one before left on record.

use super::Router;
use super::journals::store;
use super::standing::At;
use super::told::chain;
use crate::coordination::{CallId, Hold, Kind, LeaseKey, OwnerId, Party, Wait, Wanted};
use repod_proto::{ApiError, Generation, RepoId};
use repod_store::Journal;
use repod_store::journal::{Keep, Operation, State};
use std::time::Duration;

/// Final entries are kept so long, and at most so many of them.
const KEPT_DAYS: i64 = 90;
const KEPT: u32 = 10_000;
/// Longest wait for a branch that somebody else writes on; then the line is joined again.
const PATIENCE_MS: u64 = 60 * 60 * 1000;
/// Between two tries at one operation.
const PAUSE: Duration = Duration::from_secs(5);
const TRIES: u32 = 100;

impl Router {
    /// Before anybody is answered: what is evidently done is settled, and for the rest the leases are
    /// asked for, ahead of everybody. Copies of calls that nobody can finish are cleared.
    pub(crate) async fn recover(&self) {
        for handle in self.0.fleet.all() {
            let id = handle.repo().id.clone();
            if handle.view().process.is_none()
                && let Err(error) = self.clear_stage(&id)
            {
                tracing::warn!(repo = %id, %error, "copies of an earlier daemon can't be cleared");
            }
            if let Err(error) = self.recover_repo(&id).await {
                tracing::error!(repo = %id, %error, "the journal can't be read");
            }
        }
    }

    async fn recover_repo(&self, repo: &RepoId) -> Result<(), ApiError> {
        let Some(journal) = self.0.journals.known(repo).await? else { return Ok(()) };
        for op in journal.unfinished().await.map_err(store)? {
            tracing::info!(operation = %op.id, tool = %op.tool, "a write was cut short; going on with it");
            if op.tool == "bash" {
                let message = "the daemon died while this command ran";
                let advanced =
                    journal.advance(&op.id, State::Pending, State::Conflict, Some(message), None);
                advanced.await.map_err(store)?;
                self.settled_as(State::Conflict);
                continue;
            }
            let done =
                super::carry::standing(&op).await?.iter().flatten().all(|at| *at == At::After);
            if done {
                self.settle_left(&journal, op, true).await?;
            } else {
                tokio::spawn(self.clone().finish(journal.clone(), op));
            }
        }
        let now = jiff::Timestamp::now().as_millisecond();
        let keep = Keep { since_ms: now - KEPT_DAYS * 86_400_000, newest: KEPT };
        journal.prune(keep).await.map_err(store)?;
        Ok(())
    }

    /// Ends one operation under the leases of its branches. Patiently: what can't be brought up now may be
    /// later. The last time it is undone if it can't be done.
    async fn finish(self, journal: Journal, op: Operation) {
        for left in (0..TRIES).rev() {
            match self.try_finish(&journal, &op.id, left > 0).await {
                Ok(state) => {
                    tracing::info!(operation = %op.id, ?state, "a write that was cut short is settled");
                    return;
                }
                Err(error) => {
                    tracing::warn!(operation = %op.id, error = %chain(&error), "not settled yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn try_finish(
        &self,
        journal: &Journal,
        id: &str,
        comes_back: bool,
    ) -> Result<State, ApiError> {
        let Some(op) = journal.get(id).await.map_err(store)? else { return Ok(State::Refused) };
        let mut branches = Vec::new();
        for part in &op.parts {
            if let (Ok(repo), Ok(branch)) = (part.repo.parse(), part.branch.parse()) {
                branches.push((LeaseKey { repo, branch }, part.directory.clone()));
            }
        }
        branches.sort();
        let name = format!("recovery-{id}");
        let wanted = Wanted {
            call: CallId(name.clone()),
            party: Party {
                id: OwnerId::Outside(name.clone()),
                session_id: name,
                title: format!("going on with `{}` of {}", op.tool, op.from_session),
                directory: op.parts.first().map(|part| part.directory.clone()).unwrap_or_default(),
                generation: Generation::default(),
                pid: None,
            },
            what: "a write that was cut short".to_owned(),
            hold: Hold::Call,
            wait: Wait::UpTo(PATIENCE_MS),
            kind: Kind::Ordinary,
            on_its_way: None,
        };
        let _granted = self.0.coordination.take(&branches, wanted, true).await?;
        let _alone = self.0.working.hold(id).await;
        // The caller may have come back and finished it meanwhile.
        let Some(op) = journal.get(id).await.map_err(store)? else { return Ok(State::Refused) };
        Ok(self.settle_left(journal, op, comes_back).await?.state)
    }
}

//! The journals of all repos as one list.

use super::Router;
use super::journals::store;
use repod_proto::{ApiError, MutationFrom, MutationInfo, MutationOutcome, MutationTo};
use repod_store::journal::{OperationHead, PartHead, State};

impl Router {
    /// The newest entries, one for each target.
    pub(crate) async fn mutations(&self, limit: u32) -> Result<Vec<MutationInfo>, ApiError> {
        let mut all: Vec<(i64, MutationInfo)> = Vec::new();
        for handle in self.0.fleet.all() {
            let Some(journal) = self.0.journals.known(&handle.repo().id).await? else { continue };
            for head in journal.list(limit).await.map_err(store)? {
                all.extend(
                    head.parts.iter().filter_map(|part| Some((head.at_ms, info(&head, part)?))),
                );
            }
        }
        all.sort_by(|(a, left), (b, right)| {
            b.cmp(a).then_with(|| left.operation_id.cmp(&right.operation_id))
        });
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all.into_iter().map(|(_, info)| info).collect())
    }
}

fn info(head: &OperationHead, part: &PartHead) -> Option<MutationInfo> {
    let at = jiff::Timestamp::from_millisecond(head.at_ms).ok()?;
    Some(MutationInfo {
        operation_id: head.id.clone(),
        at: at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        from: MutationFrom {
            repo_id: head.from_repo.as_ref().and_then(|repo| repo.parse().ok()),
            session_id: head.from_session.clone(),
        },
        to: MutationTo {
            repo_id: part.repo.parse().ok()?,
            branch: part.branch.clone(),
            directory: part.directory.clone(),
        },
        tool: head.tool.clone(),
        files: part.files.iter().map(|file| file.display().to_string()).collect(),
        outcome: match head.state {
            State::Pending => MutationOutcome::Pending,
            State::Applied => MutationOutcome::Applied,
            State::Unchanged => MutationOutcome::Unchanged,
            State::Refused => MutationOutcome::Refused,
            State::RolledBack => MutationOutcome::RolledBack,
            State::Conflict => MutationOutcome::Conflict,
            State::Bypass => MutationOutcome::Bypass,
        },
        fence: part.fence,
        message: head.message.clone(),
    })
}

//! What the user allows to cross repos.

use super::{Footprint, GuardedCall};
use crate::settings::{BashGuard, CrossRepo, Policy};
use repod_proto::{ApiError, ErrorCode};

/// Refuses what is ruled out, before anything is waited for.
pub(super) fn check(
    policy: &Policy,
    call: &GuardedCall,
    footprint: &Footprint,
) -> Result<(), ApiError> {
    let foreign = footprint.places.iter().find(|(key, _)| key.repo != call.caller.repo);
    let Some((_, foreign)) = foreign else { return Ok(()) };
    let there = foreign.worktree.as_str();
    if policy.cross_repo == CrossRepo::Deny {
        let message =
            format!("this call writes in another repo, `{there}`, which the user has ruled out");
        return Err(ApiError::new(ErrorCode::Forbidden, message).hint(
            "reading there is free; ask the user to do it there, or to change `[policy] cross_repo` \
             in repod.toml",
        ));
    }
    if call.tool == "bash" { check_command(policy, footprint, there) } else { Ok(()) }
}

/// A command goes to another repo's backend as a whole, or not at all.
fn check_command(policy: &Policy, footprint: &Footprint, there: &str) -> Result<(), ApiError> {
    let message = match policy.bash_guard {
        BashGuard::Observe => return Ok(()),
        BashGuard::Route if footprint.places.len() == 1 => return Ok(()),
        BashGuard::Route => {
            let all: Vec<_> =
                footprint.places.values().map(|at| format!("`{}`", at.worktree)).collect();
            format!("this command writes in more than one repo: {}", all.join(", "))
        }
        BashGuard::Refuse => format!("this command writes in another repo, `{there}`"),
    };
    let hint = match policy.bash_guard {
        BashGuard::Refuse => {
            "nothing was done; use `write`, `edit` or `apply_patch`, which work across repos"
                .to_owned()
        }
        _ => format!(
            "nothing was done; call `bash` once for each repo, with `workdir` set to it (`{there}`), \
             or use `write`, `edit` or `apply_patch`, which work across repos"
        ),
    };
    Err(ApiError::new(ErrorCode::Forbidden, message).hint(hint))
}

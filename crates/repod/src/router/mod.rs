//! The mutation router: a write that leaves its repo is done by the backend of the repo it goes to.
//!
//! ```text
//!  guard ─ask─► leases ─► stage: copies, for OpenCode's own tool ─► commit: what became of them
//!  api ──────────────────────────────────────────────────────────────► changes
//!                                                                         │
//!                journal (on disk) ◄─ settle ─ carry: look, apply, undo ◄─┘
//!                                                  │
//!                                    the target's backend: POST /vcs/apply
//! ```
//!
//! What is on record and not settled is taken up again by the next daemon (`recover`). Patches are made
//! so that the backend applies them exactly (`patch`), and given ones are read to find which repos they
//! concern (`touched`).

mod alone;
mod attributes;
mod bypass;
mod carry;
mod copies;
mod counts;
mod envelope;
mod git;
mod image;
mod journals;
mod listed;
mod patch;
mod put;
mod recover;
mod resolve;
mod scratch;
mod shell;
mod stage;
mod standing;
mod told;
mod touched;

#[cfg(test)]
mod tests;

pub(crate) use carry::{Source, Target};
pub(crate) use counts::Outcome;
pub(crate) use envelope::{Envelope, Hunk};
pub(crate) use image::look;
pub(crate) use patch::{Change, Content, Kind};
pub(crate) use resolve::{Links, resolve};
pub(crate) use scratch::{ScratchError, changes_of};
pub(crate) use shell::Ran;
pub(crate) use stage::{Leave, operation_id};

use crate::coordination::Coordination;
use crate::fleet::Fleet;
use crate::tally::Tally;
use alone::Alone;
use journals::Journals;
use repod_proto::{ApiError, Home, RepoId};
use repod_store::RepoFile;
use stage::Foreign;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router(Arc<Inner>);

struct Inner {
    home: Home,
    fleet: Arc<Fleet>,
    coordination: Coordination,
    journals: Journals,
    /// Calls that write in other repos, from their leave to their end.
    foreign: Mutex<HashMap<String, Foreign>>,
    sessions: shell::Sessions,
    watched: bypass::Watched,
    /// Operations that are being carried out: one at a time for each.
    working: Alone,
    mutations: Tally<Outcome>,
}

impl Router {
    pub(crate) fn new(home: Home, fleet: Arc<Fleet>, coordination: Coordination) -> Self {
        let journals = Journals::new(home.clone());
        Self(Arc::new(Inner {
            home,
            fleet,
            coordination,
            journals,
            foreign: Mutex::default(),
            sessions: shell::Sessions::default(),
            watched: bypass::Watched::default(),
            working: Alone::default(),
            mutations: Tally::default(),
        }))
    }

    /// What has come of writes that were routed.
    pub(crate) fn mutations_by_outcome(&self) -> &Tally<Outcome> {
        &self.0.mutations
    }

    /// The file of a repo's journal, which is made where there is none; sessions are on record in it too.
    pub(crate) async fn file(&self, repo: &RepoId) -> Result<RepoFile, ApiError> {
        Ok(self.0.journals.of(repo).await?.file().clone())
    }
}

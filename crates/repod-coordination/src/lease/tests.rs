//! What a user would notice of the table, first as stories, then for any sequence of events.

mod any_order;
mod stories;
mod world;

use super::*;

fn repo(n: usize) -> RepoId {
    format!("repo{n}-00000000000{n}").parse().unwrap()
}

fn branch(of: usize, n: usize) -> LeaseKey {
    LeaseKey { repo: repo(of), branch: Branch::Named(["main", "dev", "fix"][n].to_owned()) }
}

/// A session of a repo.
fn session(of: usize, n: usize) -> OwnerId {
    OwnerId::Session { repo: repo(of), root: format!("ses_{n}") }
}

fn party(id: &OwnerId, generation: Generation) -> Party {
    Party {
        id: id.clone(),
        session_id: id.name().to_owned(),
        title: id.to_string(),
        directory: "/src".to_owned(),
        generation,
        pid: None,
    }
}

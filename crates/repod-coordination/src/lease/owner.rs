//! Who asks.

use repod_proto::{Generation, RepoId};
use std::fmt;

/// Who may own a lease: a session tree, or somebody outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerId {
    /// A session with all its subagents.
    Session {
        /// The repo whose backend runs it; not always the one that is written.
        repo: RepoId,
        /// The session at the root of the tree.
        root: String,
    },
    /// A script (`repod lease hold`), an MCP client, `repod route apply`: a name made for this one use.
    Outside(String),
}

impl OwnerId {
    /// The root session, or the name of the one outside.
    pub fn name(&self) -> &str {
        match self {
            Self::Session { root, .. } => root,
            Self::Outside(name) => name,
        }
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { repo, root } => write!(f, "{repo}/{root}"),
            Self::Outside(name) => write!(f, "outside/{name}"),
        }
    }
}

/// An owner, and what others are told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Who.
    pub id: OwnerId,
    /// The session that asks: the root or a subagent. The name again for one outside.
    pub session_id: String,
    /// Title of the root session, or what the one outside does (`lease hold -- make`).
    pub title: String,
    /// Where it works.
    pub directory: String,
    /// Generation of the backend that runs the session; 0 for one outside.
    pub generation: Generation,
    /// Process of one outside.
    pub pid: Option<u32>,
}

//! Which sessions are whose: a pure function over what the database says and what the disk says.
//!
//! OpenCode names a project by its first commit, so that two clones of one repository share it, and every
//! process of the user files its sessions under it. Whose a session is, is told by its directory.

use std::collections::{BTreeMap, BTreeSet};

/// The project of directories without git, and of sessions from before a directory had it.
pub const GLOBAL: &str = "global";

/// How a directory stands to the repo in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the root of one of the repo's worktrees.
    Root,
    /// It lies, or lay, below one of them.
    Inside,
    /// It is another repo's, or can't be told.
    Foreign,
    /// It is gone. Perhaps a worktree that was removed: of the repo whose root is named, if what is left of
    /// its path leads into one.
    Gone {
        /// Root of the repo that its nearest living ancestor lies in.
        near: Option<String>,
    },
}

/// A project, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// The directory it was first opened in.
    pub worktree: String,
    /// All directories it was ever opened in.
    pub directories: BTreeSet<String>,
}

/// A session, as far as its owner is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Its id.
    pub id: String,
    /// Its project.
    pub project: String,
    /// Its directory.
    pub directory: String,
}

/// What a database has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Its projects.
    pub projects: Vec<Project>,
    /// Its sessions.
    pub sessions: Vec<Filed>,
}

/// What of it is one repo's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Projects, without those of no session and no directory of the repo.
    pub projects: BTreeSet<String>,
    /// Directories of the repo that the database knows.
    pub directories: BTreeSet<String>,
    /// Sessions, in the order of the survey.
    pub sessions: Vec<String>,
    /// The repo's main worktree, which becomes that of projects that were first opened in another clone.
    pub root: String,
}

impl Survey {
    /// Every directory whose standing decides.
    #[must_use]
    pub fn directories(&self) -> BTreeSet<&str> {
        let of_projects = self.projects.iter().flat_map(|project| {
            project.directories.iter().chain([&project.worktree]).map(String::as_str)
        });
        of_projects.chain(self.sessions.iter().map(|session| session.directory.as_str())).collect()
    }

    /// What is the repo's, given how each directory stands to it. One that isn't in the map is foreign.
    #[must_use]
    pub fn select(&self, root: &str, standings: &BTreeMap<String, Standing>) -> Selection {
        let standing = |directory: &str| standings.get(directory).unwrap_or(&Standing::Foreign);
        let is_root = |directory: &str| *standing(directory) == Standing::Root;
        let mut selection = Selection { root: root.to_owned(), ..Selection::default() };
        for project in self.projects.iter().filter(|project| project.id != GLOBAL) {
            let all = project.directories.iter().chain([&project.worktree]);
            let own: Vec<_> = all.filter(|directory| is_root(directory)).cloned().collect();
            if !own.is_empty() {
                selection.projects.insert(project.id.clone());
                selection.directories.extend(own);
            }
        }
        let projects: BTreeMap<&str, &Project> =
            self.projects.iter().map(|project| (project.id.as_str(), project)).collect();
        for session in &self.sessions {
            let Some(project) = projects.get(session.project.as_str()) else { continue };
            let is_own = if session.project == GLOBAL {
                is_root(&session.directory)
            } else {
                selection.projects.contains(&session.project)
                    && match standing(&session.directory) {
                        Standing::Root | Standing::Inside => true,
                        Standing::Foreign => false,
                        Standing::Gone { near } => {
                            let is_anothers = near.as_ref().is_some_and(|near| {
                                *near == project.worktree || project.directories.contains(near)
                            });
                            !is_anothers && is_root(&project.worktree)
                        }
                    }
            };
            if is_own {
                selection.projects.insert(session.project.clone());
                selection.directories.insert(session.directory.clone());
                selection.sessions.push(session.id.clone());
            }
        }
        selection
    }
}

#[cfg(test)]
mod tests;

//! What an operation is, in the program's own words.

use std::path::PathBuf;

/// A write to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOperation {
    /// Its name; the same name is the same operation.
    pub id: String,
    /// When it was asked for, in milliseconds since 1970.
    pub at_ms: i64,
    /// The repo whose session writes; absent for one that is no session.
    pub from_repo: Option<String>,
    /// The session, or the name of one from outside.
    pub from_session: String,
    /// The session at the root of its tree.
    pub from_root: String,
    /// What it does, for people.
    pub title: String,
    /// By which tool.
    pub tool: String,
    /// Where it goes.
    pub parts: Vec<Part>,
    /// [`State::Pending`], or what has already come of it.
    pub state: State,
    /// Why, where it has not come to what was wanted.
    pub message: Option<String>,
}

/// A write on record: the same fields, as they are now.
///
/// Contents are there as long as they can be needed ([`State::keeps_contents`]); afterwards each file has
/// neither `before` nor `after`.
pub type Operation = NewOperation;

/// One worktree an operation goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The repo.
    pub repo: String,
    /// The worktree's root, absolute.
    pub directory: String,
    /// The branch, as the leases name it.
    pub branch: String,
    /// The fence number it is written under; 0 while there is none.
    pub fence: u64,
    /// Its files.
    pub files: Vec<FileChange>,
}

/// One file, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Relative to the part's directory; any bytes.
    pub path: PathBuf,
    /// What is there before; absent: nothing.
    pub before: Option<Image>,
    /// What is to be there afterwards; absent: nothing.
    pub after: Option<Image>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Of which kind it is.
    pub kind: ImageKind,
    /// Its contents; of a link, where it points.
    pub bytes: Vec<u8>,
}

/// Kinds of files, as git tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// A regular file.
    Plain,
    /// A regular file that can be executed.
    Executable,
    /// A symbolic link.
    Link,
}

/// Where an operation has come to; `MutationOutcome` in `repod-proto` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// On record and not yet known to be done; all others are final.
    Pending,
    /// Applied.
    Applied,
    /// There was nothing to change.
    Unchanged,
    /// Not applied; nothing is changed.
    Refused,
    /// Put back, because another part could not be changed.
    RolledBack,
    /// Cut short, and changed by somebody else since: a person has to look.
    Conflict,
    /// Done without being routed, and seen afterwards.
    Bypass,
}

/// An operation as lists show it: without contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationHead {
    /// Its name.
    pub id: String,
    /// When it was asked for, in milliseconds since 1970.
    pub at_ms: i64,
    /// The repo whose session wrote.
    pub from_repo: Option<String>,
    /// The session.
    pub from_session: String,
    /// The session at the root of its tree.
    pub from_root: String,
    /// What it did, for people.
    pub title: String,
    /// By which tool.
    pub tool: String,
    /// Where it went.
    pub parts: Vec<PartHead>,
    /// Where it has come to.
    pub state: State,
    /// Why.
    pub message: Option<String>,
}

/// One part of an [`OperationHead`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The repo.
    pub repo: String,
    /// The worktree's root.
    pub directory: String,
    /// The branch.
    pub branch: String,
    /// The fence number; 0 where there is none.
    pub fence: u64,
    /// The files, relative to `directory`.
    pub files: Vec<PathBuf>,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Applied,
        Self::Unchanged,
        Self::Refused,
        Self::RolledBack,
        Self::Conflict,
        Self::Bypass,
    ];

    /// Whether nothing more will come of it by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Pending
    }

    /// Whether the files' contents may still be needed: to finish or undo it, or by the person who has to look.
    #[must_use]
    pub fn keeps_contents(self) -> bool {
        matches!(self, Self::Pending | Self::Conflict)
    }

    /// As it is stored, and as `MutationOutcome` is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
            Self::Conflict => "conflict",
            Self::Bypass => "bypass",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl ImageKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Executable => "executable",
            Self::Link => "link",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Plain, Self::Executable, Self::Link].into_iter().find(|kind| kind.name() == name)
    }
}

impl NewOperation {
    /// What it takes on record, in bytes: contents, paths and words.
    #[must_use]
    pub fn size(&self) -> u64 {
        let words = [&self.id, &self.from_session, &self.from_root, &self.title, &self.tool];
        let words = words.into_iter().chain(&self.from_repo).chain(&self.message).map(String::len);
        let parts = self.parts.iter().map(|part| {
            let files = part.files.iter().map(|file| {
                let images = file
                    .before
                    .iter()
                    .chain(&file.after)
                    .map(|image| image.bytes.len())
                    .sum::<usize>();
                FILE + file.path.as_os_str().len() + images
            });
            part.repo.len() + part.directory.len() + part.branch.len() + files.sum::<usize>()
        });
        (words.sum::<usize>() + parts.sum::<usize>()) as u64
    }
}

/// A row's own room, so that a million empty files are not free.
const FILE: usize = 64;

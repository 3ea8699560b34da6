//! What is said about a command, and the collector the walk writes into.

use std::fmt;
use std::path::{Path, PathBuf};

/// Nodes looked at before giving up; loops are walked more than once.
const FUEL: u32 = 60_000;
/// Reasons, targets and directories kept; more make the verdict opaque.
const KEPT: usize = 256;

/// Whether a command needs the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every part plainly reads.
    Reading,
    /// Some part writes, or may.
    Writing,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This path. Absolute; `.` is removed, `..` and links are left to the caller, because only the
    /// file system knows what `..` means after a link.
    File(PathBuf),
    /// Anything at or below this directory.
    Tree(PathBuf),
    /// A path only the shell will know: a glob, a variable.
    Dynamic {
        /// The directory it lies below, as far as its text says (`src` for `src/*.o`); `None` when
        /// it may be anywhere.
        below: Option<PathBuf>,
    },
}

/// A directory a writing program is started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dir {
    /// This one; with several in a verdict it may be any of them.
    Known(PathBuf),
    /// Only the shell will know.
    Unknown,
}

/// Why a command is not plainly reading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The text isn't understood: no valid shell, or a construct with more than one meaning.
    Unparsed(&'static str),
    /// Longer than [`MAX_COMMAND`](crate::MAX_COMMAND), nested too deep, or too much work.
    TooMuch,
    /// Output goes to a file.
    Redirect(String),
    /// A program known to write.
    Writes(String),
    /// A reading program with an option, operand or script that makes it write or run others.
    Option {
        /// The program.
        program: String,
        /// What it was given.
        argument: String,
    },
    /// A program this crate doesn't know.
    Unknown(String),
    /// A program whose name, or an option of which, only the shell will know.
    Dynamic(String),
    /// A variable that changes what programs do.
    Variable(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unparsed(what) => write!(f, "not understood: {what}"),
            Self::TooMuch => write!(f, "too long or too deep to be judged"),
            Self::Redirect(to) => write!(f, "output goes to `{to}`"),
            Self::Writes(what) => write!(f, "`{what}` writes"),
            Self::Option { program, argument } => {
                write!(f, "`{program}` writes or runs programs because of `{argument}`")
            }
            Self::Unknown(program) => write!(f, "`{program}` is not known to only read"),
            Self::Dynamic(program) => write!(f, "what `{program}` does depends on the shell"),
            Self::Variable(name) => write!(f, "setting `{name}` changes what programs do"),
        }
    }
}

/// The verdict on one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Whether it needs the lease.
    pub kind: Kind,
    /// Why it isn't plainly reading; empty when it is.
    pub reasons: Vec<Reason>,
    /// What it is known to write; complete unless [`opaque`](Self::opaque).
    pub writes: Vec<Target>,
    /// Where its writing programs run. Redirections don't count: the shell opens those files itself.
    pub runs_in: Vec<Dir>,
    /// `writes` may lack something.
    pub opaque: bool,
}

impl Classified {
    /// Whether all it writes, and every directory its writing programs run in, is known to satisfy
    /// `inside`: "the whole command belongs to that repo". An opaque command may do more.
    pub fn belongs(&self, inside: impl Fn(&Path) -> bool) -> bool {
        let target = |target: &Target| match target {
            Target::File(path) | Target::Tree(path) => inside(path),
            Target::Dynamic { below } => below.as_deref().is_some_and(&inside),
        };
        let dir = |dir: &Dir| matches!(dir, Dir::Known(path) if inside(path));
        self.writes.iter().all(target) && self.runs_in.iter().all(dir)
    }
}

/// What the walk has found so far.
pub(crate) struct Out {
    reasons: Vec<Reason>,
    writes: Vec<Target>,
    runs_in: Vec<Dir>,
    opaque: bool,
    fuel: u32,
}

impl Out {
    pub(crate) fn new() -> Self {
        let (reasons, writes, runs_in) = (Vec::new(), Vec::new(), Vec::new());
        Self { reasons, writes, runs_in, opaque: false, fuel: FUEL }
    }

    pub(crate) fn finish(self) -> Classified {
        let quiet = self.reasons.is_empty() && self.writes.is_empty() && !self.opaque;
        let kind = if quiet { Kind::Reading } else { Kind::Writing };
        let Self { reasons, writes, runs_in, opaque, .. } = self;
        Classified { kind, reasons, writes, runs_in, opaque }
    }

    /// One step of work; false when there were too many.
    pub(crate) fn step(&mut self) -> bool {
        if self.fuel == 0 {
            self.opaque(Reason::TooMuch);
            return false;
        }
        self.fuel -= 1;
        true
    }

    pub(crate) fn reason(&mut self, reason: Reason) {
        if self.reasons.len() >= KEPT {
            self.opaque = true;
        } else if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    pub(crate) fn opaque(&mut self, reason: Reason) {
        self.opaque = true;
        self.reason(reason);
    }

    pub(crate) fn writes(&mut self, target: Target) {
        if self.writes.len() >= KEPT {
            self.opaque = true;
        } else if !self.writes.contains(&target) {
            self.writes.push(target);
        }
    }

    pub(crate) fn runs_in(&mut self, dir: Dir) {
        if self.runs_in.len() >= KEPT {
            self.opaque = true;
        } else if !self.runs_in.contains(&dir) {
            self.runs_in.push(dir);
        }
    }
}

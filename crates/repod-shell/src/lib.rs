//! Says of a shell command, by its text alone, whether it only reads, what it writes, and where it
//! runs.
//!
//! The guard asks before each `bash` call of an agent: what plainly reads needs no lease; all else
//! does, and its targets say which repo's. So the answer is [`Kind::Reading`] only where every part
//! of the command is known to read. What can't be parsed, resolved or recognised is
//! [`Kind::Writing`]: a lease taken in vain costs little, a write without one breaks the promise.
//! This is no jail: a program that is allowed to read may still be made to write by its own
//! configuration, and what happens on disk is looked at afterwards by the caller.
//!
//! Nothing here touches the disk, and nothing here panics, whatever the text.

mod assign;
mod awk;
mod builtins;
mod command;
mod expand;
mod git;
mod heredoc;
mod options;
mod reading;
mod redirect;
mod scripts;
mod sed;
mod state;
mod syntax;
mod tools;
mod verdict;
mod walk;
mod word;
mod wrappers;
mod writers;

pub use verdict::{Classified, Dir, Kind, Reason, Target};

use std::path::Path;

/// The longest command that is looked at; a longer one is [`Kind::Writing`] and opaque.
pub const MAX_COMMAND: usize = 64 * 1024;

/// A command and where it would run.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The text, as a shell of the Bourne family (bash, zsh) gets it.
    pub command: &'a str,
    /// The absolute directory it starts in, with its links resolved.
    pub cwd: &'a Path,
    /// The user's home directory, for `~` and `$HOME`.
    pub home: Option<&'a Path>,
    /// Values of environment variables the command will see; `None` for an unknown one.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Input<'a> {
    /// A command without knowledge of variables or home.
    pub fn new(command: &'a str, cwd: &'a Path) -> Self {
        Self { command, cwd, home: None, variable: &|_| None }
    }
}

/// What `input` does. Pure and total: bounded time and depth, no I/O, no panic.
pub fn classify(input: &Input<'_>) -> Classified {
    let mut out = verdict::Out::new();
    walk::script(input, &state::State::new(input.cwd), &mut out, 0);
    out.finish()
}

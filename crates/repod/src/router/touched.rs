//! Which files a given patch concerns, to find the repos they lie in.
//!
//! A git or unified diff is read by git itself (`apply --numstat -z`, once forwards and once
//! backwards: the one names what a rename leads to, the other what it comes from).

use super::envelope::Envelope;
use super::git::{self, GitError};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// The format a patch is in, and its files as it names them: relative ones are the caller's to
/// resolve (against the repo's root for git's, against the session's directory for the envelope).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Git's or any unified diff; `strip` is the `-p` it has to be applied with.
    Git { paths: BTreeSet<PathBuf>, strip: u8 },
    /// OpenCode's `*** Begin Patch`.
    Envelope { paths: BTreeSet<PathBuf>, envelope: Envelope },
}

/// Why a patch can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TouchedError {
    #[error("the patch has `*** Begin Patch` but no end, or no files")]
    Envelope,
    #[error("the patch names no files")]
    Empty,
    #[error(transparent)]
    Git(#[from] GitError),
}

/// The files `patch` adds, changes, removes, or moves.
///
/// # Errors
/// When it is neither format, names nothing, or is larger than 64 MiB.
pub(crate) async fn touched(patch: &[u8]) -> Result<Touched, TouchedError> {
    if let Ok(text) = std::str::from_utf8(patch)
        && Envelope::is_one(text)
        && !looks_like_diff(patch)
    {
        let envelope = Envelope::parse(text).ok_or(TouchedError::Envelope)?;
        let paths: BTreeSet<PathBuf> = envelope.paths().into_iter().map(PathBuf::from).collect();
        if paths.is_empty() {
            return Err(TouchedError::Envelope);
        }
        return Ok(Touched::Envelope { paths, envelope });
    }
    let strip = strip_of(patch);
    let mut paths = names(patch, strip, false).await?;
    paths.extend(names(patch, strip, true).await?);
    if paths.is_empty() {
        return Err(TouchedError::Empty);
    }
    Ok(Touched::Git { paths, strip })
}

fn lines(patch: &[u8]) -> impl Iterator<Item = &[u8]> {
    patch.split(|byte| *byte == b'\n')
}

/// A diff may well add a line that reads `*** Begin Patch`; an envelope has no such header.
fn looks_like_diff(patch: &[u8]) -> bool {
    let first = lines(patch).find(|line| {
        line.starts_with(b"***") || line.starts_with(b"diff --git ") || line.starts_with(b"--- ")
    });
    first.is_some_and(|line| !line.starts_with(b"***"))
}

/// How many leading directories the names carry: none when they are absolute or plain.
fn strip_of(patch: &[u8]) -> u8 {
    let named = |line: &[u8]| {
        let name = line.strip_prefix(b"--- ").or_else(|| line.strip_prefix(b"+++ "))?;
        let name = name.strip_prefix(b"\"").unwrap_or(name);
        (!name.starts_with(b"/dev/null")).then(|| name.to_owned())
    };
    let git = lines(patch).any(|line| line.starts_with(b"diff --git "));
    let prefixed = |name: &Vec<u8>| has_prefix(name);
    // `git diff --no-prefix`, `diff -u x y`: the names are whole.
    let whole = lines(patch).filter_map(named).take(2).any(|name| !prefixed(&name));
    let absolute = lines(patch).filter_map(named).take(2).any(|name| name.starts_with(b"/"));
    u8::from(!(absolute || whole && !git || whole && no_prefix(patch)))
}

/// `a/`, `b/`, and what git puts there with `diff.mnemonicPrefix`.
fn has_prefix(name: &[u8]) -> bool {
    matches!(name, [b'a' | b'b' | b'c' | b'i' | b'o' | b'w', b'/', ..])
}

/// `diff --git x x`, where the first name has no such directory before it.
fn no_prefix(patch: &[u8]) -> bool {
    lines(patch).filter_map(|line| line.strip_prefix(b"diff --git ")).any(|names| {
        let names = names.strip_prefix(b"\"").unwrap_or(names);
        !has_prefix(names)
    })
}

async fn names(patch: &[u8], strip: u8, reverse: bool) -> Result<BTreeSet<PathBuf>, TouchedError> {
    // In no repository: paths are neither looked up nor cut to a subdirectory.
    let mut args: Vec<OsString> = vec!["apply".into(), "--numstat".into(), "-z".into()];
    args.push(format!("-p{strip}").into());
    args.extend(reverse.then(|| "-R".into()));
    args.push("-".into());
    let out = git::run(&std::env::temp_dir(), &args, patch, 0, true).await?;
    let name = |record: &[u8]| {
        // `added TAB removed TAB name`
        let mut fields = record.splitn(3, |byte| *byte == b'\t');
        fields.nth(2).map(|name| PathBuf::from(OsStr::from_bytes(name)))
    };
    Ok(out.split(|byte| *byte == 0).filter_map(name).collect())
}

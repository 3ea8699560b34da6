//! From changed files to one git patch that `POST /vcs/apply` applies exactly, or not at all.
//!
//! OpenCode 1.18.33 pipes the text into `git … apply -` in the directory it is given. In the exact
//! form every file is a *binary* patch: git applies it only to the very content it was made from
//! (a text patch would be placed wherever its context fits), `apply.whitespace` and the like of the
//! user's configuration can't alter it, and the text is ASCII whatever the content, as JSON wants.
//! The readable form is for people and models, never for applying.

use super::git::{self, GitError};
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

/// Most files in one patch.
const MAX_FILES: usize = 4096;

use repod_store::journal::FileChange;
pub(crate) use repod_store::journal::{Image as Content, ImageKind as Kind};

/// One file, before and after; `None`: it isn't there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Relative to the repo's root.
    pub(crate) path: PathBuf,
    /// Where `before` was, if it was elsewhere; that file goes away.
    pub(crate) renamed_from: Option<PathBuf>,
    pub(crate) before: Option<Content>,
    pub(crate) after: Option<Content>,
}

impl Change {
    /// As it is on record.
    pub(crate) fn of(file: &FileChange) -> Self {
        let (before, after) = (file.before.clone(), file.after.clone());
        Self { path: file.path.clone(), renamed_from: None, before, after }
    }
}

/// What the patch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For `/vcs/apply`.
    Exact,
    /// For people: text where it is text, renames as such.
    Readable,
}

/// Why there is no patch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatchError {
    #[error("`{}` is not a path within the repo", .0.display())]
    Path(PathBuf),
    #[error("`{}` is changed twice", .0.display())]
    Twice(PathBuf),
    #[error("more than {MAX_FILES} files")]
    TooMany,
    #[error("the target of the link `{}` is not text", .0.display())]
    Link(PathBuf),
    #[error("can't lay out the files to compare")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// The patch, with paths relative to the repo's root; `None` when nothing changes.
///
/// # Errors
/// When a path doesn't lie in the repo or occurs twice, when it is too much (64 MiB, 4096 files), or
/// when git isn't there.
pub(crate) async fn make(changes: &[Change], form: Form) -> Result<Option<String>, PatchError> {
    if changes.len() > MAX_FILES {
        return Err(PatchError::TooMany);
    }
    let files = sides(changes)?;
    let total: usize = files.iter().map(|file| file.content.bytes.len()).sum();
    if total > git::MAX_BYTES {
        return Err(GitError::TooMuch.into());
    }
    let dir = tokio::task::spawn_blocking(move || lay_out(&files, form)).await;
    let dir = dir.map_err(io::Error::other)??;
    let mut args: Vec<OsString> = vec!["--git-dir".into(), dir.path().join("git").into()];
    // No repository of anybody: a bare one of our own, whose attributes beat all others.
    for setting in [
        "core.quotePath=true",
        "core.autocrlf=false",
        "core.safecrlf=false",
        "core.fileMode=true",
        "core.symlinks=true",
        "diff.suppressBlankEmpty=false",
    ] {
        args.extend(["-c".into(), setting.into()]);
    }
    args.extend(
        ["diff", "--no-index", "--no-color", "--no-ext-diff", "--no-textconv"].map(Into::into),
    );
    let renames = if form == Form::Exact { "--no-renames" } else { "--find-renames" };
    // The two directories' own names are the `a/` and `b/` of a patch.
    args.extend(["--binary", renames, "--src-prefix=", "--dst-prefix=", "a", "b"].map(Into::into));
    let bytes = git::run(dir.path(), &args, b"", 1, true).await?;
    tokio::task::spawn_blocking(move || drop(dir)).await.map_err(io::Error::other)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) if form == Form::Readable => Ok(Some(shown(&text))),
        Ok(text) => Ok(Some(text)),
        Err(bad) if form == Form::Readable => {
            Ok(Some(shown(&String::from_utf8_lossy(bad.as_bytes()))))
        }
        // All but links is ASCII in this form, and their targets have been looked at.
        Err(_) => Err(GitError::Failed("a patch that is not text".into()).into()),
    }
}

/// Between two directories git names them in `rename from a/…` too, where a patch has none. A line
/// of content can't be mistaken for one: it has a sign before it.
fn shown(patch: &str) -> String {
    ["\nrename from ", "\nrename to "].iter().zip(["a/", "b/"]).fold(
        patch.to_owned(),
        |text, (mark, side)| {
            text.replace(&format!("{mark}{side}"), mark)
                .replace(&format!("{mark}\"{side}"), &format!("{mark}\""))
        },
    )
}

/// One file of one side.
struct Laid {
    path: PathBuf,
    content: Content,
}

/// `a/…` and `b/…`, checked.
fn sides(changes: &[Change]) -> Result<Vec<Laid>, PatchError> {
    let mut files: Vec<Laid> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for change in changes {
        let from = change.renamed_from.as_ref();
        for path in [Some(&change.path), from].into_iter().flatten() {
            within(path)?;
            if !seen.insert(path.clone()) {
                return Err(PatchError::Twice(path.clone()));
            }
        }
        let before = change.before.as_ref().map(|it| ("a", from.unwrap_or(&change.path), it));
        let after = change.after.as_ref().map(|it| ("b", &change.path, it));
        for (side, path, content) in [before, after].into_iter().flatten() {
            let text = content.kind != Kind::Link || std::str::from_utf8(&content.bytes).is_ok();
            if !text {
                return Err(PatchError::Link(path.clone()));
            }
            files.push(Laid { path: Path::new(side).join(path), content: content.clone() });
        }
    }
    Ok(files)
}

/// Git refuses the same: absolute paths, `..`, its own directory.
fn within(path: &Path) -> Result<(), PatchError> {
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
        _ => false,
    };
    let rejoined: PathBuf = path.components().collect();
    let same = rejoined.as_os_str() == path.as_os_str();
    let good = same && !path.as_os_str().is_empty() && path.components().all(plain);
    if good { Ok(()) } else { Err(PatchError::Path(path.to_owned())) }
}

fn lay_out(files: &[Laid], form: Form) -> io::Result<tempfile::TempDir> {
    let dir = tempfile::Builder::new().prefix("repod-patch-").tempdir()?;
    let at = |name: &str| dir.path().join(name);
    for made in ["a", "b", "git/objects", "git/refs", "git/info"] {
        fs_err::create_dir_all(at(made))?;
    }
    fs_err::write(at("git/HEAD"), "ref: refs/heads/none\n")?;
    fs_err::write(at("git/config"), "[core]\n\trepositoryformatversion = 0\n\tbare = false\n")?;
    // `info/attributes` beats a `.gitattributes` among the files.
    let exact = if form == Form::Exact { " -diff" } else { " !diff" };
    let attributes = format!("* -text -eol -filter -ident -working-tree-encoding{exact}\n");
    fs_err::write(at("git/info/attributes"), attributes)?;
    for file in files {
        let path = dir.path().join(&file.path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let bytes = &file.content.bytes;
        match file.content.kind {
            Kind::Link => symlink(std::ffi::OsStr::from_bytes(bytes), &path)?,
            kind => {
                fs_err::write(&path, bytes)?;
                let mode = if kind == Kind::Executable { 0o700 } else { 0o600 };
                fs_err::set_permissions(&path, Permissions::from_mode(mode))?;
            }
        }
    }
    Ok(dir)
}

//! What a given patch does to the files of a worktree, found out on copies.

use super::git;
use super::patch::{Change, Content, Kind, PatchError};
use super::touched::{Touched, TouchedError, touched};
use super::{Links, look, resolve};
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Why a patch can't be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScratchError {
    #[error("it is in the format of `apply_patch`")]
    Envelope,
    #[error("it names the absolute path `{}`", .0.display())]
    Absolute(PathBuf),
    #[error("`{}` leads out of the worktree", .0.display())]
    Outside(PathBuf),
    #[error("it can't be read")]
    Read(#[source] TouchedError),
    #[error(transparent)]
    Files(#[from] io::Error),
    #[error("it does not fit: {0}")]
    Unfit(String),
    #[error(transparent)]
    Patch(#[from] PatchError),
}

/// The changes, with paths relative to `root`. Nothing is written there.
///
/// # Errors
/// When the patch is no git or unified diff, leads out of the worktree, or does not fit.
pub(crate) async fn changes_of(root: &Path, patch: &[u8]) -> Result<Vec<Change>, ScratchError> {
    let (paths, strip) = match touched(patch).await.map_err(ScratchError::Read)? {
        Touched::Envelope { .. } => return Err(ScratchError::Envelope),
        Touched::Git { paths, strip } => (paths, strip),
    };
    if let Some(path) = paths.iter().find(|path| path.is_absolute()) {
        return Err(ScratchError::Absolute(path.clone()));
    }
    for path in &paths {
        // Git follows no link on the way either.
        if resolve(&root.join(path), Links::Keep) != root.join(path) {
            return Err(ScratchError::Outside(path.clone()));
        }
    }
    let (root, paths): (PathBuf, Vec<PathBuf>) = (root.to_owned(), paths.into_iter().collect());
    let (dir, before) = {
        let paths = paths.clone();
        blocking(move || {
            let dir = tempfile::Builder::new().prefix("repod-scratch-").tempdir()?;
            let before =
                paths.iter().map(|path| look(&root.join(path))).collect::<io::Result<Vec<_>>>()?;
            for (path, content) in paths.iter().zip(&before) {
                if let Some(content) = content {
                    put(&dir.path().join(path), content)?;
                }
            }
            Ok((dir, before))
        })
        .await?
    };
    let mut args: Vec<OsString> =
        ["-c", "core.autocrlf=false", "-c", "core.symlinks=true", "-c", "core.fileMode=true"]
            .map(Into::into)
            .to_vec();
    args.extend(["apply", "--whitespace=nowarn"].map(Into::into));
    args.extend([format!("-p{strip}").into(), OsString::from("-")]);
    git::run(dir.path(), &args, patch, 0, true).await.map_err(|error| match error {
        git::GitError::Failed(said) => ScratchError::Unfit(said),
        error => ScratchError::Patch(error.into()),
    })?;
    let after = {
        let paths = paths.clone();
        blocking(move || {
            let look = |path: &PathBuf| look(&dir.path().join(path));
            paths.iter().map(look).collect::<io::Result<Vec<_>>>()
        })
        .await?
    };
    let changes = paths.into_iter().zip(before.into_iter().zip(after));
    let change = |(path, (before, after))| Change { path, renamed_from: None, before, after };
    Ok(changes.map(change).filter(|change| change.before != change.after).collect())
}

/// Writes a file as it is described, with its directories.
pub(super) fn put(path: &Path, content: &Content) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if content.kind == Kind::Link {
        return symlink(OsStr::from_bytes(&content.bytes), path);
    }
    fs_err::write(path, &content.bytes)?;
    let mode = if content.kind == Kind::Executable { 0o755 } else { 0o644 };
    fs_err::set_permissions(path, Permissions::from_mode(mode))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::patch::{Form, make};

    #[tokio::test]
    async fn a_patch_is_tried_on_copies_and_says_what_it_would_do() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let write = |path: &str, text: &str| fs_err::write(root.join(path), text).unwrap();
        write("f", "one\r\ntwo\r\n");
        write("gone", "x");
        write("old", "1\n2\n3\n4\n");
        let patch = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n one\r\n-two\r\n+TWO\r\n\
            diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n\
            diff --git a/old b/dir/new\nsimilarity index 100%\nrename from old\nrename to dir/new\n\
            diff --git a/run b/run\nnew file mode 100755\n--- /dev/null\n+++ b/run\n@@ -0,0 +1 @@\n+#!/bin/sh\n";
        let changes = changes_of(&root, patch.as_bytes()).await.unwrap();
        let text = |content: &Option<Content>| {
            content.as_ref().map(|content| String::from_utf8(content.bytes.clone()).unwrap())
        };
        let found: Vec<_> = changes
            .iter()
            .map(|it| (it.path.to_str().unwrap(), text(&it.before), text(&it.after)))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("dir/new", None, some("1\n2\n3\n4\n")),
                ("f", some("one\r\ntwo\r\n"), some("one\r\nTWO\r\n")),
                ("gone", some("x"), None),
                ("old", some("1\n2\n3\n4\n"), None),
                ("run", None, some("#!/bin/sh\n")),
            ]
        );
        assert_eq!(changes[4].after.as_ref().unwrap().kind, Kind::Executable);
        assert_eq!(fs_err::read_to_string(root.join("f")).unwrap(), "one\r\ntwo\r\n");
        // The exact form of the same is a patch too.
        let exact = make(&changes, Form::Exact).await.unwrap().unwrap();
        assert_eq!(changes_of(&root, exact.as_bytes()).await.unwrap(), changes);
    }

    #[tokio::test]
    async fn what_does_not_fit_or_leads_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs_err::write(root.join("f"), "else\n").unwrap();
        symlink("/tmp", root.join("out")).unwrap();
        let hunk = "@@ -1 +1 @@\n-a\n+b\n";
        let tried = async |patch: String| changes_of(&root, patch.as_bytes()).await.unwrap_err();
        let unfit = tried(format!("--- a/f\n+++ b/f\n{hunk}")).await;
        assert!(matches!(unfit, ScratchError::Unfit(_)), "{unfit:?}");
        let out = tried(format!("--- a/out/f\n+++ b/out/f\n{hunk}")).await;
        assert!(matches!(out, ScratchError::Outside(_)), "{out:?}");
        let absolute = tried(format!("--- /etc/f\n+++ /etc/f\n{hunk}")).await;
        assert!(matches!(absolute, ScratchError::Absolute(_)), "{absolute:?}");
        let envelope = "*** Begin Patch\n*** Add File: x\n+y\n*** End Patch\n".to_owned();
        assert!(matches!(tried(envelope).await, ScratchError::Envelope));
    }
}

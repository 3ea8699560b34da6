//! From a path in a tool call to the place it means, and to the repo that is there.

use crate::repo;
use repod_client::Client;
use repod_proto::{ApiError, ErrorCode};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// How long a file system may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The real path: links are resolved, and what is not there yet lies in a directory that is.
///
/// # Errors
/// When it can't be told which place is meant, or it is repod's own.
pub(super) fn real(cwd: &Path, home: &Path, text: &str) -> Result<PathBuf, ApiError> {
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidRequest, message);
    if text.is_empty() {
        return Err(invalid("the path is empty".to_owned()));
    }
    let path = cwd.join(text);
    // A link that leads nowhere is there, and is not what is written to.
    let existing = path.ancestors().find(|path| path.symlink_metadata().is_ok());
    let existing = existing.unwrap_or(Path::new("/"));
    let real = existing.canonicalize().map_err(|error| {
        let shown = existing.display();
        ApiError::new(ErrorCode::PathUnreadable, format!("`{shown}` can't be followed: {error}"))
    })?;
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    if rest.components().any(|part| !matches!(part, Component::Normal(_))) {
        let message = format!("`{text}` leads through a directory that is not there");
        return Err(invalid(message).hint("name the path without `..`"));
    }
    let real = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
    if real.to_str().is_none() {
        let message = format!("`{}` is not UTF-8, and OpenCode can't open it", real.display());
        return Err(ApiError::new(ErrorCode::PathNotUtf8, message));
    }
    if home.canonicalize().is_ok_and(|home| real.starts_with(home)) {
        let message = format!("`{text}` is repod's own state, and holds passwords");
        return Err(ApiError::new(ErrorCode::Forbidden, message));
    }
    Ok(real)
}

/// Where the path is or will be.
pub(super) fn directory(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

/// Passes for a path in a repository, or in a directory that is registered as one.
///
/// # Errors
/// [`ErrorCode::Forbidden`] for one that is nobody's.
pub(super) async fn must_be_in_a_repo(client: &Client, path: &Path) -> Result<(), ApiError> {
    let at = directory(path).to_owned();
    let located = blocking(move || repo::locate(&at)).await?;
    let is_git = located.branch.is_some()
        || located.commit.is_some()
        || located.repo.identity != located.directory;
    if is_git || client.ps().await?.iter().any(|repo| path.starts_with(&repo.endpoint.root)) {
        return Ok(());
    }
    let message = format!("`{}` lies in no repository", path.display());
    Err(ApiError::new(ErrorCode::Forbidden, message)
        .hint("these tools reach git repositories, and the directories `repos_list` shows"))
}

/// Looks at a file system that may not answer.
pub(super) async fn blocking<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(look)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(ApiError::new(ErrorCode::Internal, error.to_string())),
        Err(_) => {
            let message = format!("the file system did not answer within {} s", LIMIT.as_secs());
            Err(ApiError::new(ErrorCode::Deadline, message)
                .hint("is it on a network file system that is down?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn world() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs_err::create_dir_all(root.join("repo/src")).unwrap();
        fs_err::create_dir_all(root.join("home")).unwrap();
        fs_err::write(root.join("repo/src/a.txt"), "a").unwrap();
        (dir, root)
    }

    #[test]
    fn links_are_followed_and_a_new_file_lies_where_it_will_be() {
        let (_dir, root) = world();
        symlink("src", root.join("repo/link")).unwrap();
        symlink("a.txt", root.join("repo/src/b.txt")).unwrap();
        let real = |text: &str| real(&root.join("repo"), &root.join("home"), text).unwrap();
        assert_eq!(real("src/a.txt"), root.join("repo/src/a.txt"));
        assert_eq!(real("./src/../src/a.txt"), root.join("repo/src/a.txt"));
        assert_eq!(real("link/b.txt"), root.join("repo/src/a.txt"));
        assert_eq!(real("link/new/deep.txt"), root.join("repo/src/new/deep.txt"));
        assert_eq!(real("."), root.join("repo"));
        let absolute = root.join("elsewhere.txt");
        assert_eq!(real(absolute.to_str().unwrap()), absolute);
    }

    #[test]
    fn what_can_t_be_told_or_is_repod_s_own_is_refused() {
        let (_dir, root) = world();
        symlink("nowhere", root.join("repo/dangling")).unwrap();
        symlink("../home", root.join("repo/sly")).unwrap();
        let code =
            |text: &str| real(&root.join("repo"), &root.join("home"), text).unwrap_err().code;
        assert_eq!(code(""), ErrorCode::InvalidRequest);
        assert_eq!(code("new/../a.txt"), ErrorCode::InvalidRequest);
        assert_eq!(code("dangling"), ErrorCode::PathUnreadable);
        assert_eq!(code("sly/repos/x/endpoint.json"), ErrorCode::Forbidden);
    }
}

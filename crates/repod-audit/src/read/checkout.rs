//! Which worktree a directory lies in, and which repository that belongs to. Never runs git.

use super::resolved;
use crate::snapshot::Checkout;
use std::path::Path;

/// The nearest directory upwards with a `.git`; `None` without one.
pub(crate) fn of(dir: &Path) -> Option<Checkout> {
    let dir = resolved(dir);
    let root = dir.ancestors().find(|at| at.join(".git").symlink_metadata().is_ok())?;
    let git = root.join(".git");
    let git = if git.is_dir() { git } else { pointed_at(root, &git)? };
    // A linked worktree's own directory says where the one of all worktrees is.
    let common = match fs_err::read_to_string(git.join("commondir")) {
        Ok(text) => git.join(text.trim()),
        Err(_) => git,
    };
    Some(Checkout { root: root.to_owned(), common: resolved(&common) })
}

/// What a `.git` file (of a linked worktree or a submodule) points at.
fn pointed_at(root: &Path, file: &Path) -> Option<std::path::PathBuf> {
    let text = fs_err::read_to_string(file).ok()?;
    Some(root.join(text.strip_prefix("gitdir:")?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_worktree_belongs_to_the_repository_of_its_main_one() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (main, linked) = (base.join("main"), base.join("linked"));
        let own = main.join(".git/worktrees/linked");
        fs_err::create_dir_all(&own).unwrap();
        fs_err::create_dir_all(linked.join("deep")).unwrap();
        fs_err::write(own.join("commondir"), "../..\n").unwrap();
        fs_err::write(linked.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
        let found = of(&linked.join("deep")).unwrap();
        assert_eq!(found, Checkout { root: linked, common: main.join(".git") });
        assert_eq!(of(&main).unwrap().common, main.join(".git"));
        assert_eq!(of(Path::new("/proc")), None);
    }
}

//! Real repositories for the world's tests.
#![expect(clippy::panic, reason = "a fixture that can't be built fails the test that wants it")]

use super::World;
use std::path::{Path, PathBuf};

/// The user's git configuration.
pub(super) const CONFIG: &str = "[user]\n\tname = Test\n\temail = test@localhost\n\
    [init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n[gc]\n\tauto = 0\n";

impl World {
    /// A git repository on branch `main` with one commit (`README.md`).
    pub fn git_repo(&self, name: &str) -> PathBuf {
        let repo = self.plain_dir(name);
        self.git(&repo, ["init", "--quiet"]);
        super::write(repo.join("README.md"), &format!("# {name}\n"));
        self.git(&repo, ["add", "."]);
        self.git(&repo, ["commit", "--quiet", "--message", "first"]);
        repo
    }

    /// A directory without git.
    pub fn plain_dir(&self, name: &str) -> PathBuf {
        let dir = self.repos().join(name);
        super::make_dir(&dir);
        dir
    }

    /// A linked worktree of `repo` in a directory named `name`, on a new branch of that name.
    pub fn worktree(&self, repo: &Path, name: &str) -> PathBuf {
        let dir = self.repos().join(name);
        let path = dir.to_str().expect("the world's paths are UTF-8");
        self.git(repo, ["worktree", "add", "--quiet", "-b", name, path]);
        dir
    }

    /// Runs git in `dir` and returns what it printed, trimmed.
    ///
    /// # Panics
    /// When git fails.
    pub fn git<'a>(&self, dir: &Path, args: impl IntoIterator<Item = &'a str>) -> String {
        let args: Vec<&str> = args.into_iter().collect();
        let output = self.std_command("git").args(&args).current_dir(dir).output();
        let output = output.unwrap_or_else(|source| panic!("can't run git: {source}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?} failed: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

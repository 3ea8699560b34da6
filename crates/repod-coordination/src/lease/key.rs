//! What a lease is about: a branch of a repo.

use repod_proto::RepoId;
use std::fmt;
use std::str::FromStr;

/// What a lease is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseKey {
    /// The repo whose files are written.
    pub repo: RepoId,
    /// The branch they belong to.
    pub branch: Branch,
}

/// What is checked out where the write goes.
///
/// Its text (`Display`, `FromStr`) is stable and one to one: `main`, `@<commit>`, `dir:<path>`. Git
/// allows no `:` in a branch name; one that begins with `@` or `refs/heads/` is written in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Branch {
    /// A branch, without `refs/heads/`.
    Named(String),
    /// A detached HEAD: the commit.
    Detached(String),
    /// No git: the directory.
    Directory(String),
}

/// Why a text names no branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchError;

impl fmt::Display for BranchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a branch is `<name>`, `@<commit>` or `dir:<path>`, and never empty")
    }
}

impl std::error::Error for BranchError {}

const FULL: &str = "refs/heads/";
const DIRECTORY: &str = "dir:";

/// A longer lock file name ends in a hash.
const NAME_MAX: usize = 200;

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) if name.starts_with('@') || name.starts_with(FULL) => {
                write!(f, "{FULL}{name}")
            }
            Self::Named(name) => f.write_str(name),
            Self::Detached(commit) => write!(f, "@{commit}"),
            Self::Directory(path) => write!(f, "{DIRECTORY}{path}"),
        }
    }
}

impl FromStr for Branch {
    type Err = BranchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (make, rest): (fn(String) -> Self, _) = if let Some(path) = text.strip_prefix(DIRECTORY)
        {
            (Self::Directory, path)
        } else if let Some(commit) = text.strip_prefix('@') {
            (Self::Detached, commit)
        } else {
            (Self::Named, text.strip_prefix(FULL).unwrap_or(text))
        };
        if rest.is_empty() { Err(BranchError) } else { Ok(make(rest.to_owned())) }
    }
}

impl Branch {
    /// Name of the branch's lock file: one path component, readable where the branch is.
    ///
    /// Whatever is not a letter, a digit or one of `.`, `_`, `-`, `@` is written `%2F`; a leading dot too. Two
    /// branches share a name only if both are very long and their hashes collide; they then take
    /// turns, which is slower and not wrong.
    pub fn lock_name(&self) -> String {
        use fmt::Write as _;
        let text = self.to_string();
        let mut name = String::with_capacity(text.len());
        for (at, byte) in text.bytes().enumerate() {
            let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@');
            if plain || (byte == b'.' && at > 0) {
                name.push(char::from(byte));
            } else {
                let _ = write!(name, "%{byte:02X}");
            }
        }
        if name.len() > NAME_MAX {
            name.truncate(NAME_MAX - 20);
            let _ = write!(name, "~{:016x}", fnv1a(text.as_bytes()));
        }
        name
    }
}

/// FNV-1a, 64 bits: stable for ever, and all that is needed to tell long names apart.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.repo, self.branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_simple_branch_has_a_simple_lock_file() {
        let name = |text: &str| text.parse::<Branch>().unwrap().lock_name();
        assert_eq!(name("main"), "main");
        assert_eq!(name("feature/login-2.0"), "feature%2Flogin-2.0");
        assert_eq!(name("@0a1b2c"), "@0a1b2c");
        assert_eq!(name("dir:/srv/notes"), "dir%3A%2Fsrv%2Fnotes");
        assert_eq!(name(".."), "%2E.");
        let long = |end: char| name(&("x/".repeat(300) + &end.to_string()));
        assert_eq!(long('a').len(), 197);
        assert_ne!(long('a'), long('b'));
    }

    fn branch() -> impl Strategy<Value = Branch> {
        let name = "(@|refs/heads/|@@|dir/)?[a-z@/.-]{1,12}";
        prop_oneof![
            name.prop_map(Branch::Named),
            "[0-9a-f]{7,40}".prop_map(Branch::Detached),
            "/[ -~]{0,20}".prop_map(Branch::Directory),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_text_of_a_branch_means_that_branch(branch in branch()) {
            prop_assert_eq!(branch.to_string().parse::<Branch>(), Ok(branch));
        }

        #[test]
        fn two_branches_have_two_lock_files_and_each_is_one_file_name(a in branch(), b in branch()) {
            prop_assert_eq!(a == b, a.lock_name() == b.lock_name());
            let name = a.lock_name();
            prop_assert!(!name.contains('/') && !name.starts_with('.') && name.len() <= 255);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<Branch>();
        }
    }
}

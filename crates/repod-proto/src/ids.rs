//! Identifiers that appear in paths, records and answers.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The stable name of a repository: `<slug>-<12 hex digits>`.
///
/// The slug is for people; the digits are the first 48 bits of the SHA-256 of the canonical git
/// common directory (of the canonical path where there is no git). Always a safe file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "web-3f2a9c1b04de")]
pub struct RepoId(String);

/// Why a string is not a repo id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a repo id (`<name>-<12 hex digits>`)")]
pub struct RepoIdError(String);

/// Longest slug kept; the socket and log paths below it must stay short.
const SLUG_MAX: usize = 40;

impl RepoId {
    /// Builds the id from the root's name and the digest of its identity path.
    ///
    /// Characters outside `[a-z0-9._]` become `-`; an empty result becomes `repo`.
    pub fn new(root_name: &str, digest: &[u8; 6]) -> Self {
        use fmt::Write as _;
        let mut slug = String::new();
        for c in root_name.chars().flat_map(char::to_lowercase) {
            let keep = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
            let c = if keep { c } else { '-' };
            if !(c == '-' && slug.ends_with('-')) {
                slug.push(c);
            }
            if slug.len() >= SLUG_MAX {
                break;
            }
        }
        let slug = slug.trim_matches(['-', '.']);
        let mut id = String::from(if slug.is_empty() { "repo" } else { slug });
        id.push('-');
        for byte in digest {
            let _ = write!(id, "{byte:02x}");
        }
        Self(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoId {
    type Err = RepoIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let ok = s.rsplit_once('-').is_some_and(|(slug, hex)| {
            !slug.is_empty()
                && slug.len() <= SLUG_MAX
                && !slug.starts_with('.')
                && slug.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
                })
                && hex.len() == 12
                && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if ok { Ok(Self(s.to_owned())) } else { Err(RepoIdError(s.to_owned())) }
    }
}

impl<'de> Deserialize<'de> for RepoId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Rising number of a repo's backend. The first start is generation 1; 0 means never started.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of the next start.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_made_safe_and_kept_readable() {
        let id = |name| RepoId::new(name, &[0x3f, 0x2a, 0x9c, 0x1b, 0x04, 0xde]).to_string();
        assert_eq!(id("web"), "web-3f2a9c1b04de");
        assert_eq!(id("My Repo (2)"), "my-repo-2-3f2a9c1b04de");
        assert_eq!(id("../../etc"), "etc-3f2a9c1b04de");
        assert_eq!(id("日本"), "repo-3f2a9c1b04de");
    }

    proptest! {
        #[test]
        fn every_id_made_parses_and_is_one_file_name(name in ".*", digest: [u8; 6]) {
            let id = RepoId::new(&name, &digest);
            prop_assert_eq!(&id.as_str().parse::<RepoId>().unwrap(), &id);
            prop_assert!(!id.as_str().contains('/'));
            prop_assert!(id.as_str().len() <= SLUG_MAX + 13);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<RepoId>();
        }
    }
}
